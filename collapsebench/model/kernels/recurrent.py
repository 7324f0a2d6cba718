"""A switch for the way in which LSTMs are computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def unfused_lstms(model: nn.Module) -> Iterator[None]:
    """Let the model's LSTMs compute step by step in plain operations, which can be differentiated twice.

    oneDNN computes an LSTM as one operation that has no second derivative. To differentiate it twice, torch computes
    the forward pass once more and the gradients of all weights. That is two thirds more work for this layer, and other
    work than on machines without oneDNN.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.LSTM)]
    switch = _OneDNN()
    handles = [layer.register_forward_pre_hook(switch.off) for layer in layers]
    handles += [layer.register_forward_hook(switch.back, always_call=True) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _OneDNN:
    """The permission to use oneDNN during the forward of one layer. `mkldnn.flags` changes more, and warns of that."""

    def __init__(self) -> None:
        self._allowed = torch._C._get_mkldnn_enabled()  # noqa: SLF001

    def off(self, *_: object) -> None:
        torch._C._set_mkldnn_enabled(False)  # noqa: SLF001

    def back(self, *_: object) -> None:
        torch._C._set_mkldnn_enabled(self._allowed)  # noqa: SLF001

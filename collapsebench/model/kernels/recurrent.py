"""Switches for the way in which recurrent layers and attention are computed.

Libraries compute them as one operation, of which some derivatives are missing: oneDNN's LSTM has no second one worth
using, cuDNN's recurrent layers have none in evaluation mode and no second one, and fused attention has no second one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def twice_differentiable(model: nn.Module) -> Iterator[None]:
    """Let the model's recurrent layers and its attention compute in operations that can be differentiated twice."""
    with unfused_rnns(model), sdpa_kernel(SDPBackend.MATH):
        yield


@contextmanager
def unfused_rnns(model: nn.Module) -> Iterator[None]:
    """Let the model's recurrent layers compute step by step in plain operations, which can be differentiated twice.

    oneDNN computes an LSTM as one operation that has no second derivative. To differentiate it twice, torch computes
    the forward pass once more and the gradients of all weights. That is two thirds more work for this layer, and other
    work than on machines without oneDNN. cuDNN computes every recurrent layer as one operation, whose second derivative
    is an error.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
    lstms = [layer for layer in layers if isinstance(layer, nn.LSTM)]
    with ExitStack() as stack:
        for library, its_layers in ((ONEDNN, lstms), (CUDNN, layers)):
            stack.callback(_remove, _switched_off(library, its_layers))
        yield


@contextmanager
def differentiable_rnns(model: nn.Module) -> Iterator[None]:
    """Let the model's recurrent layers be differentiated in evaluation mode, which cuDNN refuses.

    A layer that has no dropout computes in training mode, which is the same. One that has dropout computes in plain
    operations. On the CPU nothing changes.
    """
    layers = [each for each in model.modules() if isinstance(each, nn.RNNBase) and not each.training and _apart(each)]
    handles = _switched_off(CUDNN, [layer for layer in layers if layer.dropout])
    modes = [layer for layer in layers if not layer.dropout]
    for layer in modes:
        layer.training = True
    try:
        yield
    finally:
        _remove(handles)
        for layer in modes:
            layer.training = False


def _apart(layer: nn.RNNBase) -> bool:
    """Return whether a layer is on another device than the CPU."""
    return any(parameter.device.type != "cpu" for parameter in layer.parameters())


class _Library(NamedTuple):
    """The permission to use a library. Torch's own blocks of flags change more, and one of them warns of that."""

    allowed: Callable[[], bool]
    allow: Callable[[bool], None]


ONEDNN = _Library(torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled)  # noqa: SLF001
CUDNN = _Library(torch._C._get_cudnn_enabled, torch._C._set_cudnn_enabled)  # noqa: SLF001


def _switched_off(library: _Library, layers: Iterable[nn.Module]) -> list[Any]:
    """Forbid a library during the forward of some layers, until the handles are removed."""
    before = library.allowed()
    handles: list[Any] = []
    for layer in layers:
        handles.append(layer.register_forward_pre_hook(lambda *_: library.allow(False)))
        handles.append(layer.register_forward_hook(lambda *_: library.allow(before), always_call=True))
    return handles


def _remove(handles: Iterable[Any]) -> None:
    for handle in handles:
        handle.remove()

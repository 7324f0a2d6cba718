"""The modes of modules: training and evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_evaluation(*parts: nn.Module) -> Iterator[None]:
    """Set modules to evaluation mode, and restore the mode of each of their modules at the end.

    >>> import torch
    >>> from collapsebench import in_evaluation
    >>> layer = torch.nn.Dropout()
    >>> with in_evaluation(layer):
    ...     print(layer.training)
    False
    >>> layer.training
    True
    """
    modes = [(module, module.training) for part in parts for module in part.modules()]
    for part in parts:
        part.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training

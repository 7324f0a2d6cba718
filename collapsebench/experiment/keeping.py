"""Keeps what a model and its methods hold, and gives it back: for the selected point, and for a checkpoint."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collapsebench.components.interfaces import Component


def model_state(vae: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers of a model, also those buffers that torch leaves out of its state."""
    return {**dict(vae.named_buffers()), **vae.state_dict()}


def load_model(vae: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a model what `model_state` returned. Raises KeyError or RuntimeError if it is of another model."""
    known = vae.state_dict().keys()
    loose = {name: buffer for name, buffer in vae.named_buffers() if name not in known}
    vae.load_state_dict({name: tensor for name, tensor in state.items() if name not in loose})
    with torch.no_grad():
        for name, buffer in loose.items():
            buffer.copy_(state[name])


def private_state(keepers: Sequence[Component]) -> list[dict[str, Any]]:
    """Return copies of what components keep in their private attributes."""
    return [{name: _copied(value) for name, value in (each.__pydantic_private__ or {}).items()} for each in keepers]


def load_private(keepers: Sequence[Component], state: list[dict[str, Any]]) -> None:
    """Give the components what `private_state` returned. Raises ValueError if they are not as many."""
    for component, private in zip(keepers, state, strict=True):
        if private:
            component.__pydantic_private__ = {name: _copied(value) for name, value in private.items()}


class _ModuleState:
    """What a module of a private attribute holds. The module stays the object that others know."""

    def __init__(self, module: nn.Module) -> None:
        self._module, self._state = module, {name: tensor.clone() for name, tensor in model_state(module).items()}

    def loaded(self) -> nn.Module:
        """Give the module what it held, and return it."""
        load_model(self._module, self._state)
        return self._module


def _copied(value: Any) -> Any:
    """Copy tensors and containers, and keep or load the state of modules.

    Whatever else a method keeps, such as an optimizer, is the same object.
    """
    match value:
        case Tensor():
            return _copied_tensor(value)
        case nn.Module() | _ModuleState():
            return value.loaded() if isinstance(value, _ModuleState) else _ModuleState(value)
        case np.ndarray() | bytearray():
            return value.copy()
        case dict() | deque() | list() | tuple() | set():
            return _copied_container(value)
        case _ if is_dataclass(value) and not isinstance(value, type):
            return _copied_dataclass(value)
    return value


def _copied_dataclass(value: Any) -> Any:
    copied = copy(value)
    for each in fields(value):
        object.__setattr__(copied, each.name, _copied(getattr(value, each.name)))
    return copied


def _copied_tensor(value: Tensor) -> Tensor:
    """Copy a tensor without its graph. A parameter stays one."""
    copied = value.detach().clone()
    if isinstance(value, nn.Parameter):
        return nn.Parameter(copied, value.requires_grad)
    return copied.requires_grad_(value.requires_grad and value.is_leaf)


def _copied_container(value: Any) -> Any:
    """Copy a container with all that is in it; one of a class of its own stays of that class."""
    match value:
        case dict():
            copied = copy(value)
            dict.update(copied, {key: _copied(inner) for key, inner in value.items()})
            return copied
        case deque():
            return deque(map(_copied, value), value.maxlen)
        case tuple():  # a named one takes its values one by one, and so do others of a class of their own
            return tuple.__new__(type(value), map(_copied, value))
        case _ if type(value) in {list, set}:
            return type(value)(map(_copied, value))
        case _:
            return copy(value)

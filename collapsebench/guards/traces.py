"""An evaluation leaves no trace: the model and the method are afterwards what they were before."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from itertools import chain
from types import ModuleType

import torch
from numpy import ndarray
from pydantic import BaseModel
from torch import Tensor, nn

from collapsebench.components.belongings import Belongings
from collapsebench.errors import PluginError


def fingerprint(model: nn.Module, components: Iterable[BaseModel] = ()) -> dict[str, str]:
    """Return the SHA-256 of every parameter and buffer of a model, and of what components keep in private attributes.

    Tensors and arrays count with every bit, numbers, texts, containers and dataclasses by their values, and modules and
    optimizers by their state. Other objects count by their type alone.
    """
    tensors = model.state_dict() | dict(model.named_buffers())  # torch leaves some buffers out of its state
    found = {f"the model's '{name}'": digest(tensor) for name, tensor in tensors.items()}
    for component in components:
        for name, value in (component.__pydantic_private__ or {}).items():
            found[f"the private attribute '{name}' of {type(component).__name__}"] = digest(value)
    return found


@contextmanager
def without_trace(
    model: nn.Module, components: Iterable[BaseModel], modules: Iterable[ModuleType] = ()
) -> Iterator[None]:
    """Raise PluginError at the end of the block if it changed the model or what the components keep.

    This catches training while the clock stands, by whatever code, and running statistics that go on in evaluation.
    What the modules of plugins keep in their globals and classes is put back without a word. It cannot see what a
    method keeps elsewhere: in a file, in another module, or in an object that is no plain value.
    """
    components, belongings = tuple(components), Belongings(modules)
    before = fingerprint(model, components)
    try:
        yield
    finally:
        belongings.put_back()
    after = fingerprint(model, components)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed:
        others = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise PluginError(f"the evaluation changed {changed[0]}{others}: only training steps may")


def digest(value: object) -> str:
    """Return the SHA-256 of a value, by what `fingerprint` says."""
    found = hashlib.sha256()
    for part in _parts(value):
        found.update(len(part).to_bytes(8, "big"))
        found.update(part)
    return found.hexdigest()


def _parts(value: object) -> Iterator[bytes | memoryview]:
    """Yield the bytes that a value is compared by."""
    yield type(value).__qualname__.encode()
    yield from _content(value)
    for inner in _inner(value):
        yield from _parts(inner)


def _content(value: object) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a value that has no inner ones, or none in order."""
    match value:
        case Tensor():
            yield f"{value.dtype}{tuple(value.shape)}".encode()
            yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        case ndarray():
            yield f"{value.dtype}{value.shape}".encode()
            yield value.tobytes()
        case bool() | int() | float() | complex() | str() | bytes() | bytearray() | None:
            yield repr(value).encode(errors="surrogatepass")
        case set() | frozenset():
            yield from sorted(digest(inner).encode() for inner in value)


def _inner(value: object) -> Iterable[object]:
    """Return the values in a value."""
    match value:
        case Mapping():
            return chain.from_iterable(value.items())
        case list() | tuple() | deque():
            return value
        case nn.Module() | torch.optim.Optimizer():
            return (value.state_dict(),)
        case _:
            if is_dataclass(value) and not isinstance(value, type):
                return [getattr(value, each.name) for each in fields(value)]
            return ()

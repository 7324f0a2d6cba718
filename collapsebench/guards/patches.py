"""Nobody but the harness computes what a board shows: its functions, and those of torch, are still their own."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from types import FunctionType, ModuleType
from typing import Final

from torch import nn

from collapsebench.errors import PluginError

PACKAGE: Final = "collapsebench"

OTHERS: Final = ("torch", "torch.nn.functional", "torch.linalg", "torch.autograd", "numpy", "math", "time", "os")
"""The modules beside the harness's own in which a replaced function would change a number."""


def check_unpatched(files: Collection[str], model: nn.Module) -> None:
    """Raise PluginError if a function of the given files stands in the place of one of the harness, or of torch.

    `files` are those of the components that do not come with the harness. It is looked at all functions and classes
    of the harness's modules, at those of `OTHERS` and of torch's tensors, and at methods that are set on single modules
    of the model. It cannot see what is put back before it looks, nor a change of data such as a constant.
    """
    found = next(_patches(files), None) or next(_overridden(model), None)
    if found is not None:
        raise PluginError(
            f"the code of a contender has replaced {found}: what is measured must be measured by the harness"
        )


def _patches(files: Collection[str]) -> Iterator[str]:
    names = [name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}.")]
    for name in (*names, *OTHERS):
        module = sys.modules.get(name)
        for key, value in list(vars(module).items()) if isinstance(module, ModuleType) else ():
            if _file(value) in files:
                yield f"{name}.{key}"
            if isinstance(value, type) and value.__module__ == name:
                yield from (f"{name}.{key}.{inner}" for inner in _patched_names(value, files))
    tensor = sys.modules["torch"].Tensor
    yield from (f"torch.Tensor.{inner}" for inner in _patched_names(tensor, files))


def _patched_names(owner: type, files: Collection[str]) -> Iterator[str]:
    yield from (name for name, value in list(vars(owner).items()) if _file(value) in files)


def _overridden(model: nn.Module) -> Iterator[str]:
    """Yield the methods of a model's modules that are set on the object and hide those of its class."""
    for name, module in model.named_modules():
        for key in vars(module):
            if isinstance(getattr(type(module), key, None), FunctionType):
                yield f"{type(module).__name__}.{key} of the model{f' at {name!r}' if name else ''}"


def _file(value: object) -> str | None:
    """Return the file of a function's code; also behind a method, a property or a class method."""
    function = getattr(value, "__func__", getattr(value, "fget", getattr(value, "func", value)))
    return function.__code__.co_filename if isinstance(function, FunctionType) else None

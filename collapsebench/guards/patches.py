"""Nobody but the harness computes what a board shows: its functions, and those of torch, are still their own."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from functools import cached_property, partial
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Final

from torch import nn

from collapsebench.errors import PluginError

PACKAGE: Final = "collapsebench"

OTHERS: Final = ("torch", "torch.nn.functional", "torch.linalg", "torch.autograd", "numpy", "math", "time", "os")
"""The modules beside the harness's own in which a replaced function would change a number."""

LAYERS: Final = ("torch.nn", "torch.optim")
"""The modules in whose classes, layers and optimizers, a replaced method would change a number."""


WRAPPERS: Final = {
    classmethod: "__func__",
    staticmethod: "__func__",
    property: "fget",
    cached_property: "func",
    partial: "func",
}
"""The attributes in which objects around a function hold it."""


class Originals:
    """Notes the functions of the harness and of torch, and puts them back: a patch must not reach the next run."""

    def __init__(self) -> None:
        self._kept = [(owner, _functions(owner)) for owner in _owners()]

    def put_back(self) -> None:
        """Put back every function that was replaced or deleted."""
        for owner, functions in self._kept:
            for name, function in functions.items():
                if vars(owner).get(name) is not function:
                    setattr(owner, name, function)


def check_unpatched(files: Collection[str], model: nn.Module) -> None:
    """Raise PluginError if a function of the given files stands in the place of one of the harness, or of torch.

    `files` are those of the components that do not come with the harness. It is looked at all functions and classes
    of the harness's modules, at those of `OTHERS`, of `LAYERS` and of torch's tensors, and at methods that are set on
    single modules of the model. It cannot see what is put back before it looks, nor a change of data, such as a
    constant.
    """
    patched = next(_patches(files), None) if files else None  # all functions are looked at, which takes a while
    found = patched or next(_overridden(model), None)
    if found is not None:
        raise PluginError(
            f"the code of a contender has replaced {found}: what is measured must be measured by the harness"
        )


def _patches(files: Collection[str]) -> Iterator[str]:
    for owner in _owners():
        place = owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"
        yield from (f"{place}.{name}" for name, value in list(vars(owner).items()) if _file(value) in files)


def _owners() -> Iterator[ModuleType | type]:
    """Yield what holds the functions: the modules of the harness with their classes, those of `OTHERS`, and layers."""
    names = [name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}.")]
    for module in filter(None, map(sys.modules.get, names)):
        yield module
        values = list(vars(module).values())
        yield from (value for value in values if isinstance(value, type) and value.__module__ == module.__name__)
    yield from filter(None, map(sys.modules.get, OTHERS))
    for module in filter(None, map(sys.modules.get, LAYERS)):
        yield from (value for value in list(vars(module).values()) if isinstance(value, type))
    yield sys.modules["torch"].Tensor


def _functions(owner: ModuleType | type) -> dict[str, object]:
    return {name: value for name, value in list(vars(owner).items()) if _is_code(value)}


def _is_code(value: object) -> bool:
    return isinstance(value, type | BuiltinFunctionType) or _file(value) is not None


def _overridden(model: nn.Module) -> Iterator[str]:
    """Yield the methods of a model's modules that are set on the object and hide those of its class."""
    for name, module in model.named_modules():
        for key in vars(module):
            if isinstance(getattr(type(module), key, None), FunctionType):
                yield f"{type(module).__name__}.{key} of the model{f' at {name!r}' if name else ''}"


def _file(value: object) -> str | None:
    """Return the file of a function's code; also behind a method, a property or a class method."""
    wrapped = WRAPPERS.get(type(value))
    function = value if wrapped is None else getattr(value, wrapped)
    return function.__code__.co_filename if isinstance(function, FunctionType) else None

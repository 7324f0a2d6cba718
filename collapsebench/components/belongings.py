"""What the modules of plugins keep is put back after each run: no run hands anything on to the next one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any, Final

CONTAINERS: Final = (dict, list, set)


class Belongings:
    """Notes what modules hold in their globals and in the attributes of their classes, and puts it back.

    Containers are followed to any depth, tensors are copied, and so is the state of objects of classes of these modules
    and of torch's modules and optimizers. Not followed is what lies elsewhere: in a file, in another module, or in an
    object of another class.
    """

    def __init__(self, modules: Iterable[ModuleType]) -> None:
        self._seen: dict[int, object] = {}
        self._undo: list[Callable[[], object]] = []
        self._modules = tuple(modules)
        self._names = {module.__name__ for module in self._modules}
        for module in self._modules:
            self._note(vars(module))

    def put_back(self) -> None:
        """Put everything back."""
        for undo in self._undo:
            undo()

    def _note(self, value: Any) -> None:
        if id(value) in self._seen or isinstance(value, FunctionType | ModuleType):
            return
        self._seen[id(value)] = value  # held, so that no other object gets its id
        if isinstance(value, CONTAINERS):
            self._note_container(value)
        elif isinstance(value, type):
            if value.__module__ in self._names:
                self._note_class(value)
        elif _is_tensor(value):
            self._note_tensor(value)
        elif type(value).__module__ in self._names or _is_stateful(value):
            self._note(getattr(value, "__dict__", None))

    def _note_container(self, value: dict[Any, Any] | list[Any] | set[Any]) -> None:
        kept = value.copy()
        for inner in list(kept.values() if isinstance(kept, dict) else kept):
            self._note(inner)

        self._undo.append(lambda: _put_back(value, kept))

    def _note_class(self, owner: type) -> None:
        kept = {name: value for name, value in vars(owner).items() if not name.startswith("__")}
        for value in kept.values():
            self._note(value)

        def undo() -> None:
            now = {name: value for name, value in vars(owner).items() if not name.startswith("__")}
            for name in now.keys() - kept.keys():
                type.__delattr__(owner, name)
            for name, value in kept.items():
                if now.get(name) is not value:
                    type.__setattr__(owner, name, value)

        self._undo.append(undo)

    def _note_tensor(self, tensor: Any) -> None:
        kept = tensor.detach().clone()
        self._undo.append(lambda: tensor.data.copy_(kept))


def _put_back(value: dict[Any, Any] | list[Any] | set[Any], kept: Any) -> None:
    if isinstance(value, list):
        value[:] = kept
        return
    if isinstance(value, set):
        value.intersection_update(kept)
        value.update(kept)
        return
    for key in [key for key in value if key not in kept]:  # a module's names are never gone for a moment
        del value[key]
    value.update((key, inner) for key, inner in kept.items() if value.get(key, _MISSING) is not inner)


_MISSING = object()


def _is_tensor(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _is_stateful(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module | torch.optim.Optimizer)

"""What the modules of plugins keep is put back after each run: no run hands anything on to the next one."""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any, Final, TypeAlias

Container: TypeAlias = "dict[Any, Any] | list[Any] | set[Any] | deque[Any] | bytearray"

CONTAINERS: Final = (dict, list, set, deque, bytearray)

CACHED: Final = type(functools.cache(len))


class Belongings:
    """Notes what modules hold in their globals and in the attributes of their classes, and puts it back.

    Containers are followed to any depth, tensors and arrays are copied, and so is the state of objects of classes of
    these modules and of torch's modules and optimizers. Functions keep their attributes and defaults, and forget what
    `functools.cache` has kept for them. Not followed is what lies elsewhere: in a file, in another module, in a
    closure, or in an object of another class.
    """

    def __init__(self, modules: Iterable[ModuleType]) -> None:
        self._seen: dict[int, object] = {}
        self._undo: list[Callable[[], object]] = []
        self._modules = tuple(modules)
        self._names = {module.__name__ for module in self._modules}
        self._waiting: list[object] = [vars(module) for module in self._modules]
        while self._waiting:  # what is nested deeply would be too deep for calls
            self._note(self._waiting.pop())

    def put_back(self) -> None:
        """Put everything back."""
        for undo in self._undo:
            undo()

    def _note(self, value: Any) -> None:
        if id(value) in self._seen or isinstance(value, ModuleType):
            return
        self._seen[id(value)] = value  # held, so that no other object gets its id
        if isinstance(value, CONTAINERS):
            self._note_container(value)
        elif isinstance(value, type):
            if value.__module__ in self._names:
                self._note_class(value)
        elif isinstance(value, FunctionType | CACHED):
            if value.__module__ in self._names:
                self._note_function(value)
        elif _is_tensor(value) or _is_array(value):
            self._note_numbers(value)
        elif type(value).__module__ in self._names or _is_stateful(value):
            self._waiting.append(getattr(value, "__dict__", None))

    def _note_container(self, value: Container) -> None:
        kept = _copied(value)
        if not isinstance(kept, bytearray):
            self._waiting += kept.values() if isinstance(kept, dict) else kept
        self._undo.append(lambda: _put_back(value, kept))

    def _note_class(self, owner: type) -> None:
        kept = {name: value for name, value in vars(owner).items() if not name.startswith("__")}
        self._waiting += kept.values()

        def undo() -> None:
            now = {name: value for name, value in vars(owner).items() if not name.startswith("__")}
            for name in now.keys() - kept.keys():
                type.__delattr__(owner, name)
            for name, value in kept.items():
                if now.get(name) is not value:
                    type.__setattr__(owner, name, value)

        self._undo.append(undo)

    def _note_function(self, function: Any) -> None:
        self._waiting.append(vars(function))
        if isinstance(function, FunctionType):
            self._waiting += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        else:
            self._undo.append(function.cache_clear)

    def _note_numbers(self, array: Any) -> None:
        if _is_tensor(array):
            self._note_tensor(array)
            return
        kept = array.copy()

        def undo() -> None:
            if array.flags.writeable:
                array[...] = kept

        self._undo.append(undo)

    def _note_tensor(self, tensor: Any) -> None:
        """Note the memory of a tensor, which others may share, and the place of the tensor in it."""
        torch = sys.modules["torch"]
        try:
            memory, dtype, place = tensor.untyped_storage(), tensor.dtype, _place(tensor)
            view = torch.empty(0, dtype=torch.uint8, device=memory.device).set_(memory)
            kept = view.clone()
            torch.equal(view, kept)
        except (NotImplementedError, RuntimeError):  # it has no memory of its own, as a sparse one
            return

        def undo() -> None:
            if memory.nbytes() != len(kept):
                memory.resize_(len(kept))
            if not torch.equal(view, kept):  # memory that nobody has written to may be read-only
                view.copy_(kept)
            if (tensor.dtype, _place(tensor)) != (dtype, place):
                tensor.data = torch.empty(0, dtype=dtype, device=memory.device).set_(memory, *place[1:])

        self._undo.append(undo)


def _copied(value: Container) -> Any:
    """Copy a container by what it is made of: the copy of a class of its own may ask for more."""
    kind: Any = next(kind for kind in CONTAINERS if isinstance(value, kind))
    return kind(value)


def _put_back(value: Container, kept: Any) -> None:
    if isinstance(value, list | bytearray):
        value[:] = kept
        return
    if isinstance(value, deque):
        value.clear()
        value.extend(kept)
        return
    if isinstance(value, set):
        value.intersection_update(kept)
        value.update(kept)
        return
    for key in [key for key in value if key not in kept]:  # a module's names are never gone for a moment
        del value[key]
    value.update((key, inner) for key, inner in kept.items() if value.get(key, _MISSING) is not inner)


_MISSING = object()


def _place(tensor: Any) -> tuple[Any, ...]:
    """Return the address of a tensor's memory, and where in it the tensor lies."""
    return tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.size(), tensor.stride()


def _is_array(value: object) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def _is_tensor(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _is_stateful(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module | torch.optim.Optimizer)

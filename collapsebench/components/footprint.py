"""What the code of plugins changes of its process is put back, as later runs and the user's own code share it.

Three kinds of things are known. With the first, every later run would compute something else: it is an error to change
them. The second change times or last digits: that is noted. The third, such as the state of random generators, are put
back without a word. What plugins keep and replace in modules is for `belongings` and `guards.patches`.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterable
from threading import current_thread, main_thread
from typing import Any, NamedTuple


class Trait(NamedTuple):
    """One thing that belongs to the process."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


class Changes(NamedTuple):
    """What was changed, in words: `the working folder from … to …`."""

    breaking: tuple[str, ...]
    noted: tuple[str, ...]


class Footprint:
    """Notes how the process is, and puts it back."""

    def __init__(self) -> None:
        self._breaking, self._noted, self._silent = map(_read, (BREAKING, NOTED, SILENT))

    def undo(self) -> Changes:
        """Put everything back, and return what was changed."""
        for trait, before in self._silent:
            trait.write(before)
        return Changes(tuple(_restored(self._breaking)), tuple(_restored(self._noted)))

    def undo_breaking(self) -> tuple[str, ...]:
        """Put back what no plugin may change, and return what was changed. An import may change the rest."""
        return tuple(_restored(self._breaking))


Known = list[tuple[Trait, Any]]
"""Traits with their values before."""


def _read(traits: Iterable[Trait]) -> Known:
    return [(trait, trait.read()) for trait in traits]


def _restored(known: Known) -> Iterable[str]:
    for trait, before in known:
        after = trait.read()
        if after != before:
            trait.write(before)
            yield f"{trait.name} from {before} to {after}"


def _torch() -> Any:
    """Return torch if it is imported; nothing of it has been changed before."""
    return sys.modules.get("torch")


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - a path of the system, not one to work with
    except OSError:  # it was deleted
        return None


def _enter(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _dtype() -> str:
    torch = _torch()
    return "float32" if torch is None else str(torch.get_default_dtype()).removeprefix("torch.")


def _deterministic() -> int:
    torch = _torch()
    return 0 if torch is None else int(torch.get_deterministic_debug_mode())


def _function_modes() -> int:
    """Return how many modes are on, but for that of the default device, which lies below all others."""
    torch = _torch()
    if torch is None:
        return 0
    modes = torch.overrides._get_current_function_mode_stack()  # noqa: SLF001
    return sum(type(mode).__name__ != "DeviceContext" for mode in modes)


def _leave_function_modes(number: int) -> None:
    while _function_modes() > number:
        _torch().overrides._pop_mode()  # noqa: SLF001


def _dispatch_modes() -> int:
    return 0 if _torch() is None else int(_torch()._C._len_torch_dispatch_stack())  # noqa: SLF001


def _leave_dispatch_modes(number: int) -> None:
    while _dispatch_modes() > number:
        _torch().utils._python_dispatch._pop_mode()  # noqa: SLF001


class _Hooks(tuple[Any, ...]):
    """Hooks; their text is how many they are."""

    __slots__ = ()

    def __str__(self) -> str:
        return str(len(self))


def _saved_hooks() -> _Hooks:
    torch = _torch()
    try:
        top = None if torch is None else torch._C._autograd._top_saved_tensors_default_hooks(False)  # noqa: SLF001
    except (AttributeError, TypeError):  # an older torch does not tell
        top = None
    return _Hooks() if top is None else _Hooks([tuple(top)])


def _leave_saved_hooks(before: _Hooks) -> None:
    while (now := _saved_hooks()) and now != before:
        _torch()._C._autograd._pop_saved_tensors_default_hooks()  # noqa: SLF001


def _tables_of_hooks() -> dict[str, dict[int, Any]]:
    """Return torch's tables of the hooks that run in every module."""
    torch = _torch()
    known = {} if torch is None else vars(torch.nn.modules.module)
    return {name: value for name, value in known.items() if name.startswith("_global_") and isinstance(value, dict)}


def _module_hooks() -> _Hooks:
    return _Hooks((name, key, hook) for name, table in _tables_of_hooks().items() for key, hook in table.items())


def _set_module_hooks(before: _Hooks) -> None:
    for name, table in _tables_of_hooks().items():
        table.clear()
        table.update({key: hook for place, key, hook in before if place == name})


def _generators() -> tuple[Any, Any, Any]:
    numpy, torch = sys.modules.get("numpy"), _torch()
    return (
        random.getstate(),
        None if numpy is None else numpy.random.get_state(),
        None if torch is None else torch.get_rng_state(),
    )


def _reset_generators(states: tuple[Any, Any, Any]) -> None:
    random.setstate(states[0])
    if states[1] is not None:
        sys.modules["numpy"].random.set_state(states[1])
    if states[2] is not None:
        _torch().set_rng_state(states[2])


def _handlers() -> dict[signal.Signals, Any]:
    """Return the handlers of signals. Only the main thread can set them."""
    if current_thread() is not main_thread():
        return {}
    known = {number: signal.getsignal(number) for number in set(signal.valid_signals()) & set(signal.Signals)}
    return {signal.Signals(number): handler for number, handler in known.items() if handler is not None}


def _handle(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
    if handlers:
        signal.setitimer(signal.ITIMER_REAL, 0)  # no alarm of a run rings in the next one


def _set_environment(before: dict[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})


def _set_streams(streams: tuple[Any, Any, Any]) -> None:
    sys.stdin, sys.stdout, sys.stderr = streams


def _filters() -> list[Any]:
    return list(warnings.filters)


def _set_filters(before: list[Any]) -> None:
    if before != warnings.filters:
        warnings.resetwarnings()  # this tells the cache of warnings
        warnings.filters[:] = before  # type: ignore[index]


def _set_search(before: list[str]) -> None:
    sys.path[:] = before


BREAKING = (
    Trait("torch's function modes", _function_modes, _leave_function_modes),
    Trait("torch's dispatch modes", _dispatch_modes, _leave_dispatch_modes),
    Trait("the working folder", _folder, _enter),
    Trait("torch's default dtype", _dtype, lambda name: _torch().set_default_dtype(getattr(_torch(), name))),
    Trait(
        "the recording of gradients",
        lambda: _torch() is None or _torch().is_grad_enabled(),
        lambda recorded: _torch().set_grad_enabled(recorded),
    ),
    Trait(
        "torch's default device",
        lambda: "cpu" if _torch() is None else str(_torch().get_default_device()),
        lambda device: _torch().set_default_device(None if device == "cpu" else device),
    ),
    Trait(
        "torch's autocast",
        lambda: _torch() is not None and _torch().is_autocast_enabled("cpu"),
        lambda enabled: _torch().set_autocast_enabled("cpu", enabled),
    ),
    Trait("torch's hooks of saved tensors", _saved_hooks, _leave_saved_hooks),
    Trait("torch's hooks of all modules", _module_hooks, _set_module_hooks),
)
NOTED = (
    Trait(
        "the number of torch's threads",
        lambda: None if _torch() is None else _torch().get_num_threads(),
        lambda number: number is None or _torch().set_num_threads(number),
    ),
    Trait(
        "torch's deterministic mode",
        _deterministic,
        lambda mode: _torch().set_deterministic_debug_mode(mode),
    ),
    Trait(
        "torch's precision of products",
        lambda: "highest" if _torch() is None else _torch().get_float32_matmul_precision(),
        lambda precision: _torch().set_float32_matmul_precision(precision),
    ),
    Trait(
        "cuDNN's use of TF32",
        lambda: _torch() is None or _torch().backends.cudnn.allow_tf32,
        lambda allowed: setattr(_torch().backends.cudnn, "allow_tf32", allowed),
    ),
)
SILENT = (
    Trait("the environment", lambda: dict(os.environ), _set_environment),
    Trait("the handlers of signals", _handlers, _handle),
    Trait("the standard streams", lambda: (sys.stdin, sys.stdout, sys.stderr), _set_streams),
    Trait("the filters of warnings", _filters, _set_filters),
    Trait("the search path", lambda: list(sys.path), _set_search),
    Trait("the depth of recursion", sys.getrecursionlimit, sys.setrecursionlimit),
    Trait("the collector of garbage", gc.isenabled, lambda enabled: gc.enable() if enabled else gc.disable()),
    Trait("random generators", _generators, _reset_generators),
)

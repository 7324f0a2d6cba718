"""Checkpoints, from which an unfinished run goes on."""

from __future__ import annotations

import io
import json
import os
import pickle
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from collapsebench.errors import covered_signal, error_line
from collapsebench.experiment.environment import CODE
from collapsebench.experiment.pulses import forget_pulse
from collapsebench.files import replacing

FORMAT = 2
"""Raise it when the content of a checkpoint changes: older ones are then set aside."""

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
"""How a file is opened that must not exist yet, not even as a link."""

UNSAVED = (pickle.PicklingError, AttributeError, TypeError, RecursionError)
"""What pickle raises for objects that cannot be saved."""

INTERVAL = 60.0
"""Seconds between two checkpoints. Scheduled evaluations write further ones."""


def saved(content: Mapping[str, Any]) -> io.BytesIO:
    """Return what torch saves. A signal that comes meanwhile is raised as it is, though torch raises another error.

    Raises Interrupted, and one of UNSAVED or RuntimeError for what cannot be saved.
    """
    import torch

    buffer = io.BytesIO()
    try:
        torch.save(dict(content), buffer)
    except RuntimeError as error:
        stop = covered_signal(error)
        if stop is not None:
            raise stop from None
        raise
    return buffer


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one store: a file `RUN_ID.pt` for every run without a result, in a folder on this machine."""

    folder: Path
    keep: bool = False
    """True to keep the last checkpoint of a run that has a result, as `RUN_ID.kept.pt`."""
    anywhere: bool = False
    """True to go on from checkpoints of other environments, which may give other last digits, and to note that."""

    def of(self, run_id: str, conditions: Mapping[str, Any], warn: Callable[[str], None]) -> Checkpoint:
        """Return the checkpoint of one run, of use only under equal `conditions`. `warn` gets lines for the user."""
        header = {"format": FORMAT, "run_id": run_id, **conditions}
        free = frozenset(conditions).difference(CODE) if self.anywhere else frozenset()
        return Checkpoint(self._path(run_id), header, warn, free=free)

    def settle(self, run_id: str) -> None:
        """Remove the checkpoint of a run whose result is stored, or put it away if checkpoints are kept.

        What processes that were killed have left goes, too.
        """
        path = self._path(run_id)
        with suppress(FileNotFoundError):
            if self.keep:
                path.replace(path.with_suffix(".kept.pt"))
            else:
                path.unlink()
        for unfinished in self.folder.glob(f"{path.name}.*.part"):
            unfinished.unlink(missing_ok=True)
        forget_pulse(self.folder, run_id)

    def _path(self, run_id: str) -> Path:
        return self.folder / f"{run_id}.pt"


def _placed(device: str, storage: Any, location: str) -> Any:
    """Return the memory of a tensor, which has been read to the CPU, where the tensor belongs."""
    return storage if "cpu" in {device, location} else storage.to(device=device)


class Checkpoint:
    """The state of one run, in a file that is whole or not there.

    The file begins with a line of JSON (format, run, conditions, notes, and the SHA-256 of the rest). The rest is the
    state as torch saves it. Other users of the machine can neither read it nor lead it elsewhere by a link.
    """

    def __init__(
        self,
        path: Path,
        header: Mapping[str, Any],
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        free: frozenset[str] = frozenset(),
    ) -> None:
        """`free` are the names of conditions that need not be equal, but are noted."""
        self._path, self._header, self._warn, self._clock = path, dict(header), warn, clock
        self._saved, self._failed, self._free = clock(), False, free
        self.notes: list[str] = []
        """The environments in which the run began and went on, if they differ, one line each."""

    def due(self) -> bool:
        """Return whether the last checkpoint is a minute old."""
        return self._clock() - self._saved >= INTERVAL

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint. A disk that refuses costs one warning, and never the run.

        So does a state that cannot be saved, as a method may keep what it likes.
        """
        try:
            self._write(state)
        except (OSError, *UNSAVED) as error:
            if not self._failed:
                reason = error.strerror if isinstance(error, OSError) else error_line(error)
                self._warn(f"cannot write the checkpoint '{self._path}': {reason}; the run goes on without")
            self._failed = True
        self._saved = self._clock()

    def load(self, device: str = "cpu") -> dict[str, Any] | None:
        """Return the state, or None if there is none. A file that is damaged or of another run is set aside.

        What was saved on another device than the CPU comes back on `device`, what was saved on the CPU stays there.
        """
        import torch

        place = partial(_placed, device)
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(self._read()), map_location=place, weights_only=True)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, pickle.UnpicklingError) as error:
            self.set_aside(" ".join(str(error).split()))
            return None
        return state

    def set_aside(self, reason: str) -> None:
        """Rename a file that cannot be used, and say so in one line."""
        aside = self._path.with_suffix(".set-aside")
        self._path.replace(aside)
        self._warn(f"checkpoint '{self._path}' {reason:.200}; it is set aside as '{aside.name}', the run starts again")

    def _read(self) -> bytes:
        """Return the saved state. Raises ValueError with what is wrong."""
        with os.fdopen(os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            head, _, body = file.read().partition(b"\n")
        try:
            found = dict(json.loads(head))
        except (ValueError, TypeError):
            raise ValueError("is damaged") from None
        other = {key: wanted for key, wanted in self._header.items() if found.get(key) != wanted}
        for key in (key for key in other if key not in self._free):
            raise ValueError(f"was written with {key} {found.get(key)}, not {other[key]}{self._advice(key)}")
        if found.get("sha256") != sha256(body).hexdigest():
            raise ValueError("is damaged")
        changes = [f"{key} {found.get(key)}, now {wanted}" for key, wanted in other.items()]
        self.notes = [*map(str, found.get("notes", [])), *([", ".join(changes)] if changes else [])]
        return body

    def _advice(self, key: str) -> str:
        return "" if key in {"format", "run_id", *CODE} else " (--resume-anywhere goes on all the same)"

    def _write(self, state: Mapping[str, Any]) -> None:
        body = saved(state).getbuffer()
        head = json.dumps(self._header | {"notes": self.notes, "sha256": sha256(body).hexdigest()})
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(self._path) as partial, os.fdopen(os.open(partial, NEW, 0o600), "wb") as file:
            file.write(f"{head}\n".encode())
            file.write(body)

"""Checkpoints, from which an unfinished run goes on."""

from __future__ import annotations

import io
import json
import pickle
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from collapsebench.files import replacing

FORMAT = 2
"""Raise it when the content of a checkpoint changes: older ones are then set aside."""

INTERVAL = 60.0
"""Seconds between two checkpoints. Scheduled evaluations write further ones."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one store: a file `RUN_ID.pt` for every run without a result, in a folder on this machine."""

    folder: Path
    keep: bool = False
    """True to keep the last checkpoint of a run that has a result, as `RUN_ID.kept.pt`."""

    def of(self, run_id: str, conditions: Mapping[str, Any], warn: Callable[[str], None]) -> Checkpoint:
        """Return the checkpoint of one run, of use only under equal `conditions`. `warn` gets lines for the user."""
        return Checkpoint(self._path(run_id), {"format": FORMAT, "run_id": run_id, **conditions}, warn)

    def settle(self, run_id: str) -> None:
        """Remove the checkpoint of a run whose result is stored, or put it away if checkpoints are kept."""
        path = self._path(run_id)
        with suppress(FileNotFoundError):
            if self.keep:
                path.replace(path.with_suffix(".kept.pt"))
            else:
                path.unlink()
        for unfinished in self.folder.glob(f"{path.name}.*.part"):  # of a process that was killed
            unfinished.unlink(missing_ok=True)

    def _path(self, run_id: str) -> Path:
        return self.folder / f"{run_id}.pt"


class Checkpoint:
    """The state of one run, in a file that is whole or not there.

    The file begins with a line of JSON (format, run, conditions, and the SHA-256 of the rest). The rest is the state
    as torch saves it.
    """

    def __init__(
        self,
        path: Path,
        header: Mapping[str, Any],
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._header, self._warn, self._clock = path, dict(header), warn, clock
        self._saved, self._failed = clock(), False

    def due(self) -> bool:
        """Return whether the last checkpoint is a minute old."""
        return self._clock() - self._saved >= INTERVAL

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint. A disk that refuses costs one warning, and never the run."""
        try:
            self._write(state)
        except OSError as error:
            if not self._failed:
                self._warn(f"cannot write the checkpoint '{self._path}': {error.strerror}; the run goes on without")
            self._failed = True
        self._saved = self._clock()

    def load(self) -> dict[str, Any] | None:
        """Return the state, or None if there is none. A file that is damaged or of another run is set aside."""
        import torch

        try:
            state: dict[str, Any] = torch.load(io.BytesIO(self._read()), map_location="cpu", weights_only=True)
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
        head, _, body = self._path.read_bytes().partition(b"\n")
        try:
            found = dict(json.loads(head))
        except (ValueError, TypeError):
            raise ValueError("is damaged") from None
        for key, wanted in self._header.items():
            if found.get(key) != wanted:
                raise ValueError(f"was written with {key} {found.get(key)}, not {wanted}")
        if found.get("sha256") != sha256(body).hexdigest():
            raise ValueError("is damaged")
        return body

    def _write(self, state: Mapping[str, Any]) -> None:
        import torch

        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        body = buffer.getbuffer()
        head = json.dumps(self._header | {"sha256": sha256(body).hexdigest()})
        with replacing(self._path) as partial, partial.open("wb") as file:
            file.write(f"{head}\n".encode())
            file.write(body)

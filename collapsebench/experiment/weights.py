"""Weights: the selected parameters of a run in a file of torch, and beside it what its methods keep of their own."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapsebench.errors import DataError, error_line
from collapsebench.experiment.checkpoint import UNSAVED, saved
from collapsebench.files import replacing

if TYPE_CHECKING:
    from torch import nn

    from collapsebench.components.interfaces import Component

WEIGHTS = "weights"
"""The name of the folder of weights, as those of codes and checkpoints."""

ADVICE = "runs but trials keep them unless --no-weights is given, and a --work-dir may have them"
"""What is said where weights are missing."""

UNREADABLE = (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError)
"""What torch raises for a file that it cannot load without running code."""


@dataclass(frozen=True)
class WeightFiles:
    """The files of one run.

    `RUN_ID.pt` is the state dict of the model, float32 tensors on the CPU, and `torch.load` reads it with
    `weights_only=True`. `RUN_ID.private.pt` is there only if there is more: buffers that torch leaves out of a state
    dict, and the private attributes of methods and of the inference strategy.
    """

    folder: Path
    """The folder of all runs."""
    run_id: str

    @property
    def parameters(self) -> Path:
        """The file of the state dict."""
        return self.folder / f"{self.run_id}.pt"

    @property
    def private(self) -> Path:
        """The file of what is no part of the state dict."""
        return self.folder / f"{self.run_id}.private.pt"

    @property
    def present(self) -> tuple[Path, ...]:
        """The files that are there; empty without weights."""
        if not self.parameters.is_file():
            return ()
        return tuple(path for path in (self.private, self.parameters) if path.is_file())

    def check(self) -> None:
        """Raise DataError if the run has no weights."""
        if not self.present:
            raise DataError(f"run {self.run_id} has no weights: '{self.parameters}' is not there; {ADVICE}")

    def write(self, vae: nn.Module, keepers: Sequence[Component]) -> None:
        """Write the files, each whole or not there, the state dict last. Equal weights give equal bytes.

        Raises OSError.
        """
        for unfinished in self.folder.glob(f"{self.run_id}.*.part"):  # of a process that was killed
            unfinished.unlink(missing_ok=True)
        state = {name: tensor.detach().cpu() for name, tensor in vae.state_dict().items()}
        loose = {name: buffer.detach().cpu() for name, buffer in vae.named_buffers() if name not in state}
        private = [(each.name, _plain(each)) for each in keepers]
        if loose or any(kept != {} for _, kept in private):
            _save({"buffers": loose, "components": private}, self.private)
        _save(state, self.parameters)

    def load(self, vae: nn.Module, keepers: Sequence[Component]) -> tuple[str, ...]:
        """Give a model and its components what `write` kept. Return the names of those that kept what no file can have.

        Raises DataError if the file is missing, damaged or of another model.
        """
        from collapsebench.experiment.keeping import load_model, load_private

        self.check()
        state = self._read(self.parameters)
        more = self._read(self.private) if self.private.is_file() else {"buffers": {}, "components": []}
        try:
            everything = state | more["buffers"]
            private = more["components"] or [(each.name, {}) for each in keepers]
            _check_types(vae, everything)
            _check_names(keepers, private)
            load_model(vae, everything)
            load_private(keepers, [kept or {} for _, kept in private])
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            reason = f"{error_line(error):.200}"
            raise DataError(f"the weights '{self.parameters}' are not those of this model: {reason}") from None
        return tuple(name for name, kept in private if kept is None)

    def _read(self, path: Path) -> dict[str, Any]:
        """Return what a file has. Raises DataError if it is damaged, or has what would run code."""
        import torch

        try:
            found: dict[str, Any] = torch.load(_whole(path), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise DataError(f"cannot read the weights '{path}': it has more than tensors and plain values") from None
        except Exception as error:  # noqa: BLE001 - a damaged or foreign file fails in many ways
            raise DataError(f"cannot read the weights '{path}': {error_line(error):.200}") from None
        return found


def _whole(path: Path) -> io.BytesIO:
    """Return the content of an archive with intact checksums. Torch writes them, and does not compare them.

    Raises ValueError, OSError or BadZipFile.
    """
    content = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(content) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"'{damaged}' in it does not have its checksum")
    content.seek(0)
    return content


def _check_types(vae: nn.Module, state: Mapping[str, Any]) -> None:
    """Raise TypeError for a tensor of another type, such as of half precision: torch would convert it in silence."""
    from collapsebench.experiment.keeping import model_state

    for name, own in model_state(vae).items():
        if name in state and state[name].dtype != own.dtype:
            raise TypeError(f"'{name}' is of {state[name].dtype}, and that of the model of {own.dtype}")


def _check_names(keepers: Sequence[Component], private: Sequence[tuple[str, Mapping[str, Any] | None]]) -> None:
    """Raise ValueError unless the private attributes are those of these components, in their order."""
    names, found = [each.name for each in keepers], [name for name, _ in private]
    if found != names:
        raise ValueError(f"it has private attributes of {found}, and its components are {names}")
    for component, (name, kept) in zip(keepers, private, strict=True):
        odd = (kept or {}).keys() - type(component).__private_attributes__.keys()
        if odd:
            raise ValueError(f"'{name}' has no private attribute {min(odd, key=str)!r}")


def _plain(component: Component) -> Mapping[str, Any] | None:
    """Return what a component keeps in private attributes, None if a file of plain values cannot have it."""
    import torch

    from collapsebench.experiment.keeping import private_state

    (kept,) = private_state([component])
    if not kept:
        return kept
    try:
        buffer = saved(kept)
        buffer.seek(0)
        torch.load(buffer, map_location="cpu", weights_only=True)
    except (*UNREADABLE, *UNSAVED):
        return None
    return kept


def _save(content: Mapping[str, Any], path: Path) -> None:
    """Write a file as a whole. The name of the file is no part of its bytes, as it would be if torch wrote it."""
    body = saved(content).getbuffer()
    with replacing(path) as partial:
        partial.write_bytes(body)

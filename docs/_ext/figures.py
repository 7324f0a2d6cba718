"""The figures of docs/figures.md and of results/leaderboards: `python docs/_ext/figures.py` draws them from records.

Each is drawn by `collapsebench plot` from a store into which the records are imported first.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from collapsebench.cli import cli

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "results" / "leaderboards"
STATIC = ROOT / "docs" / "_static"
PAGE = ROOT / "docs" / "figures.md"


class RecordFigure(NamedTuple):
    """A figure that is drawn from records of the repository."""

    records: str
    """The file of records that it is drawn from, without its ending."""
    command: str
    """The words behind `collapsebench plot`; the last one is the file."""
    place: Path = STATIC
    """The folder of the picture in the repository."""

    @property
    def file(self) -> str:
        """The name of the picture."""
        return shlex.split(self.command)[-1]

    def draw(self, folder: Path, stores: Path) -> None:
        """Draw the figure into a folder. `stores` is the folder of imported records."""
        store = stores / f"{self.records}.sqlite"
        if not store.exists():
            _call("runs", "import", str(RECORDS / f"{self.records}.jsonl"), "--store", str(store))
        *words, file = shlex.split(self.command)
        _call("plot", *words, str(folder / file), "--store", str(store))


FIGURES = (
    RecordFigure(
        "mnist-quick-flops",
        "trajectories --dataset mnist --x flops --y neg_elbo,kl --output figure-trajectories.svg",
    ),
    RecordFigure("mnist-quick-flops", "rate-distortion --dataset mnist --output figure-rate-distortion.svg"),
    RecordFigure("yahoo-9k-quick-flops", "spectrum --dataset yahoo-9k --output figure-spectrum.svg"),
    RecordFigure(
        "table-2-small",
        "depth --suite dieng-2019/table-2 --scale small --dataset mnist --output figure-depth.svg",
    ),
    RecordFigure(
        "mnist-quick-flops",
        "trajectories --dataset mnist --x flops --y neg_elbo,kl --size 3.3,2.6 --title '' --contender vae "
        "--contender skip --contender sa-vae --contender skip+sa-vae --label vae=VAE --label skip=Skip-VAE "
        "--label sa-vae=SA-VAE --label 'skip+sa-vae=Skip + SA' --output figure-column.svg",
    ),
    RecordFigure(
        "table-2-small",
        "depth --suite dieng-2019/table-2 --scale small --dataset mnist --output table-2-small-mnist.svg",
        RECORDS,
    ),
    RecordFigure(
        "table-2-small",
        "depth --suite dieng-2019/table-2 --scale small --dataset omniglot --output table-2-small-omniglot.svg",
        RECORDS,
    ),
    RecordFigure(
        "table-3-small",
        "depth --suite dieng-2019/table-3 --scale small --columns neg_elbo,kl,active_units --output table-3-small.svg",
        RECORDS,
    ),
    RecordFigure("yahoo-9k-quick", "trajectories --dataset yahoo-9k --output yahoo-9k-trajectories.svg", RECORDS),
)


def _call(*words: str) -> None:
    cli.main(list(words), standalone_mode=False)


def draw_all(folder: Path | None = None) -> None:
    """Draw all figures into a folder, or each into its own."""
    with TemporaryDirectory() as stores:
        for figure in FIGURES:
            figure.draw(folder or figure.place, Path(stores))


if __name__ == "__main__":
    draw_all()

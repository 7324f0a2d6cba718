"""Stored runs and boards as Python hands them over: values with tables for notebooks and for pandas."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, overload

from collapsebench.errors import UsageError, unknown
from collapsebench.record import Outcome, RunRecord

if TYPE_CHECKING:
    import pandas as pd

    from collapsebench.components.interfaces import Inference
    from collapsebench.examples import Splits
    from collapsebench.experiment.trained import TrainedModel
    from collapsebench.model.vae import VAE


@dataclass(frozen=True)
class Run:
    """One stored run.

    >>> import collapsebench
    >>> runs = collapsebench.run(dataset="linear-gaussian", budget="2steps", store="runs.sqlite", progress=False)
    >>> run = collapsebench.load_run(runs[0].run_id, store="runs.sqlite")
    >>> run.contender, run.seed, run.outcome.value, run.record.counters["steps"]
    ('vae', 1, 'finished', 2.0)
    >>> round(run.values["kl"], 1)
    1.1
    """

    record: RunRecord
    """The stored record of the run."""
    _model: Any = field(default=None, repr=False, compare=False)  # a TrainedModel, which is no public name

    @property
    def run_id(self) -> str:
        """The id of the run. It is equal for equal contenders, protocols and seeds."""
        return self.record.run_id

    @property
    def contender(self) -> str:
        """The label of the contender, as boards write it."""
        return self.record.contender

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.record.spec.seed

    @property
    def outcome(self) -> Outcome:
        """The outcome of the run, such as `finished`."""
        return self.record.outcome

    @property
    def values(self) -> dict[str, float]:
        """The metrics that boards show, by column."""
        return {value.column: float(value.estimate) for value in self.record.values if value.board}

    @property
    def declined(self) -> dict[str, str]:
        """The reasons why columns have no number, by column."""
        return {each.column: each.reason for each in self.record.declined}

    @property
    def vae(self) -> VAE:
        """The trained model on the CPU, with the parameters that were tested, in evaluation mode.

        It is made by the first use, as the run made it, and so are `inference`, `data` and `vocabulary`. Raises
        DataError if the run has kept no weights, or if the data are others, UsageError for a plugin that is not loaded.

        >>> import collapsebench
        >>> (run,) = collapsebench.run(dataset="linear-gaussian", budget="2steps", store="v.sqlite", progress=False)
        >>> run.vae.training, run.vae.prior.sample(3, collapsebench.SeededNoise(0)).shape
        (False, torch.Size([3, 5]))
        """
        return self._trained.vae

    @property
    def inference(self) -> Inference:
        """The strategy that finds posteriors. `inference.posterior(vae, x, noise)` is that of the metrics.

        >>> import collapsebench, torch
        >>> (run,) = collapsebench.run(dataset="linear-gaussian", budget="2steps", store="i.sqlite", progress=False)
        >>> x = torch.from_numpy(next(run.data.test.batches(4)).x)
        >>> run.inference.posterior(run.vae, x, collapsebench.SeededNoise(0)).mean.shape
        torch.Size([4, 5])
        """
        return self._trained.inference

    @property
    def data(self) -> Splits:
        """The splits of the dataset, as the run read them. Raises DataError if files are missing.

        >>> import collapsebench
        >>> (run,) = collapsebench.run(dataset="linear-gaussian", budget="2steps", store="e.sqlite", progress=False)
        >>> run.data.spec, len(run.data.test)
        (VectorSpec(dimension=10), 1000)
        """
        return self._trained.splits

    @property
    def vocabulary(self) -> tuple[str, ...] | None:
        """The words of a text by their ids; None for other data, and for words without names.

        >>> import collapsebench
        >>> (run,) = collapsebench.run(
        ...     dataset="synthetic-text", track="demo", budget="1steps", store="w.sqlite", progress=False
        ... )
        >>> run.vocabulary[:6]
        ('<pad>', '<unk>', '<s>', '</s>', 'w0', 'w1')
        """
        return self._trained.words

    @property
    def has_weights(self) -> bool:
        """True if the run has kept its trained parameters.

        >>> import collapsebench
        >>> (run,) = collapsebench.run(
        ...     dataset="linear-gaussian", budget="2steps", weights=False, store="n.sqlite", progress=False
        ... )
        >>> run.has_weights
        False
        """
        return self._model is not None and bool(self._model.files.present)

    @property
    def _trained(self) -> TrainedModel:
        if self._model is None:
            raise UsageError(f"run {self.run_id} comes without its data and weights: get it from load_run")
        model: TrainedModel = self._model
        return model

    def __repr__(self) -> str:
        """Return one line with the run, its outcome and its setting."""
        protocol = self.record.spec.protocol
        return (
            f"Run({self.run_id} {self.contender} seed {self.seed}: {self.outcome.value}, {protocol.dataset.name} "
            f"{self.record.track})"
        )


class Runs(Sequence[Run]):
    """A sequence of stored runs.

    >>> import collapsebench
    >>> found = collapsebench.run(dataset="linear-gaussian", budget="2steps", store="runs.sqlite", progress=False)
    >>> len(found), found[0].contender, len(found[:0])
    (1, 'vae', 0)
    """

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs = tuple(runs)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> Run | Runs:
        """Return one run, or some runs as `Runs`."""
        if isinstance(index, slice):
            return Runs(self._runs[index])
        return self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def frame(self) -> pd.DataFrame:
        """Return a tidy pandas table: one row for each run and column, with the value and its standard error.

        Rows without a metric are costs: the parameters, and the counters at the end of training. Raises UsageError if
        pandas is not installed.
        """
        return _pandas().DataFrame([row for run in self for row in _rows(run.record)], columns=list(FRAME))

    def __repr__(self) -> str:
        """Return a table of the runs."""
        return self._table("simple")

    def _repr_html_(self) -> str:
        """Return a table of the runs, for notebooks."""
        return self._table("html")

    def _table(self, format_: str) -> str:
        from tabulate import tabulate

        columns = list(dict.fromkeys(column for run in self for column in list(run.values)[:6]))
        rows = [
            (run.run_id, run.contender, run.seed, run.outcome.value, *(_cell(run, column) for column in columns))
            for run in self
        ]
        return tabulate(rows, ("run", "contender", "seed", "outcome", *columns), format_, floatfmt=".4g")


def _cell(run: Run, column: str) -> str | None:
    """Write a number with four digits, or the reason why there is none."""
    return f"{run.values[column]:.4g}" if column in run.values else run.declined.get(column)


class Boards:
    """The leaderboards of some protocols, those of a suite beside the numbers of its paper, or a league.

    A notebook shows them as tables; `print` writes them as the command line does.

    >>> import collapsebench
    >>> runs = collapsebench.run(["skip"], dataset="linear-gaussian", budget="2steps", store="a.sqlite", progress=False)
    >>> boards = collapsebench.board(dataset="linear-gaussian", store="a.sqlite")
    >>> boards.render("csv").splitlines()[1].split(",")[1:6]
    ['linear-gaussian', 'quick', '2steps', 'vae', 'neg_elbo']
    """

    def __init__(self, pieces: Callable[[str], Iterable[str]]) -> None:
        """Take `pieces`, a function that writes the boards in a format, from `board`."""
        self._pieces = pieces

    def render(self, format_: str = "table") -> str:
        """Write the boards as `table`, `markdown`, `latex`, `html`, `csv` or `json`. Raises UsageError for another."""
        from collapsebench.reporting.leaderboard import FORMATS

        if format_ not in FORMATS:
            raise UsageError(unknown("format", format_, FORMATS))
        return "".join(self._pieces(format_))

    def frame(self) -> pd.DataFrame:
        """Return the CSV export as a pandas table, with one row for each contender and column.

        Raises UsageError if pandas is not installed.
        """
        frame: pd.DataFrame = _pandas().read_csv(io.StringIO(self.render("csv")))
        return frame

    def __str__(self) -> str:
        """Return the boards as text for a terminal."""
        return self.render("table")

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the boards as tables for notebooks: the page without its head, which has the style of a whole page."""
        return self.render("html").partition("<body>")[2].partition("</body>")[0]


FRAME = (
    *("run_id", "dataset", "track", "budget", "protocol_id", "contender", "seed", "outcome"),
    *("metric", "column", "value", "standard_error", "unit"),
)
"""The columns of `Runs.frame`."""


def _rows(record: RunRecord) -> Iterator[tuple[object, ...]]:
    """Yield a row for each number of a run: first the metrics, then the costs."""
    protocol = record.spec.protocol
    setting = (protocol.dataset.name, record.track, str(protocol.budget), record.protocol_id)
    head = (record.run_id, *setting, record.contender, record.spec.seed, record.outcome.value)
    for value in record.values:
        error = None if value.standard_error is None else float(value.standard_error)
        yield (*head, value.metric, value.column, float(value.estimate), error, value.unit)
    yield (*head, "", "parameters", float(record.parameters), None, "")
    for name, amount in record.counters.items():
        yield (*head, "", name, amount, None, "")


def _pandas() -> ModuleType:
    """Import pandas, an optional extra. Raises UsageError if it is not installed."""
    try:
        return import_module("pandas")
    except ImportError:
        raise UsageError("a frame needs pandas: pip install 'collapsebench[pandas]'") from None

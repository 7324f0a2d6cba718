"""Published numbers: the tables of papers in `registry/published/`, one file per publication.

A file has the form of the paper: a table names its columns once, and a row is a list of cells with the printed digits.
`Publication.rows` has the same rows in the words of this project. A column has the name of a metric where it means the
same (`neg_elbo` is minus the printed ELBO), and a contender is written as on the command line.

    for row in publication("dieng-2019").rows:
        row.table, row.label, row.contender    # "Table 3", "SKIP-VAE", "skip"
        row.setting                            # {"dataset": "mnist", "decoder.layers": 4, "latent_dim": 50, …}
        row.values["neg_elbo"].value           # 93.79, with `.rounding` 0.005 and `.printed` "-93.79"
        row.estimators["mi_lower"]             # how the paper measured it
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self, TypeAlias

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from collapsebench.errors import UsageError, unknown
from collapsebench.facts import read_facts, registry_folder
from collapsebench.spec import Frozen
from collapsebench.syntax import canonical

PrintedCell: TypeAlias = int | Decimal | str
"""A number as printed, with its trailing zeros; `<=359.1` or `<80.97` for a bound, `5.86?` for digits in doubt."""

NOT_REPORTED = "-"
"""The cell for a number that the row does not have."""

NUMBER = re.compile(r"(?P<bound><=?)?(?P<number>-?\d+(\.\d+)?)(?P<doubtful>\?)?")

LABEL = "label"
"""The column with the paper's name of the contender."""

SETTING = ("dataset", "model", "latent_dim", "encoder.name", "decoder.name", "decoder.layers")
"""The names by which settings differ: `dataset`, paths of a track as `--set` writes them, and `model` in words."""


class PublishedValue(NamedTuple):
    """One printed number."""

    printed: str
    value: float
    """The number with the sign and in the unit of this project's column."""
    rounding: float
    """Half a unit of the last printed digit: the true number is that near to `value`."""
    bound: bool = False
    """True if the paper prints it as an upper bound."""
    doubtful: bool = False
    """True if a digit cannot be read with certainty."""


class PublishedRow(NamedTuple):
    """One row of a published table, in the words of this project."""

    publication: str
    """The name of its file, as in `dieng-2019`."""
    table: str
    label: str
    """The paper's name of the contender."""
    contender: str | None
    """The contender as the command line writes it, `skip+sa-vae`; None if this project does not have it."""
    setting: dict[str, str | int | float]
    """The setting, by the names of `SETTING`."""
    values: dict[str, PublishedValue]
    """The printed numbers, by column of this project, or by the paper's own name where that means something else."""
    estimators: dict[str, str]
    """The paper's estimators, by the same names, if they are known."""
    parameters: dict[str, dict[str, float]]
    """The parameters with which this project's metric measures the same, by the same names."""
    examples: int | None
    """The number of test examples."""
    mixture: int | None
    """The number of posteriors in the mixture of the MI estimate, whose logarithm MI cannot pass. None: `examples`."""
    tokens: float | None
    """The mean number of tokens of a test example, with EOS and without BOS. It ties perplexity to likelihood."""
    comparable: str
    """The numbers with which these can be compared."""


class PublishedColumn(Frozen):
    """The publication's name and estimator for a column of this project."""

    printed: str
    factor: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    """The printed number times this is the number in this project: -1 for an ELBO."""
    estimator: str = ""
    parameters: dict[str, float] = Field(default_factory=dict)
    """The parameters with which this project's metric is the same estimator."""


class PublishedTable(Frozen):
    """Rows under one head. The blocks of one printed table share its name."""

    table: str
    caption: str
    columns: tuple[str, ...]
    """The name of each cell in a row: `label`, one of `SETTING`, or a column of the publication."""
    rows: tuple[tuple[PrintedCell, ...], ...]
    setting: dict[str, str | int | float] = Field(default_factory=dict)
    """The part of the setting that all rows share."""
    estimators: dict[str, str] = Field(default_factory=dict)
    """The estimators that differ from those of the publication's columns."""
    examples: PositiveInt | None = None
    mixture: PositiveInt | None = None
    tokens: PositiveFloat | None = None
    comparable: str


class Publication(Frozen):
    """One file of `registry/published/`."""

    name: str
    """The name of the file."""
    title: str
    citation: str
    provenance: Literal["read", "ocr"]
    """`read`: from the text of the source. `ocr`: from a scanned or converted text, whose digits may be wrong."""
    notes: tuple[str, ...] = ()
    """The facts that a reader must know before comparing with any of its numbers."""
    columns: dict[str, PublishedColumn]
    contenders: dict[str, str] = Field(default_factory=dict)
    """The contender as the command line writes it, by label."""
    tables: tuple[PublishedTable, ...]

    @cached_property
    def rows(self) -> tuple[PublishedRow, ...]:
        """The rows of all tables, in the order of the file."""
        return tuple(self._row(table, cells) for table in self.tables for cells in table.rows)

    def table(self, name: str) -> tuple[PublishedRow, ...]:
        """Return the rows of one table. Raises UsageError, which names the tables there are."""
        rows = tuple(row for row in self.rows if row.table == name)
        if not rows:
            raise UsageError(f"{self.name}: {unknown('table', name, {row.table for row in self.rows})}")
        return rows

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Check that used names are declared, that labels of contenders are used, and that cells are numbers."""
        for table in self.tables:
            for key in table.setting:
                _known("setting", key, SETTING)
            for column in table.columns:
                _known("column", column, (LABEL, *SETTING, *self.columns))
            if LABEL not in table.columns:
                raise ValueError(f"{table.table} has no column '{LABEL}': {', '.join(table.columns)}")
            for column in table.estimators:
                _known("column", column, table.columns)
        labels = {row.label for row in self.rows}
        for label, contender in self.contenders.items():
            _known("label", label, labels)
            _check_canonical(contender)
        return self

    def _row(self, table: PublishedTable, cells: tuple[PrintedCell, ...]) -> PublishedRow:
        """Return a row in this project's words. Raises ValueError for a missing cell and for one that is no number."""
        if len(cells) != len(table.columns):
            line = ", ".join(map(str, cells))
            raise ValueError(f"{table.table} has {len(table.columns)} columns, got {len(cells)} cells: {line}")
        printed = {name: cell for name, cell in zip(table.columns, cells, strict=True) if cell != NOT_REPORTED}
        label = str(printed[LABEL])
        estimators = {name: column.estimator for name, column in self.columns.items()} | table.estimators
        return PublishedRow(
            publication=self.name,
            table=table.table,
            label=label,
            contender=self.contenders.get(label),
            setting=table.setting | {name: _plain(printed[name]) for name in SETTING if name in printed},
            values={name: _value(printed[name], self.columns[name].factor) for name in self.columns if name in printed},
            estimators={name: text for name, text in estimators.items() if name in printed and text},
            parameters={name: self.columns[name].parameters for name in self.columns if name in printed},
            examples=table.examples,
            mixture=table.mixture,
            tokens=table.tokens,
            comparable=table.comparable,
        )


def publication_names() -> list[str]:
    """Return the names of the publications of the registry."""
    return sorted(path.stem for path in (registry_folder() / "published").glob("*.toml"))


def publication(source: Path | str) -> Publication:
    """Return a publication of the registry by its name, or one that stands in a file of the same form.

    Raises UsageError for an unknown name and for a file that is not valid.
    """
    if isinstance(source, str) and source not in publication_names():
        raise UsageError(unknown("publication", source, publication_names()))
    path = source if isinstance(source, Path) else registry_folder() / "published" / f"{source}.toml"
    return read_facts(path, Publication, "published", parse_float=Decimal)


def _value(cell: PrintedCell, factor: float) -> PublishedValue:
    found = NUMBER.fullmatch(str(cell))
    if found is None:
        raise ValueError(f"cannot read '{cell}': write a number as printed, {NOT_REPORTED} for none, <=1.5 or 1.5?")
    decimals = found["number"].partition(".")[2]
    return PublishedValue(
        printed=str(cell),
        value=float(found["number"]) * factor,
        rounding=0.5 * 10 ** -len(decimals) * abs(factor),
        bound=found["bound"] is not None,
        doubtful=found["doubtful"] is not None,
    )


def _plain(cell: PrintedCell) -> str | int | float:
    return float(cell) if isinstance(cell, Decimal) else cell


def _known(what: str, name: str, choices: Iterable[str]) -> None:
    if name not in choices:
        raise ValueError(unknown(what, name, choices))


def _check_canonical(contender: str) -> None:
    if canonical(contender) != contender:
        raise ValueError(f"contender '{contender}' is written '{canonical(contender)}'")

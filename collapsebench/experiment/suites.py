"""Suites: the tables and figures of a paper as grids of runs, declared in TOML. Read and resolved here; no torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, Field, PositiveFloat, field_validator, model_validator

from collapsebench.errors import UsageError, unknown
from collapsebench.experiment.planning import Request
from collapsebench.facts import read_facts, registry_folder
from collapsebench.spec import Budget, Frozen
from collapsebench.syntax import BASELINE, parse_composition, parse_setting, print_call

SHARED = ("dataset", "track", "budget", "settings", "contenders")
"""What the cells of a grid may have in common: it then stands once, beside them."""


def merged(settings: Iterable[str], others: Iterable[str] = ()) -> tuple[str, ...]:
    """Settings with others in place of those of the same keys. Raises UsageError if one does not parse."""
    return tuple({parse_setting(text)[0]: text for text in (*settings, *others)}.values())


Settings: TypeAlias = Annotated[tuple[str, ...], AfterValidator(merged)]
"""Overrides of a track as `--set` takes them, `decoder.layers=3`; of two with one key the later counts."""
BudgetText: TypeAlias = Annotated[str, AfterValidator(lambda text: str(Budget.parse(text)))]


Base: TypeAlias = tuple[str, str, str | None]
"""What the settings of a cell change: dataset, track and budget."""


class Variant(Frozen):
    """Another reading of the paper, asked for by name: it replaces budget, settings and contenders of every cell."""

    description: str
    budget: BudgetText | None = None
    settings: Settings = ()
    contenders: dict[str, str] = Field(default_factory=dict)
    """From the name of a model in the published table to the contender that is run for it instead."""


class Cell(Frozen):
    """Runs that share a protocol: one setting of a table, and the contenders that are compared in it."""

    name: str
    dataset: str
    track: str
    contenders: Annotated[dict[str, str], Field(min_length=1)]
    """From the name of a model in the published table to the contender that is run for it."""
    settings: Settings = ()
    budget: BudgetText | None = None
    """Instead of the track's."""
    published: dict[str, str | int] | None = None
    """Settings by which the table's rows of this cell are found; None if the paper has no number for it."""
    against: str = ""
    """The cell of another protocol whose models are subtracted from its own, seed by seed; empty for none."""

    @property
    def base(self) -> Base:
        """What its settings change: dataset, track and budget."""
        return self.dataset, self.track, self.budget

    def methods(self, model: str) -> frozenset[str]:
        """What the contender of a model is composed of, as written; nothing for the baseline."""
        calls = parse_composition(self.contenders[model])
        return frozenset(print_call(*call) for call in calls) - {BASELINE}

    def varied(self, variant: Variant) -> Cell:
        """The cell with what a variant says in place of its own."""
        replaced = {model: variant.contenders.get(model, written) for model, written in self.contenders.items()}
        settings = merged(self.settings, variant.settings)
        budget = variant.budget or self.budget
        return self.model_copy(update={"budget": budget, "settings": settings, "contenders": replaced})

    def request(self, seeds: tuple[int, ...]) -> Request:
        """What `collapsebench run` would be asked for."""
        return Request(
            methods=tuple(self.contenders.values()),
            dataset=self.dataset,
            track=self.track,
            budget=self.budget,
            seeds=seeds,
            settings=self.settings,
            baseline=False,
            name=self.name,
        )


class Scale(Frozen):
    """One size of a suite: its cells, and what they cost."""

    description: str
    hours: PositiveFloat
    """About how long three seeds take on two cores, one run on each."""
    departs: str = ""
    """In what its runs differ from the published setting, so that they are no reproduction; empty if in nothing."""
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)]
    variants: dict[str, Variant] = Field(default_factory=dict)
    """Beside those of the suite."""

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, value: Any) -> Any:
        """In TOML what all cells share stands once, beside them."""
        if not isinstance(value, dict) or not isinstance(value.get("cells"), list):
            return value
        shared = {key: value[key] for key in SHARED if key in value}
        cells = [_joined(shared, cell) if isinstance(cell, dict) else cell for cell in value["cells"]]
        return {key: content for key, content in value.items() if key not in SHARED} | {"cells": cells}

    @field_validator("cells")
    @classmethod
    def _distinct(cls, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        names = [cell.name for cell in cells]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two cells are called '{twice}'")
        return cells

    @field_validator("cells")
    @classmethod
    def _paired(cls, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        """Seeds pair the runs of two protocols only if these differ in settings alone."""
        named = {cell.name: cell for cell in cells}
        for cell in cells:
            if not cell.against:
                continue
            others = [name for name in named if name != cell.name]
            if cell.against not in others:
                raise ValueError(f"cell '{cell.name}' is against an {unknown('cell', cell.against, others)}")
            if cell.base != named[cell.against].base:
                raise ValueError(f"cell '{cell.name}' is against '{cell.against}' of another dataset, track or budget")
        return cells


def _joined(shared: dict[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    settings = [*shared.get("settings", ()), *cell.get("settings", ())]
    return {**shared, **cell, "settings": settings}


class Reference(Frozen):
    """A table in `registry/published/`."""

    publication: str
    table: str


class Suite(Frozen):
    """A table or figure of a paper as runs."""

    name: str
    title: str
    source: str
    """Paper and place."""
    follows: str
    """What is followed where paper and released program differ, and where neither says anything."""
    published: Reference | None = None
    """The rows that measured ones are set beside; None if the paper prints no numbers."""
    keep_codes: bool = False
    """Whether it is drawn from the posterior means of the test split, so that runs must keep them."""
    scales: Annotated[dict[str, Scale], Field(min_length=1)]
    variants: dict[str, Variant] = Field(default_factory=dict)

    def scale(self, name: str) -> Scale:
        """One of its scales. Raises UsageError with those there are."""
        if name not in self.scales:
            raise UsageError(f"suite '{self.name}': {unknown('scale', name, self.scales)}")
        return self.scales[name]

    def cells(self, scale: str, variants: Iterable[str] = (), only: Collection[str] = ()) -> tuple[Cell, ...]:
        """The cells of a scale, or some of them by name, as these variants have them, the later ones on top.

        Raises UsageError for a name that does not exist.
        """
        cells = self.scale(scale).cells
        for name in only:
            if name not in [cell.name for cell in cells]:
                raise UsageError(f"suite '{self.name}': {unknown('cell', name, [cell.name for cell in cells])}")
        cells = tuple(cell for cell in cells if not only or cell.name in only)
        known = self.known_variants(scale)
        for name in variants:
            if name not in known:
                raise UsageError(f"suite '{self.name}': {unknown('variant', name, known)}")
            cells = tuple(cell.varied(known[name]) for cell in cells)
        return cells

    def known_variants(self, scale: str) -> dict[str, Variant]:
        """The variants that a scale can be asked for: those of the suite, and its own."""
        return self.variants | self.scale(scale).variants


def suite_names() -> list[str]:
    """The suites of the registry, as `paper/table`."""
    folder = registry_folder() / "suites"
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.toml"))


def suite(name: str) -> Suite:
    """A suite of the registry by name, or one in a file of the user's (`mine.toml`).

    Raises UsageError for an unknown name and for a file that is not what a suite should be.
    """
    if name.endswith(".toml"):
        return read_facts(Path(name), Suite, "suite")
    if name not in suite_names():
        raise UsageError(unknown("suite", name, suite_names()))
    return read_facts(registry_folder() / "suites" / f"{name}.toml", Suite, "suite", name=name)

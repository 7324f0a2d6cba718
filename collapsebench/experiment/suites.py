"""Suites: the tables and figures of a paper as grids of runs, declared in TOML. This module does not need torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias

from pydantic import AfterValidator, Field, StrictBool, ValidationError, field_validator, model_validator

from collapsebench.components import discovery
from collapsebench.errors import UsageError, unknown
from collapsebench.experiment.planning import Request
from collapsebench.facts import read_facts, registry_folder
from collapsebench.spec import Budget, Criterion, Frozen, Rule
from collapsebench.syntax import (
    MOST_TRIALS,
    Sweep,
    parse_contender,
    parse_setting,
    parse_sweep,
    print_call,
    print_contender,
    print_rate,
)
from collapsebench.validation import describe

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog

SHARED = ("dataset", "track", "budget", "settings", "contenders", "trials", "searched", "controls")
"""The fields that the cells of a scale may share. A shared field is written once, beside the cells."""

FURTHER = "further"
"""The field of a cell that has contenders beside the shared ones."""


def merged(settings: Iterable[str], others: Iterable[str] = ()) -> tuple[str, ...]:
    """Return settings in which `others` replace those with the same key. Raises UsageError if one does not parse."""
    return tuple({parse_setting(text)[0]: text for text in (*settings, *others)}.values())


Settings: TypeAlias = Annotated[tuple[str, ...], AfterValidator(merged)]
"""Overrides of a track in the form of `--set`: `decoder.layers=3`. If two have the same key, the later one counts."""
BudgetText: TypeAlias = Annotated[str, AfterValidator(lambda text: str(Budget.parse(text)))]


BaseSetting: TypeAlias = tuple[str, str, str | None]
"""The dataset, track and budget that the settings of a cell change."""


def _agree(searched: Sweep, declared: Sweep) -> bool:
    """Return whether two contenders have the same methods, and the same values wherever both have one."""
    rates = not (searched.rated and declared.rated) or searched.rates == declared.rates
    names = [call.name for call in searched.calls] == [call.name for call in declared.calls]
    values = (
        (own, other.params.get(key, own))
        for call, other in zip(searched.calls, declared.calls, strict=False)
        for key, own in call.params.items()
    )
    return rates and names and all(own == other for own, other in values)


class Variant(Frozen):
    """Another interpretation of the paper. The user asks for it by name. Its fields change every cell."""

    description: str
    budget: BudgetText | None = None
    budgets: dict[str, BudgetText] = Field(default_factory=dict)
    """The budgets of some cells, by their names, before `budget`."""
    settings: Settings = ()
    contenders: dict[str, str] = Field(default_factory=dict)
    """The contenders that replace others, by the name of the model in the published table. None is a sweep."""
    tuned: StrictBool = True
    """False if nothing is tuned."""

    @field_validator("contenders")
    @classmethod
    def _single(cls, contenders: dict[str, str]) -> dict[str, str]:
        """A sweep would give its models other names, which no later variant and no control has."""
        for model, text in contenders.items():
            try:
                number = parse_sweep(text).number
            except UsageError as error:
                raise ValueError(f"model '{model}': {error}") from None
            if number > 1:
                raise ValueError(f"model '{model}' of a variant is one contender, and no sweep, got '{text}'")
        return contenders


def _each(model: str, written: str) -> Iterator[tuple[str, str]]:
    """Yield the contenders of a sweep, each with the model's name and the swept values. One alone stays as it is."""
    sweep = parse_sweep(written)
    if sweep.number == 1:
        yield model, written
        return
    named = frozenset[str]().union(*sweep.swept)
    for calls, rate in sweep.contenders():
        values = {key: value for call in calls for key, value in call.params.items() if key in named}
        name = print_call(model, values) + (print_rate(rate) if len(sweep.rates) > 1 else "")
        yield name, print_contender(calls) + print_rate(rate, rated=sweep.rated)


class Cell(Frozen):
    """Runs that share a protocol: one setting of a table, and the contenders that are compared in it."""

    name: str
    dataset: str
    track: str
    contenders: Annotated[dict[str, str], Field(min_length=1)]
    """The contenders, by the name of the model in the published table."""
    settings: Settings = ()
    budget: BudgetText | None = None
    """The budget; None for that of the track."""
    published: dict[str, str | int] | None = None
    """The settings of this cell's rows in the published table; None if the paper has no numbers for the cell."""
    against: str = ""
    """The cell, of another protocol, whose models are subtracted from those of this cell by seed; empty for none."""
    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS, strict=True)] | None = None
    """The number of trials of each contender but the controls; None if nothing is tuned."""
    rules: tuple[Rule, ...] = ()
    """The rules that choose between trials. Each choice is run beside the contenders, with their seeds."""
    searched: dict[str, str] = Field(default_factory=dict)
    """What is tuned, by the name of a model whose contender has a value that is to be searched."""
    controls: tuple[str, ...] = ()
    """The models that show what boards and guards do. They are not tuned, and stand in no ranking."""

    @field_validator("contenders")
    @classmethod
    def _swept(cls, contenders: dict[str, str]) -> dict[str, str]:
        """A sweep is a model for each of its contenders, as in `FB[nats=0.1]` and `FB[nats=2]`."""
        for model in contenders:
            if not model or model != model.strip():
                raise ValueError(f"a model needs a name without spaces at its ends, got '{model}'")
        return {name: text for model, written in contenders.items() for name, text in _each(model, written)}

    @model_validator(mode="after")
    def _tuned(self) -> Self:
        if (self.trials is None) != (not self.rules):
            raise ValueError(f"cell '{self.name}': trials and the rules that choose between them go together")
        for name in (*self.searched, *self.controls):
            if name not in self.contenders:
                raise ValueError(f"cell '{self.name}': {unknown('model', name, self.contenders)}")
        return self

    @model_validator(mode="after")
    def _searches(self) -> Self:
        """Check that what is searched of a model is its own contender: another would be tuned under its name."""
        for name, text in self.searched.items():
            searched, declared = parse_sweep(text), parse_sweep(self.contenders[name])
            if searched.number > 1:
                raise ValueError(f"cell '{self.name}': what is searched of '{name}' is one contender, and no sweep")
            if not _agree(searched, declared):
                raise ValueError(
                    f"cell '{self.name}': what is searched of '{name}' is its contender '{self.contenders[name]}' "
                    f"without some of its values, got '{text}'"
                )
        return self

    @property
    def tuned(self) -> dict[str, str]:
        """What is tuned, by the name of the model: a contender without the values that are to be searched."""
        named = self.contenders | self.searched
        return {name: text for name, text in named.items() if name not in self.controls}

    @property
    def base(self) -> BaseSetting:
        """The dataset, track and budget that the settings of the cell change."""
        return self.dataset, self.track, self.budget

    def methods(self, model: str) -> frozenset[str]:
        """Return the methods of a model's contender in canonical form, and its rate; empty for the baseline."""
        calls, rate = parse_contender(self.contenders[model])
        return frozenset((*(print_call(*call) for call in calls), print_rate(rate))) - {""}

    def varied(self, variant: Variant) -> Cell:
        """Return the cell with the changes of a variant. Raises ValidationError or UsageError if they do not fit."""
        replaced = {model: variant.contenders.get(model, written) for model, written in self.contenders.items()}
        settings = merged(self.settings, variant.settings)
        budget = variant.budgets.get(self.name) or variant.budget or self.budget
        searched = {model: text for model, text in self.searched.items() if model not in variant.contenders}
        tuned: dict[str, Any] = (
            {"searched": searched} if variant.tuned else {"trials": None, "rules": (), "searched": {}}
        )
        changes = {"budget": budget, "settings": settings, "contenders": replaced, **tuned}
        return Cell.model_validate({**dict(self), **changes})

    @property
    def command(self) -> str:
        """The command that runs one seed of this cell alone."""
        words = [f"--dataset {self.dataset} --track {self.track}"]
        words += [f"--budget {self.budget}"] if self.budget else []
        words += [f"--set {setting}" for setting in self.settings]
        words += [f"--method {contender}" for contender in self.contenders.values()]
        return f"collapsebench run {' '.join(words)} --no-baseline"

    def request(self, seeds: tuple[int, ...]) -> Request:
        """Return the request for the runs of the cell, as `collapsebench run` makes it."""
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

    def trial_request(self) -> Request | None:
        """Return the request for the trials of the cell, as `collapsebench tune` makes it; None if there are none."""
        if self.trials is None:
            return None
        asked = replace(self.request(()), methods=tuple(self.tuned.values()), name=f"{self.name}, trials")
        return asked.tuned(self.trials, map(str, self.rules))

    def chosen_request(self, chosen: Iterable[str], seeds: tuple[int, ...]) -> Request:
        """Return the request for runs of settings that rules have chosen, beside the contenders of the cell."""
        return replace(self.request(seeds), methods=tuple(chosen), name=f"{self.name}, tuned")


class Scale(Frozen):
    """One size of a suite, with its cells and their cost."""

    description: str
    hours: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
    """The approximate number of hours for three seeds on two cores, with one run on each core."""
    departs: str = ""
    """The differences to the published setting, so that the runs do not reproduce it; empty if there are none."""
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)]
    variants: dict[str, Variant] = Field(default_factory=dict)
    """The variants of this scale only. Those of the suite are for every scale."""

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, value: Any) -> Any:
        """Give every cell the shared fields, which are beside the cells in TOML."""
        if not isinstance(value, dict) or not isinstance(value.get("cells"), list):
            return value
        known = (*cls.model_fields, *SHARED)
        for name in value:
            if name not in known:
                raise ValueError(unknown("field", name, known))
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
        """Check subtracted cells. Seeds pair the runs of two protocols only if these differ only in settings."""
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

    def varied(self, name: str, variant: Variant) -> Scale:
        """Return the scale with the changes of a variant of this name. Raises UsageError if these do not fit it."""
        try:
            cells = tuple(cell.varied(variant) for cell in self.cells)
            return Scale.model_validate({**dict(self), "cells": cells})
        except ValidationError as error:
            raise UsageError(f"variant '{name}': {describe(error, Scale, 'field')}") from None
        except UsageError as error:
            raise UsageError(f"variant '{name}': {error}") from None


def _check_named(name: str, variant: Variant, cells: Sequence[Cell]) -> None:
    """Raise ValueError for a variant of a cell or of a model that does not exist."""
    names = {cell.name: None for cell in cells}
    models = {model: None for cell in cells for model in cell.contenders}
    for cell in variant.budgets:
        if cell not in names:
            raise ValueError(f"variant '{name}' has a budget for an {unknown('cell', cell, names)}")
    for model in variant.contenders:
        if model not in models:
            raise ValueError(f"variant '{name}' has a contender for an {unknown('model', model, models)}")


def _module_file(name: str) -> Path:
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):  # what is no name of a module, or of a part of what is no package
        spec = None
    if spec is None or spec.origin is None or not spec.has_location:
        raise UsageError(f"the suite needs the module '{name}', which is not installed")
    return Path(spec.origin)


def _joined(shared: dict[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    settings = [*shared.get("settings", ()), *cell.get("settings", ())]
    contenders = {**cell.get("contenders", shared.get("contenders", {})), **cell.get(FURTHER, {})}
    joined = {**shared, **cell, "settings": settings, "contenders": contenders}
    return {key: value for key, value in joined.items() if key != FURTHER}


class Trial(Frozen):
    """One cell that tries the guards: its models are an `unfair` contender and its `honest` twin."""

    kind: str
    """What is tried, in a few words. Several trials can be of one kind."""
    tries: str
    """What the unfair contender does."""
    reason: str = ""
    """The reason why no guard sees it; empty if one does."""


class LeagueFacts(Frozen):
    """What the cells of a suite are compared with, as the tasks of a league."""

    baseline: str
    """The model that others are compared with."""
    reference: str
    """The model without a latent variable."""

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.baseline == self.reference:
            raise ValueError(f"baseline and reference are two models of a league, got '{self.baseline}' for both")
        return self

    def check(self, cell: Cell) -> None:
        """Raise ValueError for a cell that cannot be a task: without a baseline, or with rules that do not fit."""
        ranked = [name for name in cell.contenders if name not in cell.controls]
        for name in (self.baseline, self.reference):
            if name not in ranked:
                raise ValueError(
                    f"cell '{cell.name}': every cell of a league has its baselines: {unknown('model', name, ranked)}"
                )
        kinds = [rule.name for rule in cell.rules]
        twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
        if twice is not None:
            raise ValueError(f"cell '{cell.name}' has several rules of the kind {twice}: a league has one of each")
        if Criterion.CURED in kinds and Criterion.ELBO not in kinds:
            raise ValueError(
                f"cell '{cell.name}': a league with the rule cured has the rule elbo, too, as this one chooses for "
                f"'{self.reference}', which has no mutual information"
            )


class TableReference(Frozen):
    """A table of a publication in `registry/published/`."""

    publication: str
    table: str


class Suite(Frozen):
    """A table or figure of a paper as a grid of runs."""

    name: str
    title: str
    source: str
    """The paper, and the table or figure in it."""
    follows: str
    """The choices of the runs if paper and released program differ, or if both leave something open."""
    published: TableReference | None = None
    """The published table that is compared with the measured numbers; None if the paper prints no numbers."""
    keep_codes: StrictBool = False
    """True if the figure needs the posterior means of the test split, so that runs must keep them."""
    modules: tuple[str, ...] = ()
    """Shipped modules of components that no other command loads."""
    trials: dict[str, Trial] = Field(default_factory=dict)
    """The cells that try the guards, by name; empty if the suite is no trial."""
    league: LeagueFacts | None = None
    """What makes a league of the cells; None if these are no tasks of one."""
    scales: Annotated[dict[str, Scale], Field(min_length=1)]
    variants: dict[str, Variant] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        """Check the cells of a league before hours are spent on them."""
        for scale in self.scales.values():
            self._check_league(scale.cells)
        return self

    @model_validator(mode="after")
    def _variable(self) -> Self:
        """Check what each variant makes of the cells, and that it changes nothing that does not exist."""
        for scale in self.scales.values():
            for name, variant in scale.variants.items():
                _check_named(name, variant, scale.cells)
        for name, variant in self.variants.items():
            _check_named(name, variant, [cell for scale in self.scales.values() for cell in scale.cells])
        for known, scale in self.scales.items():
            for name, variant in self.known_variants(known).items():
                self._check_variant(name, scale.varied(name, variant).cells)
        return self

    def _check_variant(self, name: str, cells: Iterable[Cell]) -> None:
        try:
            self._check_league(cells)
        except ValueError as error:
            raise ValueError(f"variant '{name}': {error}") from None

    def _check_league(self, cells: Iterable[Cell]) -> None:
        """Raise ValueError for a cell that is no task, if the suite is a league."""
        if self.league is not None:
            for cell in cells:
                self.league.check(cell)

    @property
    def plugin_files(self) -> tuple[Path, ...]:
        """The files of the modules. They are loaded as those of a user are. Raises UsageError for a missing module."""
        return tuple(map(_module_file, self.modules))

    def catalog(self, plugins: Iterable[Path] = ()) -> Catalog:
        """Return the components, those of the modules of the suite and of further plugin files included."""
        return discovery.load((*plugins, *self.plugin_files))

    def scale(self, name: str) -> Scale:
        """Return one scale. Raises UsageError for an unknown name; the message has the known names."""
        if name not in self.scales:
            raise UsageError(f"suite '{self.name}': {unknown('scale', name, self.scales)}")
        return self.scales[name]

    def cells(self, scale: str, variants: Iterable[str] = (), only: Collection[str] = ()) -> tuple[Cell, ...]:
        """Return the cells of a scale with the changes of the variants, in the order of the variants.

        `only` are the names of the cells; all cells if empty. Raises UsageError for a name that does not exist.
        """
        varied, known = self.scale(scale), self.known_variants(scale)
        names = [cell.name for cell in varied.cells]
        for name in only:
            if name not in names:
                raise UsageError(f"suite '{self.name}': {unknown('cell', name, names)}")
        for name in variants:
            if name not in known:
                raise UsageError(f"suite '{self.name}': {unknown('variant', name, known)}")
            varied = varied.varied(name, known[name])
        return tuple(cell for cell in varied.cells if not only or cell.name in only)

    def narrowed(self, scale: str | None = None, variants: tuple[str, ...] = ()) -> Suite:
        """Return the suite with one scale alone, or with all scales that have these variants.

        Its cells are as the variants change them. Raises UsageError for a name that does not exist.
        """
        names = self._with_variants(variants) if scale is None else [scale]
        cells = {name: self.cells(name, variants) for name in names}
        scales = {name: self.scales[name].model_copy(update={"cells": cells[name]}) for name in names}
        return self.model_copy(update={"scales": scales})

    def _with_variants(self, variants: tuple[str, ...]) -> list[str]:
        """Return the scales that have all of these variants. If none has, return all, so that the error is told."""
        having = [name for name in self.scales if set(variants) <= set(self.known_variants(name))]
        return having or list(self.scales)

    def known_variants(self, scale: str) -> dict[str, Variant]:
        """Return the variants of a scale: those of the suite, and those of this scale only."""
        return self.variants | self.scale(scale).variants


def suite_names() -> list[str]:
    """Return the names of the suites in the registry, as `paper/table`."""
    folder = registry_folder() / "suites"
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.toml"))


def all_suites() -> list[Suite]:
    """Return the suites of the registry, by name."""
    return [suite(name) for name in suite_names()]


def suite(name: str) -> Suite:
    """Return a suite of the registry by its name, or one of the user's by its file (`mine.toml`).

    Raises UsageError for an unknown name, and for a file that is not a suite.
    """
    if name.endswith(".toml"):
        return read_facts(Path(name), Suite, "suite")
    if name not in suite_names():
        raise UsageError(unknown("suite", name, suite_names()))
    return read_facts(registry_folder() / "suites" / f"{name}.toml", Suite, "suite", name=name)

"""What was tried for the contenders of a tuned suite, and what each rule chose. Numbers are of the validation split."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.errors import StoreError, UsageError, unknown
from collapsebench.experiment import suites
from collapsebench.record import json_number
from collapsebench.reporting import escaping
from collapsebench.reporting.divisions import BOUND, INFORMATION, RATE, drawn_settings, stored_trials
from collapsebench.reporting.leaderboard import EXPORTS, page_pieces
from collapsebench.reporting.leaderboard.numbers import BLANK, rounded
from collapsebench.reporting.leaderboard.pages import Page, Part, TableCell, TextTable
from collapsebench.reporting.selection import declared_cells, protocol_of, stored_protocol
from collapsebench.reporting.tuning import Trial, Tunings, chosen, trials_of
from collapsebench.spec import identity

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.experiment.suites import Cell
    from collapsebench.reporting.queries import SuiteQuery
    from collapsebench.store import Store

SPLIT = "Numbers are of the validation split at the selected parameters, in nats per example. Rules see nothing else."
HEAD = ("cell", "contender", "setting", BOUND, RATE, INFORMATION, "flops", "chosen_by")


class Tried(NamedTuple):
    """A setting that was drawn for a model."""

    cell: str
    model: str
    setting: str
    trial: Trial | None
    """None if it has no run."""
    chosen_by: tuple[str, ...]
    """The rules that choose it of all trials of the model."""

    @property
    def has_result(self) -> bool:
        """True unless it has no run, or one without a finite bound."""
        return self.trial is not None and not math.isnan(self.trial.neg_elbo)

    @property
    def impossible(self) -> str:
        """What of its numbers cannot be, whatever the model; empty if there is nothing."""
        return "" if self.trial is None else "; ".join(self.trial.impossible)


def tried_settings(store: Store, query: SuiteQuery, models: Collection[str] = ()) -> list[Tried]:
    """Read the trials of the models of a suite, of all if none is named, cell by cell, the lowest −ELBO first.

    Raises UsageError for a suite whose contenders are not tuned and for names that do not exist, and StoreError if no
    trial is stored.
    """
    suite = suites.suite(query.suite)
    cells = [cell for cell in declared_cells(query) if cell.trials is not None]
    if not cells:
        raise UsageError(f"the contenders of suite '{query.suite}' are not tuned: none of its cells has trials")
    known = dict.fromkeys(model for cell in cells for model in cell.tuned)
    for model in models:
        if model not in known:
            raise UsageError(unknown("model", model, known))
    components = suite.catalog(query.plugins)
    tunings = Tunings(store, (*query.plugins, *suite.plugin_files))
    found = [each for cell in cells for each in _of_cell(store, cell, components, tunings)]
    asked = [each for each in found if not models or each.model in models]
    if not any(each.trial for each in asked):
        raise StoreError(f"no trial is stored; to run them: {query.command}")
    return asked


def _of_cell(store: Store, cell: Cell, components: Catalog, tunings: Tunings) -> Iterator[Tried]:
    found = stored_protocol(store, cell, components)
    protocol = None if found is None else protocol_of(store, found)
    stored = {} if protocol is None else trials_of(stored_trials(cell, protocol, tunings), components)
    for model, settings in drawn_settings(cell, components).items():
        known = {setting.label: stored.get(identity(setting)) for setting in settings}
        best = {str(rule): chosen(filter(None, known.values()), rule) for rule in cell.rules}
        rows = [
            Tried(cell.name, model, label, trial, tuple(rule for rule, own in best.items() if own is trial is not None))
            for label, trial in known.items()
        ]
        yield from sorted(rows, key=lambda each: each.trial.neg_elbo if each.trial and each.has_result else math.inf)


def tried_pieces(
    found: Collection[Tried], query: SuiteQuery, format_: str, *, width: int | None = None
) -> Iterator[str]:
    """Yield trials in one of the formats of boards, in pieces.

    If `width` is that of a terminal, tables are made to fit it.
    """
    if format_ in EXPORTS:
        return {"csv": _csv, "json": _json}[format_](found)
    return page_pieces(_pages(found, query), format_, width=width)


def _pages(found: Collection[Tried], query: SuiteQuery) -> Iterator[Page]:
    for cell, of_cell in groupby(found, key=lambda each: each.cell):
        own = list(of_cell)
        impossible = (f"No rule chooses {each.setting}: {each.impossible}." for each in own if each.impossible)
        tables = tuple(_table(model, list(trials)) for model, trials in groupby(own, key=lambda each: each.model))
        title = " · ".join([query.suite, query.scale, *query.variants, cell])
        yield Page(
            title, tables, (SPLIT, *impossible), query._replace(cells=(cell,)).command, printed=frozenset({Part.TUNING})
        )


def _table(model: str, own: Collection[Tried]) -> TextTable:
    rows = ((each.setting, *_numbers(each), ", ".join(each.chosen_by)) for each in own)
    counted = f"{model}: {sum(each.has_result for each in own)} of {len(own)} trials have a result"
    head = ("setting", "−ELBO", "KL", "MI ≥", "FLOPs", "chosen by")
    return TextTable(counted, head, tuple(tuple(map(TableCell, row)) for row in rows), Part.TUNING)


def _numbers(tried: Tried) -> Iterator[str]:
    if tried.trial is None:
        yield from ("not run", BLANK, BLANK, BLANK)
        return
    if tried.impossible:
        yield from ("impossible", BLANK, BLANK, f"{tried.trial.flops:.3g}")
        return
    nats = (tried.trial.neg_elbo, tried.trial.kl, tried.trial.mi)
    yield from ((rounded(number, None) if math.isfinite(number) else BLANK) for number in nats)
    yield f"{tried.trial.flops:.3g}"


def _values(tried: Tried) -> tuple[float | None, ...]:
    """Return the numbers of a trial, in the order of the columns."""
    own = tried.trial
    return (None,) * 4 if own is None else (own.neg_elbo, own.kl, own.mi, own.flops)


def _csv(found: Collection[Tried]) -> Iterator[str]:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEAD)
    for each in found:
        names = map(escaping.csv, each[:3])
        numbers = ("" if number is None else repr(number) for number in _values(each))
        writer.writerow([*names, *numbers, escaping.csv(" ".join(each.chosen_by))])
    yield out.getvalue()


def _json(found: Collection[Tried]) -> Iterator[str]:
    content = [
        {**dict(zip(HEAD, (*each[:3], *map(json_number, _values(each))), strict=False)), "chosen_by": each.chosen_by}
        for each in found
    ]
    yield f"{escaping.to_json(content)}\n"

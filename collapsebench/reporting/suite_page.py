"""Suites as text: the list of all, and one with the runs of its scales."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from collapsebench.printable import printable, printable_lines
from collapsebench.reporting.queries import SuiteQuery

if TYPE_CHECKING:
    from collapsebench.experiment.suites import Cell, Scale, Suite


def suite_list_text(suites: Iterable[Suite]) -> str:
    """Write a table of suites with their scales and what these take: hours for three seeds on two cores."""
    from tabulate import tabulate

    rows = [tuple(map(printable, (suite.name, _hours(suite), suite.title))) for suite in suites]
    return tabulate(rows, headers=("suite", "scales", "what"), tablefmt="plain")


def suite_text(suite: Suite, name: str, variants: tuple[str, ...] = ()) -> str:
    """Write one suite: what it follows, its variants, and the command that runs each cell of its scales.

    `name` is that by which it was asked for, and `variants` are those that its cells have.
    """
    return "\n".join(map(printable_lines, _lines(suite, SuiteQuery(name, variants=variants))))


def _hours(suite: Suite) -> str:
    return ", ".join(f"{name} ({scale.hours:g} h)" for name, scale in suite.scales.items())


def _lines(suite: Suite, asked: SuiteQuery) -> Iterator[str]:
    yield f"{suite.name}: {suite.title}\nsource:  {suite.source}\nfollows: {suite.follows}"
    yield from (f"variant {name}: {variant.description}" for name, variant in suite.variants.items())
    for name, scale in suite.scales.items():
        yield from _scale_lines(suite, asked._replace(scale=name), scale)


def _scale_lines(suite: Suite, query: SuiteQuery, scale: Scale) -> Iterator[str]:
    yield f"\nscale {query.scale}, about {scale.hours:g} hours for three seeds on two cores: {scale.description}"
    if scale.departs:
        yield f"departs from the published setting: {scale.departs}"
    yield from (f"variant {variant}: {meant.description}" for variant, meant in scale.variants.items())
    for cell in scale.cells:
        against = f" against {cell.against}" if cell.against else ""
        if suite.modules or cell.trials:  # no other command loads these modules, or runs what is chosen of trials
            yield f"  {cell.name}{against}: {query._replace(cells=(cell.name,)).command}"
            yield from _content_lines(cell)
        else:
            yield f"  {cell.name}{against}: {cell.command}"


def _content_lines(cell: Cell) -> Iterator[str]:
    """Yield what a cell consists of, where its command does not say it."""
    yield f"    {' · '.join(filter(None, (cell.dataset, cell.track, cell.budget, *cell.settings)))}"
    if cell.trials is not None:
        fixed = f" but for {'; '.join(cell.controls)}" if cell.controls else ""
        yield f"    {cell.trials} trials of each{fixed}; chosen by {'; '.join(map(str, cell.rules))}"
    yield f"    {'; '.join(name if name == text else f'{name} ({text})' for name, text in cell.contenders.items())}"

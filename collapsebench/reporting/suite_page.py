"""Suites as text: the list of all, and one with the runs of its scales."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from collapsebench.printable import printable, printable_lines

if TYPE_CHECKING:
    from collapsebench.experiment.suites import Scale, Suite


def suite_list_text(suites: Iterable[Suite]) -> str:
    """Write a table of suites with their scales and what these take: hours for three seeds on two cores."""
    from tabulate import tabulate

    rows = [tuple(map(printable, (suite.name, _hours(suite), suite.title))) for suite in suites]
    return tabulate(rows, headers=("suite", "scales", "what"), tablefmt="plain")


def suite_text(suite: Suite) -> str:
    """Write one suite: what it follows, its variants, and the command that runs each cell of its scales."""
    return "\n".join(map(printable_lines, _lines(suite)))


def _hours(suite: Suite) -> str:
    return ", ".join(f"{name} ({scale.hours:g} h)" for name, scale in suite.scales.items())


def _lines(suite: Suite) -> Iterator[str]:
    yield f"{suite.name}: {suite.title}\nsource:  {suite.source}\nfollows: {suite.follows}"
    yield from (f"variant {name}: {variant.description}" for name, variant in suite.variants.items())
    for name, scale in suite.scales.items():
        yield from _scale_lines(suite, name, scale)


def _scale_lines(suite: Suite, name: str, scale: Scale) -> Iterator[str]:
    yield f"\nscale {name}, about {scale.hours:g} hours for three seeds on two cores: {scale.description}"
    if scale.departs:
        yield f"departs from the published setting: {scale.departs}"
    yield from (f"variant {variant}: {meant.description}" for variant, meant in scale.variants.items())
    for cell in scale.cells:
        against = f" against {cell.against}" if cell.against else ""
        alone = f"collapsebench suite run {suite.name} --scale {name} --cell {shlex.quote(cell.name)}"
        command = alone if suite.modules else cell.command  # no other command loads these modules
        yield f"  {cell.name}{against}: {command}"

"""`collapsebench tune`: as many trials for every contender, and what rules choose of them."""

from __future__ import annotations

import click

from collapsebench.cli.grids import GridOptions, grid_options
from collapsebench.cli.requests import RequestOptions, request_options
from collapsebench.cli.trials import tune
from collapsebench.errors import UsageError
from collapsebench.syntax import MOST_TRIALS, parse_setting

DECIDED = ("evaluation.selection", "evaluation.metrics")
"""The settings of a track that a tuning decides."""

DEFAULT = ("elbo",)
"""The rules if none is given."""


@click.command("tune")
@request_options
@click.option(
    "--trials",
    type=click.IntRange(min=1, max=MOST_TRIALS),
    default=8,
    show_default=True,
    help="The number of settings of each contender. The first of many are those of a few.",
)
@click.option(
    "--select",
    "rules",
    multiple=True,
    metavar="RULE",
    help="How a trial is chosen, on the validation split alone: elbo, the lowest -ELBO; 'cured[nats=1]', the lowest "
    "-ELBO of those with so much mutual information; 'iso-kl[nats=4]', the nearest KL. May be repeated.  "
    "[default: elbo]",
)
@grid_options
def command(grid: GridOptions, asked: RequestOptions, *, trials: int, rules: tuple[str, ...]) -> None:
    """Run trials of contenders with other settings, and say which setting each rule chooses.

    Every contender, the baseline, too, gets as many trials: of what its authors tune (see `methods NAME`) and of the
    learning rate, from a quarter to four times that of the track. What is written in brackets stays. Trials are stored
    runs of seed 0, which the same command does not run again. Nobody looks at the test split.
    """
    from collapsebench.experiment.planning import Request

    if grid.keep_codes:
        raise UsageError("--keep-codes writes codes of the test split, which trials do not see: leave it out")
    request = Request(
        methods=asked.methods,
        dataset=asked.dataset,
        track=asked.track,
        budget=asked.budget,
        settings=tuple(map(_checked, asked.settings)),
        baseline=not asked.no_baseline,
    )
    tune(request.tuned(trials, rules or DEFAULT), grid)


def _checked(setting: str) -> str:
    """Return a setting. Raises UsageError for those that a tuning decides."""
    if parse_setting(setting)[0].startswith(DECIDED):
        raise UsageError(f"--set '{setting}': trials have no metrics of the test split; rules are given by --select")
    return setting

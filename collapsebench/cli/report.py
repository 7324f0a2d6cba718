"""`collapsebench report`: one HTML page of stored boards. What makes it is imported when one is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from collapsebench.cli import options
from collapsebench.cli.files import destination

if TYPE_CHECKING:
    from collapsebench.reporting.queries import Query
    from collapsebench.reporting.report.sampling import SampleRequest


@dataclass(frozen=True)
class ReportOptions:
    """The options of the command."""

    dataset: str | None
    track: str | None
    protocol: str | None
    against: str | None
    suite: str | None
    scale: str
    variants: tuple[str, ...]
    samples: int | None
    plugins: tuple[Path, ...]
    data_dir: Path | None
    work_dir: Path | None
    output: Path
    store: str

    @property
    def query(self) -> Query:
        """The protocols to show. Raises UsageError for options that do not go together."""
        from collapsebench.reporting.queries import ProtocolQuery, SuiteQuery

        if self.suite is None:
            return ProtocolQuery(self.dataset, self.track, self.protocol)
        options.refuse_beside(
            "suite", dataset=self.dataset, track=self.track, protocol=self.protocol, against=self.against
        )
        return SuiteQuery(self.suite, self.scale, self.variants, self.plugins)

    @property
    def sampled(self) -> SampleRequest | None:
        """The samples that are shown; None without --samples."""
        from collapsebench.reporting.report.sampling import SampleRequest

        if self.samples is None:
            return None
        return SampleRequest(self.samples, self.store, self.plugins, self.data_dir, self.work_dir)


@click.command("report")
@options.dataset
@options.track
@options.protocol
@options.against
@options.suite
@options.scale
@options.variant
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="N reconstructions of a run of each contender, if it kept its weights. Needs torch and the data.",
)
@options.plugin
@options.data_dir
@options.work_dir
@click.option(
    "--output",
    type=options.FILE,
    default=Path("report.html"),
    show_default=True,
    help="The file of the page; - is standard output.",
)
@options.stored
@options.gathered(ReportOptions)
def command(given: ReportOptions) -> None:
    """Write one HTML page with the boards of the stored runs, figures, and the evidence of every number.

    The page needs nothing else: no server, no network, no further file. A policy in it forbids every request. Tables
    can be sorted and filtered. Every number opens the runs that it comes from, its estimator, its costs, its marks and
    the command that repeats it. Runs that are still going on are shown, and marked.

    With --suite: the boards of a suite (with --scale, --variant, --plugin), with the published number beside ours, and
    the reason where the two cannot be compared.
    """
    from collapsebench.reporting.report.report import make_report
    from collapsebench.store import Store

    query = given.query
    with Store.reading(given.store) as store:
        report = make_report(store, given.store, query, given.plugins, against=given.against, sampled=given.sampled)
    with destination(given.output) as stream:
        stream.write(report.html)
    if str(given.output) != "-":
        click.echo(f"wrote {given.output}: {report.what}", err=True)
    options.tell_unreadable(store.unreadable)

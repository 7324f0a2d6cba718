"""`collapsebench plot`: validation values over what the runs had spent."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from collapsebench.budget import COUNTERS
from collapsebench.cli import options
from collapsebench.cli.files import destination
from collapsebench.errors import StoreError, UsageError, unknown
from collapsebench.leaderboard.trajectories import QUANTITIES, check_counter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapsebench.record import Observation
    from collapsebench.store import ProtocolSummary, Store

FORMATS = ("png", "svg", "pdf")


@click.command("plot")
@click.option("--dataset", "-d", required=True, help="The dataset.")
@click.option("--track", default=None, help="Only this track; a bare name includes its overrides.")
@click.option("--protocol", default=None, metavar="ID", help="The protocol, if there are several: its first digits.")
@click.option("--x", default="steps", show_default=True, metavar="COUNTER", help=f"One of {', '.join(COUNTERS)}.")
@click.option("--y", default="neg_elbo", show_default=True, metavar="VALUE", help=f"One of {', '.join(QUANTITIES)}.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("plot.png"),
    show_default=True,
    help=f"The file; its ending says how it is written: {', '.join(FORMATS)}.",
)
@options.store
def command(x: str, y: str, output: Path, store: str, **chosen: Any) -> None:
    """Draw the trajectories of one protocol: one line a contender, the mean over seeds with a 95 % band."""
    from collapsebench.plotting import draw, lines
    from collapsebench.store import Store

    check_counter(x)
    if y not in QUANTITIES:
        raise UsageError(unknown("value", y, QUANTITIES))
    format_ = output.suffix.removeprefix(".").lower()
    if format_ not in FORMATS:
        raise UsageError(f"cannot write '{output}': its ending must be one of {', '.join(FORMATS)}")
    with Store.open(store, create=False) as opened:
        protocol = _protocol(opened, chosen)
        runs = list(opened.observations(protocol=protocol.protocol_id, trajectories=True))
    drawn = lines(runs, x, y)
    if not drawn:
        raise StoreError(f"no run of protocol {protocol.protocol_id} has finished and has counted {x}")
    picture = io.BytesIO()
    draw(drawn, x, y, _title(runs)).savefig(picture, format=format_, dpi=150)
    with destination(output) as stream:
        stream.buffer.write(picture.getvalue())
    left_out = len(runs) - sum(len(line.seeds) for line in drawn)
    note = f"; left out {left_out} that did not finish or did not count {x}" if left_out else ""
    click.echo(f"wrote {output}: {y} over {x} of {len(runs) - left_out} runs{note}")


def _title(runs: Sequence[Observation]) -> str:
    protocol = min(runs, key=lambda run: (len(run.track), run.track)).protocol
    return f"{protocol.dataset.name} · {protocol.track_label} · {protocol.budget} · protocol {runs[0].protocol_id}"


def _protocol(store: Store, chosen: dict[str, Any]) -> ProtocolSummary:
    """The one protocol that is meant. Raises StoreError if there is none, UsageError if there are several."""
    found = store.protocols(dataset=chosen["dataset"], track=chosen["track"], protocol=chosen["protocol"])
    if not found:
        raise StoreError(f"no such runs of '{chosen['dataset']}'; `collapsebench runs list` shows what there is")
    if len(found) > 1:
        listed = ", ".join(f"{protocol.protocol_id} ({protocol.track}, {protocol.runs} runs)" for protocol in found)
        raise UsageError(f"curves of different protocols do not compare; choose one with --protocol: {listed}")
    return found[0]

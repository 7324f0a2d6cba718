"""`python -m bench`: every workload as a fraction of the machine's matrix-product rate."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import torch
from tabulate import tabulate

from bench.history import remember
from bench.machine import Block, Yardstick
from bench.workloads import Workload, workloads
from collapsebench.experiment.memory import keep_mapped


@dataclass(frozen=True)
class Row:
    """What one workload reached, as medians over clean blocks."""

    workload: str
    fraction: float
    target: float
    ms: float
    """Of one unit of work."""
    gflop: float
    spread: float
    """(largest - smallest fraction) / median."""


def measured(workload: Workload, blocks: list[Block]) -> Row:
    """The row of these blocks."""
    seconds = [block.seconds / workload.units for block in blocks]
    fractions = [workload.flop / s / block.rate for s, block in zip(seconds, blocks, strict=True)]
    fraction = statistics.median(fractions)
    return Row(
        workload=workload.name,
        fraction=round(fraction, 4),
        target=workload.must,
        ms=round(1e3 * statistics.median(seconds), 3),
        gflop=round(workload.flop / 1e9, 3),
        spread=round((max(fractions) - min(fractions)) / fraction, 3),
    )


def show(row: Row, workload: Workload, rate: float) -> str:
    """One line of progress."""
    verdict = "reached" if row.fraction >= workload.must else "BELOW"
    return f"{row.workload:18s} {row.fraction:6.1%} of {rate / 1e9:.0f} GFLOP/s  {row.ms:9.2f} ms  {verdict}"


@click.command(help=__doc__)
@click.option("--only", "names", multiple=True, metavar="NAME", help="Workloads whose name contains this.")
@click.option("--quick", is_flag=True, help="Three blocks instead of nine; kept out of the history.")
@click.option(
    "--processor-time", is_flag=True, help="One thread by its processor time, on a machine that is never quiet."
)
@click.option("--json", "output", type=click.Path(dir_okay=False, path_type=Path), help="Write the rows to a file.")
def main(names: tuple[str, ...], quick: bool, processor_time: bool, output: Path | None) -> None:
    """Exit code 1 if the machine was too busy for some rows: those are refused, not guessed."""
    torch.set_num_threads(1 if processor_time else 2)
    keep_mapped()
    wanted = 3 if quick else 9
    chosen = [w for w in workloads() if not names or any(name in w.name for name in names)]
    yardstick, rows, refused = Yardstick(processor_time=processor_time), [], []
    for workload in chosen:
        blocks = yardstick.blocks(workload.build(), wanted, patience=4 * wanted)
        if len(blocks) < wanted:
            refused.append(workload.name)
            click.echo(f"{workload.name:18s} refused: {len(blocks)} of {wanted} blocks without foreign load", err=True)
            continue
        rows.append(measured(workload, blocks))
        click.echo(show(rows[-1], workload, statistics.median(block.rate for block in blocks)), err=True)
    click.echo(table(rows, {workload.name: workload.aim for workload in chosen}))
    if output:
        output.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    if rows and not (quick or processor_time):
        remember("history", rows=[asdict(row) for row in rows])
    if refused:
        raise click.exceptions.Exit(1)


def table(rows: list[Row], aims: dict[str, float]) -> str:
    """The table that is printed."""
    cells = [
        (
            row.workload,
            *(f"{share:.1%}" for share in (row.fraction, row.target, aims[row.workload], row.spread)),
            row.ms,
        )
        for row in rows
    ]
    return tabulate(cells, headers=("workload", "of peak", "must", "aim", "spread", "ms"), tablefmt="github")


if __name__ == "__main__":
    main()

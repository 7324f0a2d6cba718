"""`python -m bench.tolerance`: how far the numbers of one run are apart in environments that differ.

Every workload runs in each environment, in a process of its own. Rows of committed records run again, too, if their
data are here: they come from another machine. The table of docs/trust.md is what this prints, and the constants of
`collapsebench.verification.comparison` are its last row.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import click
from tabulate import tabulate

from collapsebench.record import RunRecord
from collapsebench.verification.comparison import NumberRole, Pair, pairs

ROOT = Path(__file__).parents[1]


class Workload(NamedTuple):
    """A contender on a dataset, under a budget."""

    method: str
    dataset: str
    track: str
    budget: str


WORKLOADS = (
    Workload("skip", "linear-gaussian", "quick", "500steps"),
    Workload("skip", "synthetic-text", "demo", "200steps"),
    Workload("skip", "digits", "quick", "10epochs"),
)
"""An exact model, an LSTM and an MLP."""

OLD = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
"""Kernels of processors without AVX."""

ENVIRONMENTS: Mapping[str, tuple[int, Mapping[str, str]]] = {
    "the same again": (1, {}),
    "2 threads": (2, {}),
    "AVX2": (1, {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}),
    "no AVX": (1, OLD),
}
"""By what each changes of the reference: the threads of torch, and variables of the environment."""

COMMITTED = (
    ("yahoo-9k-quick", "vae"),
    ("mnist-quick", "vae"),
    ("yahoo-9k-quick", "skip"),
    ("mnist-quick", "skip"),
)
"""Rows of committed records that take seconds."""


class Line(NamedTuple):
    """One run in one environment: the largest distance of every role."""

    run: str
    environment: str
    distances: Mapping[NumberRole, float]


def compared(run: str, environment: str, found_pairs: Iterable[Pair]) -> Line:
    """The largest distances of two records of one run."""
    found: dict[NumberRole, float] = defaultdict(float)
    for pair in found_pairs:
        found[pair.role] = max(found[pair.role], pair.distance)
    return Line(run, environment, found)


def compute(output: str, threads: int) -> None:
    """Run every workload in this process, and write the records."""
    import collapsebench
    from collapsebench.store.interchange import write_line

    with tempfile.TemporaryDirectory() as folder, Path(output).open("w") as file:
        for workload in WORKLOADS:
            (run,) = collapsebench.run(
                [workload.method],
                dataset=workload.dataset,
                track=workload.track,
                budget=workload.budget,
                baseline=False,
                threads=threads,
                store=Path(folder) / "runs.sqlite",
                progress=False,
            )
            file.write(f"{write_line(run.record)}\n")


def computed(threads: int, variables: Mapping[str, str], folder: Path) -> list[RunRecord]:
    """The records of all workloads, from a process of its own."""
    output = folder / "records.jsonl"
    program = f"from bench.tolerance import compute; compute({str(output)!r}, {threads})"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, env={**os.environ, **variables})  # noqa: S603
    return read(output)


def read(path: Path) -> list[RunRecord]:
    """The records of an export."""
    from collapsebench.store.interchange import read_lines

    return list(read_lines(path.read_bytes().splitlines(), str(path)))


def between_environments() -> Iterator[Line]:
    """The lines of the workloads."""
    with tempfile.TemporaryDirectory() as folder:
        reference = computed(1, {}, Path(folder))
        for name, (threads, variables) in ENVIRONMENTS.items():
            again = computed(threads, variables, Path(folder))
            for workload, left, right in zip(WORKLOADS, reference, again, strict=True):
                yield compared(f"{workload.dataset} {workload.track}, {workload.budget}", name, pairs(left, right))


def of_committed_records(data: Path) -> Iterator[Line]:
    """The lines of rows that were computed on another machine."""
    from collapsebench.experiment.work import Sources
    from collapsebench.verification.rerun import run_again

    for file, label in COMMITTED:
        records = read(ROOT / "results" / "leaderboards" / f"{file}.jsonl")
        stored = next(record for record in records if record.contender == label and record.spec.seed == 1)
        again = run_again(stored, Sources((), (), data))
        yield compared(f"{file}.jsonl, {label}", "another machine", measured_as_today(pairs(stored, again)))


def measured_as_today(found: Iterable[Pair]) -> Iterator[Pair]:
    """The pairs of an older record that mean the same today: it lacks some numbers, and FLOPs are counted otherwise."""
    for pair in found:
        if pair.stored is not None and not pair.where.endswith(" flops"):
            yield pair


def table(lines: Iterable[Line]) -> str:
    """The table that docs/trust.md shows."""
    listed = list(lines)
    worst = {role: max(line.distances.get(role, 0.0) for line in listed) for role in NumberRole}
    listed.append(Line("**largest**", "", worst))
    rows = [[line.run, line.environment, *(shown(line.distances.get(role)) for role in NumberRole)] for line in listed]
    return tabulate(rows, headers=["run", "differs in", *NumberRole], tablefmt="pipe", disable_numparse=True)


def shown(distance: float | None) -> str:
    """A cell."""
    return "" if distance is None else "0" if distance == 0 else f"{distance:.1e}"


@click.command(help=__doc__)
@click.option("--data-dir", type=click.Path(path_type=Path), help="The data of committed records.")
def main(data_dir: Path | None) -> None:
    """Print the table."""
    lines = []
    for line in chain(between_environments(), () if data_dir is None else of_committed_records(data_dir)):
        click.echo(table([line]).splitlines()[2], err=True)
        lines.append(line)
    click.echo(table(lines))


if __name__ == "__main__":
    main()

"""`python -m bench.store`: boards and lists of a store of 100,000 runs, against the SQL that they cannot do without."""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, insert
from tabulate import tabulate

from collapsebench.cli import cli
from collapsebench.components import discovery
from collapsebench.estimates import Direction
from collapsebench.experiment.planning import Request, SplitCache, plan
from collapsebench.record import Number, Outcome, Point, RunRecord, Value
from collapsebench.spec import RunSpec
from collapsebench.store import Store
from collapsebench.store.mapping import Rows, to_rows
from collapsebench.store.models import ContenderRow, ProtocolRow, Run, TrajectoryRow, ValueRow
from collapsebench.store.trajectories import pack

EACH = 5000
"""Runs of a protocol: fifty contenders, a hundred seeds."""
SMALL = 500
"""Runs of a protocol where stores of many sizes are compared."""
POINTS = 10
TRACKS = (("synthetic-text", "demo"), ("linear-gaussian", "quick"), ("digits", "quick"))
METHODS = tuple(
    "+".join(filter(None, parts))
    for parts in itertools.product(
        ("", "skip"),
        ("", *(f"kl-annealing[warmup={share}]" for share in (0.1, 0.2, 0.3, 0.5))),
        ("", *(f"sa-vae[steps={steps}]" for steps in (2, 3, 5, 10))),
    )
    if any(parts)
)
"""With the baseline they are fifty contenders."""

BOARD = {
    ("neg-elbo", "neg_elbo"): ("nats", "−ELBO", Direction.LOWER, 100.0),
    ("neg-elbo", "reconstruction"): ("nats", "Rec", Direction.NONE, 93.0),
    ("iw-nll", "iw_nll"): ("nats", "IW-NLL", Direction.LOWER, 98.0),
    ("iw-nll", "ess"): ("samples", "ESS", Direction.NONE, 9.0),
    ("perplexity", "perplexity"): ("", "PPL", Direction.LOWER, 61.0),
    ("kl", "kl"): ("nats", "KL", Direction.NONE, 7.0),
    ("mutual-information", "mi_lower"): ("nats", "MI ≥", Direction.HIGHER, 5.0),
    ("mutual-information", "mi_upper"): ("nats", "MI ≤", Direction.NONE, 6.0),
    ("mutual-information", "marginal_kl"): ("nats", "KL(q(z) || p(z))", Direction.NONE, 1.5),
    ("active-units", "active_units"): ("units", "AU", Direction.NONE, 4.0),
    ("latent-use", "delta_shuffle"): ("nats", "Δ shuffle", Direction.HIGHER, 20.0),
    ("latent-use", "delta_prior"): ("nats", "Δ prior", Direction.HIGHER, 25.0),
}
"""By metric and column: unit, title, direction, and about what it is."""
DETAILS = tuple(("active-units", f"mean_variance[{unit}]") for unit in range(28))
ENVIRONMENT = {
    "python": "3.11.7",
    "torch": "2.13.0+cpu",
    "numpy": "2.4.6",
    "collapsebench": "0.1.0",
    "platform": "Linux x86_64",
    "cpu_count": 2,
    "threads": 1,
    "device": "cpu",
}
OUTCOMES = (Outcome.FINISHED, Outcome.DIVERGED, Outcome.FAILED)
SHARES = (0.998, 0.001, 0.001)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DURATION = timedelta(seconds=30)
BATCH = 1000

RUNS = "runs JOIN protocols ON protocols.key = protocol_key JOIN contenders ON contenders.key = contender_key"
"""The runs with what they share. So a query can choose a protocol, and write the label of a contender."""
MEANS = f"""
    SELECT protocol_id, label, metric, "column", count(*), avg(value), sum(value * value)
    FROM {RUNS} JOIN metric_values USING (run_id)
    WHERE board AND outcome = 'finished' {{chosen}} GROUP BY 1, 2, 3, 4"""  # noqa: S608 - a text of ours
PAIRS = f"""
    WITH own AS (SELECT protocol_id, label, seed, metric, "column", value
    FROM {RUNS} JOIN metric_values USING (run_id) WHERE board AND outcome = 'finished' {{chosen}}),
    vae AS MATERIALIZED (SELECT * FROM own WHERE label = 'vae')
    SELECT own.protocol_id, own.label, own.metric, own."column",
    count(*), avg(own.value), sum(own.value * own.value),
    count(vae.value), avg(own.value - vae.value), sum((own.value - vae.value) * (own.value - vae.value))
    FROM own LEFT JOIN vae USING (protocol_id, seed, metric, "column") GROUP BY 1, 2, 3, 4"""  # noqa: S608 - a text of ours
PARAMETERS = f"""
    SELECT protocol_id, label, count(*), avg(parameters), sum(parameters * parameters)
    FROM {RUNS} WHERE outcome = 'finished' {{chosen}} GROUP BY 1, 2"""  # noqa: S608 - a text of ours
COUNTERS = f"""
    SELECT protocol_id, label, counted.key, count(*), avg(counted.value), sum(counted.value * counted.value)
    FROM {RUNS}, json_each(counters) AS counted
    WHERE outcome = 'finished' {{chosen}} GROUP BY 1, 2, 3"""  # noqa: S608 - a text of ours
UNPAIRED, PAIRED = (MEANS, PARAMETERS, COUNTERS), (PAIRS, PARAMETERS, COUNTERS)
"""What boards are functions of: n, mean and sum of squares; and those of the differences to the baseline."""


def fill(path: Path, runs: int, each: int = EACH) -> None:
    """Make a store of so many runs, in protocols of so many runs and of fifty contenders each."""
    protocols = max(1, runs // each)
    seeds = range(1, runs // (protocols * (len(METHODS) + 1)) + 1)
    templates = [(spec, {o: to_rows(_record(spec, o)) for o in OUTCOMES}) for spec in _specs(protocols)]
    rows = (
        _rows(spec, by_outcome, seed, number)
        for number, (seed, (spec, by_outcome)) in enumerate(itertools.product(seeds, templates))
    )
    with Store.open(path):
        engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        for table, shared in ((ProtocolRow, "protocol"), (ContenderRow, "contender")):
            every = [getattr(each, shared) for _, by_outcome in templates for each in by_outcome.values()]
            connection.execute(insert(table), list({row["key"]: row for row in every}.values()))
    while batch := list(itertools.islice(rows, BATCH)):
        with engine.begin() as connection:
            connection.execute(insert(Run), [each.run for each in batch])
            connection.execute(insert(TrajectoryRow), [points for each in batch for points in each.trajectory])
            connection.execute(insert(ValueRow), [value for each in batch for value in each.values])
    engine.dispose()


def _specs(protocols: int) -> list[RunSpec]:
    """Every contender under every protocol, with the first seed: embedded data at many learning rates."""
    components = discovery.load()
    splits = SplitCache(components, Path())
    rates = (f"optimizer.learning_rate={rate}e-5" for rate in itertools.count(2))
    every = (Request((), dataset, track, settings=(rate,)) for rate in rates for dataset, track in TRACKS)
    requests = list(itertools.islice(every, protocols))
    contenders = plan([replace(requests[0], methods=METHODS)], components, splits).specs
    return [
        protocol.model_copy(update={"contender": spec.contender})
        for protocol in plan(requests, components, splits).specs
        for spec in contenders
    ]


def _record(spec: RunSpec, outcome: Outcome) -> RunRecord:
    """A run that never was."""
    draw = random.Random(spec.run_id)  # noqa: S311 - numbers that mean nothing
    done: dict[str, Any] = {"outcome": outcome, "finished_at": FIRST, "parameters": 20_000}
    done["points"] = tuple(_point(number, draw) for number in range(1, POINTS + 1))
    if outcome is Outcome.FINISHED:
        done["values"] = tuple(_values(draw))
    else:
        done["message"] = "loss is nan at step 40"
    return RunRecord.started(spec, FIRST, ENVIRONMENT).model_copy(update=done)


def _rows(spec: RunSpec, templates: dict[Outcome, Rows], seed: int, number: int) -> Rows:
    """The rows of another seed: other ids and times, other numbers."""
    draw = random.Random(number)  # noqa: S311 - numbers that mean nothing
    rows = templates[draw.choices(OUTCOMES, SHARES)[0]]
    other = spec.model_copy(update={"seed": seed})
    run_id, at = {"run_id": other.run_id}, FIRST + number * DURATION
    points = [_point(number, draw) for number in range(1, POINTS + 1)]
    run = {"seed": seed, "counters": points[-1].counters, "started_at": at, "finished_at": at + DURATION}
    return rows._replace(
        run=rows.run | run_id | run,
        trajectory=[run_id | {"points": pack(points)}],
        values=[value | run_id | {"value": value["value"] * draw.uniform(0.999, 1.001)} for value in rows.values],
    )


def _counters(number: int, draw: random.Random) -> dict[str, float]:
    steps = 100.0 * number
    return {
        "steps": steps,
        "examples": 32 * steps,
        "encoder_evaluations": 32 * steps,
        "decoder_evaluations": 32 * steps,
        "decoder_gradients": 32 * steps,
        "flops": 1.7e8 * steps,
        "epochs": steps / 250,
        "seconds": steps / 50 * draw.uniform(0.99, 1.01),
    }


def _point(number: int, draw: random.Random) -> Point:
    values = {"neg_elbo": 100 + draw.gauss(0, 1), "kl": 7 + draw.random(), "loss": 101 + draw.gauss(0, 1)}
    numbers = {name: Number.of(value) for name, value in values.items()}
    return Point(counters=_counters(number, draw), values=numbers, selected=number == POINTS)


def _values(draw: random.Random) -> Iterator[Value]:
    for (metric, column), (unit, title, direction, about) in BOARD.items():
        yield Value(
            metric=metric,
            column=column,
            estimate=Number.of(about * draw.uniform(0.99, 1.01)),
            standard_error=Number.of(about / 100),
            unit=unit,
            title=title,
            direction=direction,
            board=True,
        )
    for metric, column in DETAILS:
        yield Value(metric=metric, column=column, estimate=Number.of(draw.random()))


def made(folder: Path, runs: int, each: int = EACH) -> Path:
    """A store of so many runs, as it was made before or new."""
    path = folder / f"{runs}-{each}.sqlite"
    if not path.exists():
        begun, unfinished = time.perf_counter(), path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        fill(unfinished, runs, each)
        unfinished.rename(path)
        print(
            f"made {path}: {path.stat().st_size / 1e6:,.0f} MB in {time.perf_counter() - begun:.0f} s", file=sys.stderr
        )
    return path


def aggregate(store: Path, queries: tuple[str, ...], chosen: str = "") -> None:
    """The plain SQL, every row fetched."""
    with closing(sqlite3.connect(store)) as connection:
        for query in queries:
            connection.execute(query.format(chosen=chosen)).fetchall()


def command(store: Path, *arguments: str) -> None:
    """A command in this process, that writes nowhere."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        cli.main([*arguments, "--store", str(store)], standalone_mode=False)


def seconds(*calls: Callable[[], object], repeats: int = 3) -> list[float]:
    """Processor time of each, taken in turns, the medians: the machine may have other things to do."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, times in zip(calls, taken, strict=True):
            begun = time.process_time()
            call()
            times.append(time.process_time() - begun)
    return [statistics.median(times) for times in taken]


def peak(store: Path, *arguments: str) -> float:
    """The most memory that a command takes, in a process of its own, in MB."""
    script = (
        "import re, sys; from pathlib import Path; from collapsebench.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: sys.exit(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    words = [sys.executable, "-c", script, *arguments, "--store", str(store)]
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own
    return int(done.stderr.splitlines()[-1]) / 1024


def boards(store: Path, protocol: str) -> str:
    """Boards beside the aggregates that they cannot do without."""
    rows = []
    for what, chosen, arguments in (
        ("one protocol", f"AND protocol_id = '{protocol}'", ["--protocol", protocol]),
        ("the whole store", "", []),
    ):
        unpaired, paired, board, cut = seconds(
            partial(aggregate, store, UNPAIRED, chosen),
            partial(aggregate, store, PAIRED, chosen),
            partial(command, store, "leaderboard", *arguments),
            partial(command, store, "leaderboard", "--at", "steps=550", *arguments),
        )
        times = [f"{time:.2f}" for time in (unpaired, paired, board, cut)]
        rows.append((what, *times, f"{board / unpaired:.1f}", f"{board / paired:.1f}"))
    measured = ("SQL: means [s]", "and pairs [s]", "leaderboard [s]", "--at steps=550 [s]")
    headers = ("leaderboard of", *measured, "to means", "to means and pairs")
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def lists(stores: dict[int, Path], protocols: dict[int, str]) -> str:
    """Time in the largest store, and the memory that commands take in each."""
    runs = max(stores)
    rows = []
    for words in (
        "runs list",
        f"runs list --offset {runs // 2}",
        f"runs list --offset {runs - 50}",
        "runs list --json",
        "leaderboard --protocol ID",
        "leaderboard",
        "leaderboard --format json",
    ):
        arguments = {size: words.replace("ID", protocols[size]).split() for size in stores}
        (time,) = seconds(partial(command, stores[runs], *arguments[runs])) if words.startswith("runs") else [None]
        memory = [f"{peak(store, *arguments[size]):.0f}" for size, store in sorted(stores.items())]
        rows.append((words, "" if time is None else f"{1e3 * time:.0f}", *memory))
    headers = ("command", "ms", *(f"{size:,} runs [MB]" for size in sorted(stores)))
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def disk(store: Path) -> str:
    """What a run takes in the file, by table with its indexes."""
    query = "SELECT tbl_name, sum(pgsize) FROM dbstat JOIN sqlite_master USING (name) GROUP BY 1 ORDER BY 2 DESC"
    with closing(sqlite3.connect(store)) as connection:
        (runs,) = connection.execute("SELECT count(*) FROM runs").fetchone()
        rows = [(table, f"{size / runs:,.0f}") for table, size in connection.execute(query) if size >= runs]
    rows.append(("all", f"{store.stat().st_size / runs:,.0f}"))
    return tabulate(rows, headers=("table", "bytes a run"), tablefmt="github", disable_numparse=True)


def growth(folder: Path, sizes: Sequence[int]) -> str:
    """Processor time of what asks for one protocol of 500 runs, and of what asks for all, in stores of these sizes."""
    taken: list[list[float]] = []
    for size in sizes:
        path = made(folder, size, SMALL)
        with Store.reading(path) as store:
            protocol = store.protocols()[0].protocol_id
            calls = (
                partial(command, path, "leaderboard", "--protocol", protocol),
                partial(command, path, "runs", "list", "--protocol", protocol),
                partial(store.protocols, protocol=protocol),
                partial(store.count, protocol=protocol),
                store.protocols,
                store.count,
            )
            taken.append(seconds(*calls, repeats=5))
    names = (
        "leaderboard --protocol ID",
        "runs list --protocol ID",
        "protocols(ID)",
        "count(ID)",
        "protocols()",
        "count()",
    )
    rows = [(name, *(f"{1e3 * time:,.1f}" for time in times)) for name, *times in zip(names, *taken, strict=True)]
    headers = ("what", *(f"{size:,} runs [ms]" for size in sizes))
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def main() -> None:
    """Make the stores, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000, help="runs of the store; another has a tenth of them")
    parser.add_argument("--folder", type=Path, help="keep the stores here, for the next time")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        stores = {runs: made(folder, runs) for runs in (given.runs // 10, given.runs)}
        protocols = {}
        for runs, path in stores.items():
            with Store.open(path) as store:
                protocols[runs] = store.protocols()[0].protocol_id
        print(disk(stores[given.runs]), boards(stores[given.runs], protocols[given.runs]), sep="\n\n", end="\n\n")
        print(lists(stores, protocols), growth(folder, [given.runs // 100, *stores]), sep="\n\n")


if __name__ == "__main__":
    main()

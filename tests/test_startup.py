"""What a command imports before it does anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from collapsebench.components import discovery
from collapsebench.metrics.codes import ARTIFACT, Codes, codes_file
from collapsebench.record import Point, RunRecord, Value
from collapsebench.spec import RunSpec
from collapsebench.store import Store
from collapsebench.store.interchange import read_lines

RECORDS = Path(__file__).parents[1] / "results" / "leaderboards" / "table-3-small.jsonl"

PROGRAM = """
import sys
from collapsebench.cli import main
try:
    main({arguments!r})
except SystemExit as stopped:
    assert (stopped.code or 0) == {code}, stopped.code
print("imported", *sorted(sys.modules), file=sys.stderr)
"""


def imported(*arguments, code=0):
    program = PROGRAM.format(arguments=list(arguments), code=code)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.rsplit("imported", 1)[1].split())


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], {"torch", "numpy", "pydantic", "sqlalchemy", "rich"}),
        (["methods"], {"torch", "numpy", "sqlalchemy", "rich", "collapsebench.experiment.runner"}),
    ],
    ids=["--help", "methods"],
)
def test_what_is_not_needed_is_not_imported(arguments, heavy):
    assert not heavy & imported(*arguments)


HELP = (
    *(
        "run",
        "suite",
        "suite run",
        "leaderboard",
        "league",
        "plot",
        "plot trajectories",
        "samples",
        "runs",
        "runs list",
        "data",
        "methods",
    ),
    *("plugins", "selfcheck", "verify"),
)


@pytest.mark.parametrize("command", HELP)
def test_help_imports_nothing_heavy(command):
    found = imported(*command.split(), "--help")
    assert not {"torch", "numpy", "pydantic", "pluggy", "sqlalchemy", "rich", "matplotlib"} & found


@pytest.mark.parametrize("arguments", [["leaderboard"], ["runs", "list"]], ids=" ".join)
def test_a_missing_store_is_noticed_before_what_reads_stores_is_imported(arguments, tmp_path):
    found = imported(*arguments, "--store", str(tmp_path / "none.sqlite"), code=1)
    assert not {"torch", "numpy", "sqlalchemy", "collapsebench.components.catalog"} & found


@pytest.mark.slow
@pytest.mark.torch
def test_a_run_needs_no_alembic_and_no_compiler_of_torch_and_a_board_of_it_no_torch(tmp_path):
    store = str(tmp_path / "runs.sqlite")
    found = imported("run", "--dataset", "linear-gaussian", "--budget", "20steps", "--store", store)
    assert not {"alembic", "torch._dynamo", "torch._inductor", "sympy"} & found
    assert not {"torch", "alembic"} & imported("leaderboard", "--store", store)


WITHOUT_TORCH = """
import json, sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, NoTorch())
from collapsebench.cli import main
for arguments in json.load(sys.stdin):
    try:
        main(arguments)
    except SystemExit as stopped:
        if stopped.code:
            print("failed:", *arguments, file=sys.stderr)
"""
SUITE = ("--suite", "dieng-2019/table-3")
ONE_CELL = (*SUITE, "--cell", "2 layers")
READING = (
    ("leaderboard",),
    ("leaderboard", "--at", "seconds=30"),
    ("leaderboard", "--dialect", "he2019"),
    ("leaderboard", *SUITE),
    ("report", "--output", "-"),
    ("report", *SUITE),
    ("plot", *ONE_CELL),
    ("plot", "depth", *SUITE),
    ("plot", "codes", *ONE_CELL, "--examples", "9"),
    ("plot", "rate-distortion", *ONE_CELL),
    ("plot", "spectrum", *ONE_CELL),
    ("runs", "list"),
    ("runs", "export", "-"),
    ("suite", "list"),
    ("suite", "show", "dieng-2019/table-3"),
    ("data", "list"),
)


@pytest.mark.slow
def test_no_command_that_only_reads_needs_torch(tmp_path):
    store = str(tmp_path / "runs.sqlite")
    with Store.open(store) as opened, RECORDS.open("rb") as lines:
        opened.add(read_lines(lines, RECORDS.name))
        run_ids = [run.run_id for run in opened.summaries()]
        for run_id in run_ids:
            path = codes_file(tmp_path / "runs.sqlite.codes", run_id)
            Codes(np.eye(9, 2), np.zeros((9, 2)), np.arange(9)).write(path)
            opened.attach(run_id, ARTIFACT, path)
    environment = os.environ | {"COLLAPSEBENCH_STORE": store}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        input=json.dumps([*READING, ["runs", "show", run_ids[0]], ["verify", str(RECORDS)]]),
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "failed:" not in done.stderr, done.stderr
    assert done.stdout.count("wrote plot.png") == 5


def test_models_are_complete_as_soon_as_they_are_imported():
    """Pydantic turns a Ctrl-C that comes while it builds a validator into an error: a run would count as failed."""
    models = [RunSpec, RunRecord, Point, Value, *(entry.component for entry in discovery.load().entries.values())]
    assert all(model.__pydantic_complete__ for model in models)

"""What a command imports before it does anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

from collapsebench.components import discovery
from collapsebench.record import Point, RunRecord, Value
from collapsebench.spec import RunSpec

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


@pytest.mark.parametrize("arguments", [["leaderboard"], ["runs", "list"]], ids=" ".join)
def test_a_missing_store_is_noticed_before_what_reads_stores_is_imported(arguments, tmp_path):
    found = imported(*arguments, "--store", str(tmp_path / "none.sqlite"), code=1)
    assert not {"torch", "numpy", "sqlalchemy", "collapsebench.components.catalog"} & found


def test_a_new_store_needs_no_alembic_and_a_board_of_it_no_torch(tmp_path):
    store = str(tmp_path / "runs.sqlite")
    assert "alembic" not in imported("run", "--dataset", "linear-gaussian", "--budget", "1steps", "--store", store)
    assert not {"torch", "alembic"} & imported("leaderboard", "--store", store)


def test_models_are_complete_as_soon_as_they_are_imported():
    """Pydantic turns a Ctrl-C that comes while it builds a validator into an error: a run would count as failed."""
    models = [RunSpec, RunRecord, Point, Value, *(entry.component for entry in discovery.load().entries.values())]
    assert all(model.__pydantic_complete__ for model in models)

"""What was measured, on which machine, of which commit: files in `results/bench`, with a line for each measurement."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import describe

FOLDER = Path(__file__).parents[1] / "results" / "bench"


def remember(name: str, **measured: Any) -> None:
    """Append a line to a file of this name, with what the numbers depend on."""
    git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False, cwd=FOLDER.parents[1])  # noqa: S603 - fixed
    entry = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit.stdout.strip()} | describe()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(entry | measured) + "\n")

"""The commands of docs/cluster.md that want a Slurm do on one what the page says."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from pages import blocks, missing
from trials import Grid, ended

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"


@pytest.mark.slow
def test_the_way_from_a_dry_run_to_a_board(slurm, tmp_path):
    found = list(blocks(PAGE))
    (shown,) = (line for block in found for line in block.content.splitlines() if "slurm[partition=PARTITION" in line)
    (queued,) = (block.content.splitlines() for block in found if block.language == "text")
    _, *words = shlex.split(shown.replace("PARTITION", "low"))
    here = Grid(slurm, tmp_path, (), "")

    def says(*arguments: str) -> str:
        answer = ended(here.call(*arguments))
        assert answer.code == 0, answer.out
        return answer.out

    assert "#SBATCH --partition=low" in says(*words)
    assert slurm.empty()
    detached = [word.replace("--dry-run", "--detach") for word in words]
    assert missing(queued, says(*detached)) is None
    following = [word for word in words if word != "--dry-run"]
    assert "6 runs" in says(*following)
    _, *board = shlex.split(queued[-1].removeprefix("next: "))
    assert "Paired difference to vae, 3 seeds" in says(*board)

"""Runs that are killed end as if they had not been. `python -m bench.kill` kills hundreds of them."""

from __future__ import annotations

import killing
import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("grid", "kills"), [("text", 8), ("images", 8), ("text, 2 workers", 6)])
@pytest.mark.torch
def test_killed_at_any_moment_the_same_command_ends_with_the_same_bits(grid, kills, tmp_path):
    killer = killing.Killer(killing.GRIDS[grid], tmp_path, seed=1)
    assert len(killer.wanted) == 3
    killer.kill(kills)

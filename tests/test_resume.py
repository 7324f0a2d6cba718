"""Runs that are killed end as if they had not been."""

from __future__ import annotations

import killing
import pytest


@pytest.mark.parametrize("grid", killing.GRIDS)
def test_killed_at_any_moment_the_same_command_ends_with_the_same_bits(grid, tmp_path):
    killer = killing.Killer(killing.GRIDS[grid], tmp_path, seed=1)
    assert len(killer.wanted) == 3
    killer.kill(16)
    assert {moment for moment, deaths in killer.killed.items() if deaths} == {*killing.MOMENTS, "any"}

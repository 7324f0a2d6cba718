"""The beds, each started once, by the first test that wants it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import ray_bed
import slurm_bed

# Whatever ends the tests, the beds are put away: as after Ctrl-C.
signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def a_slurm() -> Iterator[slurm_bed.Slurm]:
    """A Slurm for all tests."""
    with slurm_bed.slurm() as bed:
        yield bed


@pytest.fixture
def slurm(a_slurm: slurm_bed.Slurm) -> Iterator[slurm_bed.Slurm]:
    """A Slurm whose queue is empty before the test, and after it."""
    assert a_slurm.empty()
    yield a_slurm
    a_slurm.clear()


@pytest.fixture(scope="session")
def ray() -> Iterator[ray_bed.Ray]:
    """A Ray for all tests."""
    with ray_bed.ray() as bed:
        yield bed

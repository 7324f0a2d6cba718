"""The measure of growth: slopes of power laws, and peaks of calls whose memory is known."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MIB = 2**20


@pytest.fixture(autouse=True)
def _checkout(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


@pytest.mark.parametrize("power", [0, 0.5, 1, 2])
@pytest.mark.torch
def test_the_slope_of_a_power_law_is_its_power(power):
    from bench.growth import doubled, slope

    values = doubled(3)
    assert values == (3, 6, 12, 24, 48)
    assert slope(values, [7 * value**power for value in values]) == pytest.approx(power)


@pytest.mark.torch
def test_a_slope_above_what_is_implied_is_called_so_and_what_is_held_is_taken_off():
    from bench.growth import Cost, Sweep, doubled, row

    sweep = Sweep("w", "n", doubled(1000), time=1, memory=0, build=lambda contexts, n: lambda: None, held=256)
    linear = row(sweep, [Cost(1e-3 * n, 4 * MIB + 256 * n) for n in sweep.values])
    assert linear[6:9] == (1.0, 1, "within")
    assert linear[11:] == (0.0, 0, "within")
    square = row(sweep, [Cost(1e-6 * n**2, 4096.0 * n) for n in sweep.values])
    assert square[6:9] == (2.0, 1, "ABOVE")
    assert square[13] == "ABOVE"


@pytest.mark.parametrize("size", [32 * MIB, 64 * MIB])
@pytest.mark.torch
def test_the_peak_of_a_call_is_what_it_holds_at_a_time(size):
    from bench.growth import peak_memory

    assert peak_memory(lambda: [len(bytearray(b"x") * size) for _ in range(2)]) == pytest.approx(size, rel=0.1)

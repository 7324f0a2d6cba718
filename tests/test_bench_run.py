"""The benchmark of whole runs: every second belongs to one part."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _checkout(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


class Clock:
    now = 2.0

    def __call__(self):
        return self.now


def test_a_part_inside_another_one_interrupts_it():
    from bench.run import IMPORTS, REST, TRAINING, VALIDATION, Stopwatch

    clock = Clock()
    watch, module = Stopwatch(clock), SimpleNamespace()

    def work(seconds):
        clock.now += seconds
        return seconds

    def outer(seconds):
        work(1)
        yield module.inner(seconds)

    module.inner, module.outer = work, outer
    watch.watch(module, "inner", lambda seconds: VALIDATION)
    watch.watch(module, "outer", lambda seconds: TRAINING)
    work(10)
    assert module.outer(100) == (100,)
    assert watch.end() == {IMPORTS: 2, REST: 10, TRAINING: 1, VALIDATION: 100}


def test_a_part_ends_with_its_error():
    from bench.run import REST, TRAINING, Stopwatch

    clock = Clock()
    watch = Stopwatch(clock)

    def fail():
        with watch.part(TRAINING):
            clock.now += 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    clock.now += 5
    seconds = watch.end()
    assert (seconds[TRAINING], seconds[REST]) == (1, 5)


def test_medians_are_of_each_part():
    from bench.run import medians, not_training

    turns = [{"training": 1.0, "rest": 5.0}, {"training": 3.0, "rest": 4.0}, {"training": 2.0}]
    assert medians(turns) == {"training": 2.0, "rest": 4.0}
    assert not_training(medians(turns)) == 4.0


@pytest.mark.slow
def test_a_whole_run_is_split_into_its_parts():
    from bench.run import END, IMPORTS, REST, RUNS, TRAINING, VALIDATION, measured

    seconds = measured(ROOT, (*RUNS["demo"], "--method", "vae", "--budget", "3steps"), "processor")
    assert {IMPORTS, TRAINING, VALIDATION, REST, END, "iw-nll", "latent-use"} <= seconds.keys()
    assert all(each >= 0 for each in seconds.values())
    assert min(seconds[IMPORTS], seconds[TRAINING], seconds["iw-nll"]) > 0.01

"""What is said at the end of a grid of runs that ended badly."""

from __future__ import annotations

import records

from collapsebench.experiment.endings import timed_out
from collapsebench.experiment.summary import EndedRun, summary
from collapsebench.record import Outcome

STORE = " --store my.sqlite"


def ended(label: str, outcome: Outcome, message: str = "", seed: int = 1) -> EndedRun:
    record = records.record(label, seed, outcome=outcome, message=message)
    return EndedRun(f"{label} seed {seed}", record)


def said(*runs: EndedRun, timeout: float | None = None) -> list[str]:
    return [line.text for line in summary(runs, 12, timeout=timeout, store_option=STORE)]


def test_nothing_is_said_of_runs_that_have_a_result():
    assert said(ended("vae", Outcome.FINISHED)) == []


def test_runs_that_failed_for_one_reason_are_named_together_with_what_helps():
    runs = [ended("skip", Outcome.FAILED, "ValueError: no\nsecond line", seed) for seed in (2, 3)]
    assert said(*runs, ended("vae", Outcome.FINISHED), ended("sa-vae", Outcome.FAILED, "it is gone")) == [
        "3 of 12 runs failed: skip seed 2, skip seed 3 (ValueError: no); sa-vae seed 1 (it is gone)",
        f"  look: collapsebench runs show {runs[0].record.run_id}{STORE} · again: the same command",
    ]


def test_each_bad_end_has_its_own_line():
    late = ended("vae", Outcome.FAILED, timed_out(90))
    diverged = ended("skip", Outcome.DIVERGED, "step 7: loss nan")
    stopped = ended("sa-vae", Outcome.INTERRUPTED, "interrupted by the user")
    heads = [line for line in said(late, diverged, stopped, timeout=90) if not line.startswith(" ")]
    assert [head.partition(":")[0] for head in heads] == [
        "1 of 12 runs took too long",
        "1 of 12 runs diverged",
        "1 of 12 runs interrupted",
    ]


def test_a_result_is_not_run_again_and_what_was_stopped_goes_on():
    (_, diverged) = said(ended("skip", Outcome.DIVERGED, "step 7: loss nan"))
    stopped = said(ended("skip", Outcome.INTERRUPTED, "interrupted by the user"))
    assert "again" not in diverged
    assert stopped == [
        "1 of 12 runs interrupted: skip seed 1",
        "  again: the same command, which goes on from the last checkpoint",
    ]


def test_many_runs_and_long_messages_are_counted_and_cut():
    runs = [ended(f"m{number}", Outcome.FAILED, f"{number} " + "x" * 500) for number in range(9)]
    head, _ = said(*runs)
    assert head.startswith("9 of 12 runs failed: m0 seed 1 (0 xxx")
    assert head.endswith("; and 6 more")
    assert len(head) < 500


def test_a_message_cannot_act_on_the_terminal():
    head, _ = said(ended("skip", Outcome.FAILED, "\x1b[2J\x07gone"))
    assert "\x1b" not in head
    assert "\x07" not in head

"""The trials of the guards: unfair contenders are caught, and their honest twins are not."""

import pytest
from records import record

from collapsebench.experiment import suites
from collapsebench.experiment.suites import Trial
from collapsebench.record import Finding, Guard, Outcome
from collapsebench.reporting.trials import Judgement, TrialResult, Verdict, judge, trials_text
from collapsebench.syntax import BASELINE, parse_composition

TRIAL = Trial(kind="a kind", tries="something")


def run(outcome=Outcome.FINISHED, message="", findings=()):
    return record("skip", 1).model_copy(
        update={"outcome": outcome, "message": message, "findings": tuple(findings)},
    )


def parsed(label):
    return [] if label == BASELINE else parse_composition(label)


MARK = Finding(guard=Guard.WORK, text="the count was set back")


@pytest.mark.parametrize(
    ("runs", "verdict", "reason"),
    [
        ([], Verdict.MISSING, ""),
        ([run(Outcome.STARTED), run(Outcome.INTERRUPTED)], Verdict.MISSING, ""),
        ([run(Outcome.FAILED, "it looks ahead")], Verdict.REFUSED, "it looks ahead"),
        ([run(Outcome.FAILED, "x"), run()], Verdict.UNDETECTED, ""),
        ([run(findings=[MARK]), run(findings=[MARK]), run()], Verdict.MARKED, "the count was set back"),
        ([run()], Verdict.UNDETECTED, ""),
        ([run(Outcome.DIVERGED)], Verdict.UNDETECTED, ""),
    ],
)
def test_a_contender_is_judged_by_its_runs(runs, verdict, reason):
    assert judge(runs) == Judgement(verdict, reason)


@pytest.mark.parametrize(
    ("unfair", "honest", "reason", "expected"),
    [
        (Verdict.REFUSED, Verdict.UNDETECTED, "", True),
        (Verdict.MARKED, Verdict.UNDETECTED, "", True),
        (Verdict.UNDETECTED, Verdict.UNDETECTED, "", False),
        (Verdict.UNDETECTED, Verdict.UNDETECTED, "nobody sees files", True),
        (Verdict.REFUSED, Verdict.MARKED, "", False),
        (Verdict.REFUSED, Verdict.REFUSED, "", False),
        (Verdict.MISSING, Verdict.MISSING, "", False),
    ],
)
def test_what_is_expected_of_the_guards(unfair, honest, reason, expected):
    trial = TRIAL.model_copy(update={"reason": reason})
    assert TrialResult("cell", trial, Judgement(unfair), Judgement(honest)).expected is expected


def test_the_table_counts_kinds_and_shows_no_escape():
    results = [
        TrialResult("a", TRIAL, Judgement(Verdict.REFUSED, "it \x1b[31mlooks"), Judgement(Verdict.UNDETECTED)),
        TrialResult("b", TRIAL, Judgement(Verdict.UNDETECTED), Judgement(Verdict.UNDETECTED)),
    ]
    text = trials_text(results)
    assert "\x1b" not in text
    rest = "gain nothing; 0 honest twins are refused or marked."
    assert text.endswith(f"0 of 1 kinds are refused or marked, 0 more {rest}")
    assert trials_text(results[:1]).endswith(f"1 of 1 kinds are refused or marked, 0 more {rest}")
    assert trials_text(results[:1], "pipe").count("\n") == 2


def test_the_shipped_trials_have_two_contenders_that_nothing_else_loads():
    suite = suites.suite("trust/unfair")
    cells = suite.cells("small")
    assert {cell.name for cell in cells} == set(suite.trials)
    assert all(set(cell.contenders) == {"unfair", "honest"} for cell in cells)
    known = suite.catalog().names("method")
    calls = [call for cell in cells for label in cell.contenders.values() for call in parsed(label)]
    assert {call.name for call in calls} <= set(known)
    from collapsebench.components import discovery

    assert not [name for name in discovery.load().names("method") if name.startswith(("unfair", "honest"))]


def test_each_command_that_show_prints_of_the_trials_is_one_that_knows_their_contenders(command):
    """The command `run` does not load them."""
    lines = command("suite", "show", "trust/unfair").out.splitlines()
    shown = [line.partition(": collapsebench ")[2].split() for line in lines if ": collapsebench " in line]
    assert len(shown) == len(suites.suite("trust/unfair").cells("small"))
    plan = command(*shown[0], "--seeds", "1", "--dry-run")
    assert plan.code == 0, plan.err
    assert plan.out.count("to run") == 2


@pytest.mark.slow
def test_unfair_contenders_are_caught_and_honest_ones_stand(command):
    cells = ["look-ahead", "prior", "kept", "floor", "critic", "averaged"]
    chosen = [word for cell in cells for word in ("--cell", cell)]
    answer = command("suite", "run", "trust/unfair", *chosen, "--seeds", "2", "--threads", "1", "-q")
    assert answer.code == 0, answer.out + answer.err
    assert answer.out.count("refused: ") == 2
    assert answer.out.count("without effect: ") == 1
    assert answer.out.count("marked: rate without use") == 2
    assert answer.out.count("counted: ") == 1
    assert answer.out.count("stands") == 6
    assert "4 of 6 kinds are refused or marked, 2 more gain nothing; 0 honest twins" in answer.out

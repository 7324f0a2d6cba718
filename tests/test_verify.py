"""`collapsebench verify`: what a reader finds in a board that somebody else made."""

from __future__ import annotations

import gzip
import json
import re

import pytest
import toys
from records import record

import collapsebench
from collapsebench.record import Finding, Guard, Number
from collapsebench.spec import Unit
from collapsebench.store.interchange import read_line, write_line
from collapsebench.verification.comparison import MEASURED, NumberRole, Pair, pairs, tolerance
from collapsebench.verification.verifying import verify

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run of the harness, as its maker has it."""
    (made,) = collapsebench.run(
        dataset="linear-gaussian",
        budget="20steps",
        settings={"evaluation.every": "10steps"},
        threads=1,
        store=tmp_path_factory.mktemp("made") / "runs.sqlite",
        progress=False,
    )
    return made.record


@pytest.fixture
def verified(command, tmp_path):
    """Verify records, or lines as they are; gives the exit code and the checks."""

    def verify(*lines, options=()):
        file = tmp_path / "runs.jsonl"
        written = [line if isinstance(line, str) else write_line(line) for line in lines]
        file.write_text("\n".join(written) + "\n")
        answer = command("verify", file, "--json", *options)
        return answer.code, json.loads(answer.out)["checks"]

    return verify


def of(checks, what, verdict=None):
    """The reasons of the checks of one kind."""
    return [each["reason"] for each in checks if each["what"] == what and verdict in {None, each["verdict"]}]


def differing(checks):
    return [(each["what"], each["reason"]) for each in checks if each["verdict"] == "differs"]


def edited(record, path, value):
    """The line of a record with one part of its JSON replaced, by whoever has the file."""
    content = json.loads(write_line(record))
    *folders, last = path
    inner = content
    for key in folders:
        inner = inner[key]
    inner[last] = value
    return json.dumps(content)


def consistent(record, **protocol):
    """The record that somebody would make whose spec has another protocol: its ids are right."""
    spec = record.spec.model_copy(update={"protocol": record.spec.protocol.model_copy(update=protocol)})
    ids = {"spec": spec, "run_id": spec.run_id, "protocol_id": spec.protocol.protocol_id}
    return record.model_copy(update=ids)


def with_value(record, column, number):
    values = [
        value.model_copy(update={"estimate": Number.of(number)}) if value.column == column else value
        for value in record.values
    ]
    return record.model_copy(update={"values": tuple(values)})


def with_kl_of_a_point(record, change):
    """The record with another KL at its first evaluation, which no rule of plausibility reads."""
    first = record.points[0]
    before = float(first.values["kl"])
    kl = Number.of(before + change * max(1, before))
    point = first.model_copy(update={"values": first.values | {"kl": kl}})
    return record.model_copy(update={"points": (point, *record.points[1:])})


def value(record, column):
    return next(float(each.estimate) for each in record.values if each.column == column)


def test_a_good_file_is_ok_and_says_what_was_not_checked(run, verified):
    code, checks = verified(run)
    assert code == 0
    assert differing(checks) == []
    assert {"record", "numbers", "rules", "data", "components", "harness"} == {
        each["what"] for each in checks if each["verdict"] == "ok"
    }
    unchecked = {each["what"] for each in checks if each["verdict"] == "cannot be checked here"}
    assert {"times", "board", "run again"} <= unchecked


def test_a_gzipped_file_reads_the_same(run, command, tmp_path):
    (tmp_path / "runs.jsonl").write_text(write_line(run))
    (tmp_path / "runs.gz").write_bytes(gzip.compress(write_line(run).encode()))
    plain, packed = (command("verify", tmp_path / name) for name in ("runs.jsonl", "runs.gz"))
    assert plain.out.splitlines()[1:] == packed.out.splitlines()[1:]


def test_a_forged_id_differs_and_other_runs_are_checked_all_the_same(run, verified):
    code, checks = verified(edited(run, ["run_id"], "0123456789abcdef"), run)
    assert code == 1
    (found,) = [each for each in checks if each["verdict"] == "differs"]
    assert found["runs"] == ["line 1"]
    assert run.run_id in found["reason"]
    assert of(checks, "data", "ok")


def test_an_impossible_number_differs(run, verified):
    code, checks = verified(with_value(run, "neg_elbo", value(run, "neg_elbo") - 1000))
    assert code == 1
    assert any("impossible" in reason for what, reason in differing(checks) if what == "numbers")


def test_a_trial_whose_bound_is_below_that_of_the_true_distribution_differs(command, verified, tmp_path):
    """Trials have no numbers of the test split. Rules choose by those of validation."""
    tuning = ("tune", "-d", "linear-gaussian", "--budget", "4steps", "--trials", "1", "--store", tmp_path / "t.sqlite")
    command(*tuning, "--threads", "1")
    (line,) = command("runs", "export", "-", "--store", tmp_path / "t.sqlite").out.splitlines()
    assert differing(verified(line)[1]) == []
    trial = read_line(line.encode())
    points = [
        point.model_copy(update={"values": point.values | {"neg_elbo": Number.of(0.5)}}) if point.selected else point
        for point in trial.points
    ]
    code, checks = verified(trial.model_copy(update={"points": tuple(points)}))
    assert code == 1
    assert any("distribution that made the data" in reason for _, reason in differing(checks))


def test_a_likelihood_below_that_of_the_true_distribution_differs(run, verified):
    better = run
    for column in [each.column for each in run.values if re.match(r"neg_elbo|iw_nll|reconstruction", each.column)]:
        better = with_value(better, column, value(run, column) - 100)
    code, checks = verified(better)
    assert code == 1
    assert any("distribution that made the data" in reason for _, reason in differing(checks))


def test_a_forged_split_hash_differs_from_the_data_of_this_machine(run, verified):
    forged = consistent(run, splits=run.spec.protocol.splits | {"test": "f" * 64})
    code, checks = verified(forged)
    assert code == 1
    assert [what for what, _ in differing(checks)] == ["data"]
    assert "split 'test'" in of(checks, "data", "differs")[0]


def test_data_that_are_not_here_cannot_be_checked(verified, tmp_path):
    stored = record()
    forged = consistent(stored, dataset=stored.spec.protocol.dataset.model_copy(update={"name": "mnist"}))
    code, checks = verified(forged, options=["--data-dir", tmp_path])
    assert of(checks, "data", "cannot be checked here")
    assert code == (1 if differing(checks) else 0)
    assert all(what != "data" for what, _ in differing(checks))


def test_two_results_of_one_run_differ(run, verified):
    code, checks = verified(run, with_value(run, "kl", value(run, "kl") + 1e-9), run)
    assert code == 1
    assert "the run is there twice, with different content" in of(checks, "record", "differs")


def test_other_versions_differ(run, verified):
    other = run.model_copy(update={"environment": run.environment | {"collapsebench": "0.0.1"}})
    code, checks = verified(consistent(other, version="0.9"))
    assert code == 1
    assert {what for what, _ in differing(checks)} == {"harness"}
    assert "version 0.9" in of(checks, "rules", "cannot be checked here")[0]


def test_a_run_of_older_rules_cannot_be_computed_again(run, verified):
    _, checks = verified(consistent(run, version="0.9"), options=["--rerun", "vae"])
    assert "rules of version 0.9" in of(checks, "run again", "cannot be checked here")[0]


def test_hostile_texts_are_shown_as_texts(run, command, tmp_path):
    hostile = "\x1b[2Jgone \u202e"
    finding = Finding(guard=Guard.OPERATIONS, text="uncounted operations: cdist")
    marked = run.model_copy(update={"findings": (finding,)})
    lines = [edited(run, ["run_id"], hostile), edited(run, ["contender"], "vae\u202e"), write_line(marked)]
    (tmp_path / "runs.jsonl").write_text("\n".join(lines))
    for options in ([], ["--json"]):
        answer = command("verify", "runs.jsonl", *options)
        assert answer.code == 1
        assert not {"\x1b", "\u202e"} & set(answer.out + answer.err)
    assert "marked" in command("verify", "runs.jsonl").out


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_terminal_breaks_lines_between_words_below_their_texts(run, tmp_path, width):
    (tmp_path / "runs.jsonl").write_text(write_line(run))
    whole = verify(tmp_path / "runs.jsonl", "runs.jsonl")
    lines = whole.as_text(width).split("\n")
    assert max(map(len, lines)) <= width < max(map(len, whole.as_text().split("\n")))
    assert "\n".join(lines).replace("\n" + " " * 24, " ") == whole.as_text()


def test_a_component_that_a_record_names_is_never_imported(command, tmp_path, run):
    """Its name is that of a module that lies where Python looks first."""
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    stored = record("trap")
    (tmp_path / "runs.jsonl").write_text(write_line(stored))
    answer = command("verify", "runs.jsonl", "--rerun", "trap")
    assert "method 'trap' is not installed here; --plugin FILE" in answer.out
    assert "imported" not in answer.out + answer.err


def test_the_code_of_a_plugin_is_compared(verified, tmp_path):
    (made, *_) = collapsebench.run(
        dataset="toy", plugins=[toys.PLUGIN], store=tmp_path / "toy.sqlite", progress=False, threads=1
    )
    stored = made.record
    name = next(iter(stored.code))
    forged = stored.model_copy(update={"code": stored.code | {name: "0" * 16, "method other": "1" * 16}})
    plugin = ["--plugin", toys.PLUGIN]
    assert verified(stored, options=plugin)[0] == 0
    code, checks = verified(forged, options=plugin)
    assert code == 1
    assert f"the code of {name} is another one here" in of(checks, "code", "differs")[0]
    assert any("which its spec does not name" in reason for reason in of(checks, "code", "differs"))
    _, without = verified(stored)
    assert any("--plugin FILE" in reason for reason in of(without, "components", "cannot be checked here"))


def test_a_run_computed_again_has_the_same_bits(run, verified):
    for wanted in ("vae", run.run_id[:6]):
        code, checks = verified(run, options=["--rerun", wanted])
        found = of(checks, "run again")
        assert code == 0
        assert len(found) > 3
        assert all(reason.endswith("equal bit for bit") for reason in found)


def test_a_forged_reason_is_found_by_computing_the_run_again_and_a_missing_one_is_older(run, verified):
    assert {each.column: each.reason for each in run.declined} == {"time_to_collapse": "z is used at the end"}
    older = run.model_copy(update={"declined": ()})
    assert verified(older, options=["--rerun", "vae"])[0] == 0
    forged = run.model_copy(
        update={"declined": tuple(each.model_copy(update={"reason": "tired"}) for each in run.declined)}
    )
    code, checks = verified(forged, options=["--rerun", "vae"])
    assert code == 1
    assert "time-to-collapse time_to_collapse: tired" in of(checks, "run again", "differs")[0]


def test_a_forged_number_is_found_by_computing_the_run_again(run, verified):
    """It breaks no rule, and it is as small as a double shows."""
    forged = with_value(run, "kl[0]", value(run, "kl[0]") * (1 + 2**-50))
    assert verified(forged)[0] == 0
    code, checks = verified(forged, options=["--rerun", "vae"])
    assert code == 1
    assert [what for what, _ in differing(checks)] == ["run again"]
    assert "kl kl[0]" in differing(checks)[0][1]


def test_in_another_environment_small_differences_are_allowed_and_large_ones_are_not(run, verified):
    elsewhere = run.model_copy(update={"environment": run.environment | {"numpy": "1.0"}})
    near, far = (with_kl_of_a_point(elsewhere, share * tolerance(NumberRole.INFORMATION)) for share in (0.5, 3))
    code, checks = verified(near, options=["--rerun", "vae"])
    assert code == 0
    assert "numpy 1.0" in of(checks, "run again", "cannot be checked here")[0]
    code, checks = verified(far, options=["--rerun", "vae"])
    assert [what for what, _ in differing(checks)] == ["run again"]
    assert "point 1 kl" in differing(checks)[0][1]


def test_a_forged_counter_is_found_in_any_environment(run, verified):
    last = run.points[-1]
    last = last.model_copy(update={"counters": last.counters | {"flops": 1e15}})
    environment = run.environment | {"numpy": "1.0"}
    forged = run.model_copy(update={"points": (*run.points[:-1], last), "environment": environment})
    code, checks = verified(forged, options=["--rerun", "vae"])
    assert code == 1
    assert "flops" in differing(checks)[0][1]


def test_a_budget_in_seconds_cannot_be_computed_again(run, verified):
    timed = consistent(run, budget=run.spec.protocol.budget.model_copy(update={"unit": Unit.SECONDS}))
    _, checks = verified(timed, options=["--rerun", "vae"])
    assert "depend on the clock" in of(checks, "run again", "cannot be checked here")[0]


def test_a_run_of_another_kind_of_device_is_another_draw(run, verified):
    elsewhere = run.model_copy(update={"environment": run.environment | {"device": "cuda:1"}})
    code, checks = verified(elsewhere, options=["--rerun", "vae"])
    assert code == 0
    assert "computed on 'cuda', which draws other noise" in of(checks, "run again", "cannot be checked here")[0]


@pytest.mark.parametrize("wanted", ["skip", "ffff"])
def test_a_run_that_is_not_there_is_a_mistake(run, command, tmp_path, wanted):
    (tmp_path / "runs.jsonl").write_text(write_line(run))
    answer = command("verify", "runs.jsonl", "--rerun", wanted)
    assert answer.code == 2
    assert "the file has: vae" in answer.err


def test_a_contender_of_several_protocols_is_a_mistake_that_says_which_run_is_which(run, command, tmp_path):
    """Of each protocol it names the run with the smallest seed."""
    other = consistent(run, budget=run.spec.protocol.budget.model_copy(update={"amount": 30}))
    (tmp_path / "runs.jsonl").write_text(write_line(run) + "\n" + write_line(other))
    answer = command("verify", "runs.jsonl", "--rerun", "vae")
    assert answer.code == 2
    assert f"{run.run_id} (linear-gaussian · {run.track} · 20steps · seed 1)" in answer.err
    assert f"{other.run_id} (linear-gaussian · {run.track} · 30steps · seed 1)" in answer.err


@pytest.fixture
def board(run, command, tmp_path):
    """The runs of a board and the board, as their maker shows them."""
    (tmp_path / "runs.jsonl").write_text(write_line(run))
    command("runs", "import", "runs.jsonl", "--store", "s.sqlite")
    command("leaderboard", "--store", "s.sqlite", "--format", "csv", "--output", "board.csv")
    return tmp_path / "board.csv"


def test_a_board_follows_from_its_records_and_an_edited_one_does_not(run, board, verified):
    code, checks = verified(run, options=["--board", board])
    assert code == 0
    assert "follow from the records" in of(checks, "board", "ok")[0]
    number = repr(value(run, "neg_elbo"))
    assert number in board.read_text()
    board.write_text(board.read_text().replace(number, repr(value(run, "neg_elbo") - 1)))
    code, checks = verified(run, options=["--board", board])
    assert code == 1
    assert {what for what, _ in differing(checks)} == {"board"}
    assert any("the mean of vae neg_elbo" in reason for _, reason in differing(checks))


def test_a_row_of_a_board_without_a_record_differs(run, board, verified):
    board.write_text(board.read_text() + board.read_text().splitlines()[1].replace(",vae,", ",better,") + "\n")
    code, checks = verified(run, options=["--board", board])
    assert code == 1
    assert "does not follow from any record" in differing(checks)[0][1]


def test_what_is_no_board_is_a_mistake(run, command, board):
    board.write_text("a,b\n1,2\n")
    assert command("verify", "runs.jsonl", "--board", board).code == 2


def test_a_file_without_runs_is_a_mistake(command, tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    assert command("verify", "empty.jsonl").code == 2


def test_nan_equals_nan_and_a_missing_number_is_infinitely_far():
    nan = float("nan")
    assert Pair("x", NumberRole.INFORMATION, nan, nan).equal
    assert not Pair("x", NumberRole.INFORMATION, nan, 1.0).within
    assert not Pair("x", NumberRole.UNITS, None, 1.0).within


def test_every_number_of_a_record_but_seconds_is_compared(run):
    found = {pair.where for pair in pairs(run, run)}
    assert not any("seconds" in where for where in found)
    assert {f"{each.metric} {each.column}" for each in run.values} <= found
    assert {f"point 2 {name}" for name in run.points[1].values} <= found
    assert len(found) == len(list(pairs(run, run)))
    assert all(pair.equal for pair in pairs(run, run))


def test_every_role_has_a_measured_distance():
    assert set(MEASURED) == set(NumberRole)
    assert MEASURED[NumberRole.COUNT] == 0

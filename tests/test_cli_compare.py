"""`collapsebench compare` and `diff`, through the command line's own entry."""

from __future__ import annotations

import json
import re

import pytest
from records import ENVIRONMENT, record, spec

from collapsebench.record import Outcome
from collapsebench.store import Store

LAYERS = {"overrides": {"decoder.layers": 3}, "setting": spec().protocol.setting.model_copy(update={"latent_dim": 3})}
ANNEALED = "kl-annealing[warmup=0.5]+skip[sites=2]"
MEANS = {"vae": (31.0, 31.5), "skip[sites=2]": (30.0, 30.375), ANNEALED: (31.0, 30.0)}


@pytest.fixture
def path(tmp_path):
    """Three contenders on one protocol, two of them on another, and one alone on a third."""
    path = tmp_path / "runs.sqlite"
    with Store.open(path) as store:
        for label, means in MEANS.items():
            for seed, mean in enumerate(means, start=1):
                store.finish(record(label, seed, columns={"neg_elbo": mean, "kl": 1.0}, parameters=len(label)))
        for label in ("vae", "skip[sites=2]"):
            store.finish(record(label, protocol=LAYERS))
        store.finish(record("vae", protocol={"dataset": "ptb"}))
    return path


@pytest.fixture
def cli(path, command):
    """Call a command on the store."""

    def call(*arguments):
        answer = command(*arguments, "--store", path)
        return answer.code, answer.out, answer.err

    return call


def comparisons(cli, *arguments):
    code, out, err = cli("compare", *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)["comparisons"]


def test_two_contenders_are_compared_wherever_both_have_run(cli):
    found = comparisons(cli, "skip[sites=2]", "vae")
    assert [each["track"] for each in found] == ["quick", "quick[decoder.layers=3]"]
    assert [len(comparisons(cli, "skip[sites=2]", "vae", "--track", each["track"])) for each in found] == [2, 1]
    assert len(comparisons(cli, ANNEALED, "vae")) == 1


def test_a_comparison_is_the_paired_difference_whoever_comes_first(cli):
    (one, _), (other, _) = comparisons(cli, "skip[sites=2]", "vae"), comparisons(cli, "vae", "skip[sites=2]")
    for there, back in zip(one["columns"], other["columns"], strict=True):
        assert there["difference"]["mean"] == -back["difference"]["mean"]
        assert (there["first"], there["second"]) == (back["second"], back["first"])
        assert (there["decided"], there["seeds_to_decide"]) == (back["decided"], back["seeds_to_decide"])
    (elbo,) = (column for column in one["columns"] if column["key"] == "neg_elbo")
    assert (elbo["difference"]["mean"], elbo["difference"]["n"], elbo["decided"]) == (-1.0625, 2, True)


def test_the_text_says_what_is_decided_and_what_it_costs(cli):
    code, out, _ = cli("compare", "skip[sites=2]", "vae")
    assert code == 0
    assert re.search(r"−ELBO \[nats\] ↓ .* −1\.06 ± 0\.79 ≠ +better", out)
    assert re.search(r"KL \[nats\] .* 0 ± 0 +equal", out)
    assert re.search(r"parameters +13 +3 +4\.33", out)
    assert re.search(r"skip\.sites +2 +—", out)
    assert "one seed tells nothing" in out
    assert out.count("Made by: collapsebench run --dataset digits") == 2


def test_the_parameters_that_differ_are_those_of_both(cli):
    (found,) = comparisons(cli, ANNEALED, "skip[sites=2]")
    assert found["parameters"] == {
        "kl-annealing": ["version 1", None],
        "kl-annealing.warmup": [0.5, None],
    }


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("vae", "skop[sites=2]"), 2, "unknown contender 'skop[sites=2]'"),
        (("vae", " vae"), 2, "'vae' is compared with itself"),
        (("vae", "skip["), 2, "cannot read 'skip['"),
        (("skip[sites=2]", "vae", "--dataset", "ptb"), 2, "unknown contender 'skip[sites=2]'"),
        ((ANNEALED, "vae", "--dataset", "mnist"), 1, "no runs of dataset 'mnist'"),
    ],
)
def test_what_cannot_be_compared(cli, arguments, code, error):
    got, out, err = cli("compare", *arguments)
    assert (got, out) == (code, "")
    assert error in err
    assert err.count("\n") == 1


def test_contenders_that_never_met_are_named(tmp_path, command):
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add([record("vae"), record("skip", protocol={"dataset": "ptb"})])
    answer = command("compare", "skip", "vae", "--store", tmp_path / "runs.sqlite")
    assert (answer.code, answer.err) == (1, "error: no protocol has runs of both skip and vae\n")


def differences(cli, *arguments):
    code, out, err = cli("diff", *arguments, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    return found["kind"], {each["field"]: (each["first"], each["second"]) for each in found["differences"]}


def test_two_protocols_differ_in_their_settings(cli):
    one, other = spec().protocol.protocol_id, spec(**LAYERS).protocol.protocol_id
    assert differences(cli, one, other) == ("protocol", {"latent_dim": (2, 3)})
    assert differences(cli, other[:8], one[:8]) == ("protocol", {"latent_dim": (3, 2)})
    assert differences(cli, one, one) == ("protocol", {})
    assert "They do not differ" in cli("diff", one, one)[1]
    lines = cli("diff", one, spec(dataset="ptb").protocol.protocol_id)[1].splitlines()
    assert [line.split() for line in lines[-1:]] == [["dataset.name", "digits", "ptb"]]


def test_amounts_are_written_as_people_write_them(tmp_path, command):
    budgets = {
        budget: spec(budget=budget).protocol.protocol_id for budget in ("4e11flops", "200steps", "1234567.5flops")
    }
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add(record("vae", protocol={"budget": budget}) for budget in budgets)

    def amounts(one, other):
        shown = command("diff", budgets[one], budgets[other], "--store", tmp_path / "runs.sqlite").out
        return next(line.split()[1:] for line in shown.splitlines() if line.startswith("budget.amount"))

    assert amounts("4e11flops", "200steps") == ["4e+11", "200"]
    assert amounts("1234567.5flops", "200steps") == ["1234567.5", "200"]


def test_two_runs_differ_in_what_made_them_and_in_what_computed_them(path, cli):
    made = record("skip[sites=2]", 3, outcome=Outcome.FAILED, environment=ENVIRONMENT | {"cpu_count": 8},
                  code={"method skip": "ab" * 32})  # fmt: skip
    with Store.open(path) as store:
        store.finish(made)
    kind, found = differences(cli, spec("vae", 1).run_id, made.run_id[:10])
    assert kind == "run"
    assert found == {
        "contender": ("vae", "skip[sites=2]"),
        "seed": (1, 3),
        "outcome": ("finished", "failed"),
        "parameters": (3, 1000),
        "environment.cpu_count": (2, 8),
        "skip.version": (None, 1),
        "skip.sites": (None, 2),
        "code of method skip": (None, "ab" * 32),
    }


def test_a_run_beside_a_protocol_stands_for_its_own(cli):
    assert differences(cli, spec("vae", 1).run_id, spec(**LAYERS).protocol.protocol_id) == (
        "protocol",
        {"latent_dim": (2, 3)},
    )


def test_an_id_that_means_nothing_is_said(cli):
    one = spec().protocol.protocol_id
    code, out, err = cli("diff", one, "zzz")
    assert (code, out) == (2, "")
    assert err.startswith("error: neither a protocol nor a run: no run 'zzz' in the store")
    assert cli("diff", one, "")[0] == 2

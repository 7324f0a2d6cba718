"""Boards of tuned contenders: which trials a setting comes from, what chose it, and suites that tune contenders."""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import SETTING, contender, trial_record

from collapsebench.components import discovery
from collapsebench.components.search import IntegerRange, OneOf, Range
from collapsebench.errors import UsageError
from collapsebench.experiment import suites
from collapsebench.experiment.tuning import family_of, tuned_contenders
from collapsebench.reporting import tuning
from collapsebench.reporting.tuning import places, tuned_settings
from collapsebench.spec import identity
from collapsebench.store import Store

CATALOG = discovery.load()
SUITE = """
title = "Two contenders, tuned"
source = "collapsebench"
follows = "nobody"
league = { baseline = "VAE", reference = "no latent variable" }

[scales.small]
description = "two steps"
hours = 0.01
dataset = "linear-gaussian"
track = "quick"
budget = "2steps"
trials = 2
controls = ["control"]
searched = { "minimum desired rate" = "mdr" }

[scales.small.contenders]
VAE = "vae"
"no latent variable" = "no-latent"
"minimum desired rate" = "mdr[nats=3]"
control = "skip"

[[scales.small.cells]]
name = "a task"
rules = ["elbo", "iso-kl[nats=1]"]
"""


@pytest.fixture
def suite_file(tmp_path):
    """A suite in a file of the user's."""
    path = tmp_path / "tuned.toml"
    path.write_text(SUITE)
    return str(path)


RULES = ("elbo", "iso-kl[nats=1]")
TRIALS = {"setting": SETTING | {"evaluation": {"every": "10steps", "selection": list(RULES)}}}


def trial(label, *, flops=10.0, **valid):
    """A trial of the methods that are installed, as a store has it."""
    found = trial_record(label, protocol=TRIALS, **valid)
    installed = found.spec.model_copy(update={"contender": CATALOG.contender(label)[0]})
    last = found.points[-1].model_copy(update={"counters": found.points[-1].counters | {"flops": flops}})
    return found.model_copy(update={"spec": installed, "points": (*found.points[:-1], last)})


def known(*trials):
    """What is known of each setting, by its label."""
    found = tuned_settings([trials], CATALOG)
    return {each.contender: found[identity(each.spec.contender)] for each in trials}


@given(st.floats(0, 1))
def test_a_share_of_a_range_is_that_of_the_value_which_it_gives(share):
    for axis, rounding in ((Range(0.2, 0.8), 0.002), (Range(0.25, 4, log=True), 0.002), (IntegerRange(1, 1000), 0.002)):
        assert axis.share(axis.at(share)) == pytest.approx(share, abs=rounding)


@pytest.mark.parametrize("value", [0.1, 5, "text", True, None, math.nan])
def test_what_is_outside_of_a_range_has_no_share_of_it(value):
    assert Range(0.2, 0.8).share(value) is None
    assert OneOf(5, 50).share(5) is None


@pytest.mark.parametrize(
    ("label", "family"),
    [
        ("vae@rate=0.5", "vae"),
        ("free-bits[nats=0.1]@rate=2", "free-bits"),
        ("free-bits[nats=0.1,per=batch]", "free-bits[per=batch]"),
        ("mdr[nats=3]", "mdr"),
        ("skip+kl-annealing[schedule=cyclical,warmup=0.2]", "skip+kl-annealing[schedule=cyclical]"),
    ],
)
def test_a_family_has_all_settings_of_a_contender(label, family):
    assert family_of(CATALOG.contender(label)[0], CATALOG) == family


def test_a_method_that_is_not_installed_has_one_family():
    assert family_of(contender("skip+gone[a=1,b=2]@rate=2"), CATALOG) == "skip+gone"


def test_the_trials_of_a_method_that_is_gone_are_counted_together():
    found = tuned_settings([[trial_record(f"gone[a={a}]", protocol=TRIALS, neg_elbo=a) for a in (1, 2, 3)]], CATALOG)
    assert [(each.trials, "elbo" in each.rules) for each in found.values()] == [(3, True), (3, False), (3, False)]


def test_costs_beyond_all_floats_are_infinite():
    found = known(*(trial(f"vae@rate={rate}", flops=1e308) for rate in (0.5, 1, 2)))
    assert {each.flops for each in found.values()} == {math.inf}


def test_each_trial_knows_of_all_of_its_family_and_which_rules_choose_it():
    found = known(
        trial("free-bits[nats=0.1]@rate=0.5", neg_elbo=30, kl=2, flops=1),
        trial("free-bits[nats=0.2]@rate=2", neg_elbo=31, kl=1, flops=2),
        trial("free-bits[nats=0.4]", neg_elbo=32, kl=3, flops=4),
        trial("vae", neg_elbo=29, kl=1, flops=8),
    )
    assert [each.rules for each in found.values()] == [
        ("elbo",),
        ("iso-kl[nats=1.0]",),
        (),
        ("elbo", "iso-kl[nats=1.0]"),
    ]
    assert [(each.family, each.trials, each.flops) for each in found.values()] == [("free-bits", 3, 7)] * 3 + [
        ("vae", 1, 8)
    ]
    low, middle, high = ([(place.name, place.border) for place in each.places] for each in list(found.values())[:3])
    assert low == [("rate", "low"), ("free-bits.nats", "low")]
    assert middle == [("rate", "high"), ("free-bits.nats", "")]
    assert high == [("rate", ""), ("free-bits.nats", "high")]
    assert dict(found)["free-bits[nats=0.4]"].places[0].share == pytest.approx(0.5)
    assert known(trial("vae"))["vae"].places == ()


def test_trials_with_other_rules_are_trials_of_the_same_family():
    first = trial("vae@rate=2", neg_elbo=30, flops=1)
    again = trial("vae@rate=2", neg_elbo=30, flops=1)
    other = trial("vae@rate=0.5", neg_elbo=31, flops=1)
    found = tuned_settings([[first], [again, other]], CATALOG)[identity(first.spec.contender)]
    assert (found.trials, found.flops, found.rules.count("elbo")) == (2, 3, 1)


def test_each_of_many_trials_is_read_as_often_as_one_of_a_few(monkeypatch):
    numbers, read = tuning._numbers, []
    monkeypatch.setattr(tuning, "_numbers", lambda contender: read.append(contender) or numbers(contender))

    def reads(number):
        read.clear()
        known(*(trial(f"vae@rate={1 + at / 100}") for at in range(number)))
        return len(read) / number

    assert reads(12) == reads(3)


@given(st.lists(st.floats(0.25, 4), min_size=1, max_size=5, unique=True))
def test_a_border_is_what_no_trial_passes(rates):
    settings = [contender(f"vae@rate={rate}") for rate in rates]
    rates = [each.rate for each in settings]
    for each in settings:
        (place,) = places(each, settings, {}) if len(set(rates)) > 1 else (None,)
        if place is not None and len(set(rates)) > 2:
            assert (place.border == "low", place.border == "high") == (each.rate == min(rates), each.rate == max(rates))
        elif place is not None:
            assert place.border == ""


@pytest.fixture
def run_suite(command, tmp_path):
    """Runs commands on one store, and returns what they print."""

    def run(*arguments):
        answer = command(*arguments, "--store", tmp_path / "tuned.sqlite")
        assert answer.code == 0, answer.err
        return answer.out

    return run


@pytest.mark.torch
def test_a_suite_runs_its_trials_and_then_what_is_chosen_of_them(run_suite, suite_file):
    first = run_suite("suite", "run", suite_file, "--seeds", "2")
    assert first.splitlines()[-1].startswith("next: collapsebench league ")
    again = run_suite("suite", "run", suite_file, "--seeds", "2")
    assert re.findall(r"(\d+) to run", again) == ["0", "0"]
    (board,) = json.loads(run_suite("leaderboard", "--suite", suite_file, "--format", "json"))["boards"]
    rows = {row["contender"]: row for row in board["rows"]}
    tuned = {name: row["tuning"] for name, row in rows.items() if "tuning" in row}
    assert {"vae", "no-latent", "mdr[nats=3.0]", "skip"} <= rows.keys()
    families = {each["family"] for each in tuned.values()}
    assert families == {"vae", "no-latent", "mdr"}
    for family in families:
        chosen = [each for each in tuned.values() if each["family"] == family]
        assert sorted(rule for each in chosen for rule in each["rules"]) == ["elbo", "iso-kl[nats=1.0]"]
        assert {each["trials"] for each in chosen} == {2}
        assert all((each["flops"] > 0) == (family != "no-latent") for each in chosen)
    assert all(sorted(rows[name]["seeds"]) == [1, 2] for name in tuned)


@pytest.mark.torch
@pytest.mark.parametrize(("option", "written"), [(("--keep-codes",), ""), ((), "keep_codes = true\n")])
def test_trials_of_a_suite_keep_neither_codes_nor_weights_and_all_else_does(
    run_suite, suite_file, tmp_path, option, written
):
    Path(suite_file).write_text(written + SUITE)
    run_suite("suite", "run", suite_file, "--seeds", "1", *option)
    with Store.reading(tmp_path / "tuned.sqlite") as store:
        runs = list(store.find())
        kept = {record.run_id for record in runs if not record.spec.protocol.of_trials}
        attached = {record.run_id for record in runs if store.artifacts(record.run_id)}
    files = {folder: list(tmp_path.glob(f"tuned.sqlite.{folder}/*")) for folder in ("codes", "weights")}
    assert {folder: {path.name.split(".")[0] for path in own} for folder, own in files.items()} == {
        "codes": kept,
        "weights": kept,
    }
    assert attached == kept
    assert len(runs) - len(kept) == 6
    again = run_suite("suite", "run", suite_file, "--seeds", "1", *option, "--rerun")
    assert re.findall(r"(\d+) to run", again) == ["0", "0"]
    assert "codes" not in again


@pytest.mark.torch
def test_a_suite_whose_rules_choose_nothing_has_run(run_suite, suite_file):
    text = SUITE.replace('"elbo", "iso-kl[nats=1]"', '"cured[nats=99]"')
    Path(suite_file).write_text("\n".join(line for line in text.splitlines() if not line.startswith("league")))
    told = run_suite("suite", "run", suite_file, "--seeds", "1").splitlines()
    assert told[-1].startswith("next: collapsebench leaderboard --suite ")
    assert "0 to run" in run_suite("suite", "run", suite_file, "--seeds", "1")


PLUGIN = """
from typing import ClassVar

from pydantic import Field

from collapsebench import Method, hookimpl
from collapsebench.components.search import Range


class Weighted(Method):
    name: ClassVar[str] = "weighted"
    citation: ClassVar[str] = "a test"
    search: ClassVar = {"weight": Range(0.25, 4, log=True)}
    weight: float = Field(1.0, description="the weight of the KL")

    @hookimpl
    def kl_weight(self, progress):
        return self.weight


@hookimpl
def collapsebench_components():
    return [Weighted]
"""


@pytest.mark.torch
def test_methods_of_a_file_have_their_ranges(run_suite, suite_file, tmp_path):
    plugin = tmp_path / "weighted.py"
    plugin.write_text(PLUGIN)
    Path(suite_file).write_text(SUITE.replace('"mdr[nats=3]"', '"weighted"').replace('= "mdr"', '= "weighted"'))
    run_suite("suite", "run", suite_file, "--seeds", "1", "--plugin", plugin)
    shown = run_suite("leaderboard", "--suite", suite_file, "--plugin", plugin, "--format", "json")
    (board,) = json.loads(shown)["boards"]
    (tuning,) = [
        row["tuning"]
        for row in board["rows"]
        if "elbo" in row.get("tuning", {}).get("rules", ()) and "weighted" in row["contender"]
    ]
    assert (tuning["family"], tuning["trials"]) == ("weighted", 2)
    assert all(place["share"] is not None for place in tuning["places"])
    next_ = run_suite("tune", *ASKED, "weighted", "--plugin", plugin, "--trials", "1").splitlines()[-1]
    assert str(plugin) in shlex.split(next_)


ASKED = ("--dataset", "linear-gaussian", "--budget", "2steps", "--no-baseline", "--method")
BOARD = ("leaderboard", "--dataset", "linear-gaussian")


@pytest.mark.torch
def test_trials_are_on_no_board_but_their_own(run_suite):
    run_suite("run", *ASKED, "beta-vae")
    run_suite("tune", *ASKED, "beta-vae", "--trials", "3")
    (board,) = json.loads(run_suite(*BOARD, "--format", "json"))["boards"]
    assert [row["contender"] for row in board["rows"]] == ["beta-vae"]
    assert "Tuning" not in run_suite(*BOARD)
    trial = next(run for run in json.loads(run_suite("runs", "list", "--json")) if run["seed"] == 0)
    run_suite("run", *ASKED, trial["contender"])
    assert "Tuning: what chose a setting" in run_suite(*BOARD)
    assert "tuning" in run_suite(*BOARD, "--format", "csv").splitlines()[0].split(",")
    assert trial["protocol_id"] in run_suite("leaderboard", "--protocol", trial["protocol_id"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("trials = 2", ""), "cell 'a task': trials and the rules that choose between them go together"),
        (('rules = ["elbo", "iso-kl[nats=1]"]', "rules = []"), "cell 'a task': trials and the rules"),
        (('controls = ["control"]', 'controls = ["contrul"]'), "cell 'a task': unknown model 'contrul'"),
        (("trials = 2", "trials = 0"), "greater than or equal to 1"),
        (('"elbo", ', '"best", '), "'elbo', 'cured' or 'iso-kl'"),
        (
            ('rate" = "mdr" }', 'rate" = "mdr[nats=1|2]" }'),
            "what is searched of 'minimum desired rate' is one contender",
        ),
        (('reference = "no latent variable"', 'reference = "VAE"'), "two models of a league, got 'VAE' for both"),
        (('control = "skip"', '" control" = "skip"'), "name without spaces at its ends, got ' control'"),
        (('control = "skip"', '"" = "skip"'), "name without spaces at its ends, got ''"),
    ],
)
def test_a_suite_that_cannot_be_tuned_is_one_line(wrong, said, suite_file):
    path = Path(suite_file)
    path.write_text(SUITE.replace(*wrong))
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        suites.suite(suite_file)
    assert "\n" not in str(caught.value)


def searching(suite_file, declared, searched):
    """What is tuned of a model with this contender."""
    Path(suite_file).write_text(SUITE.replace('"mdr[nats=3]"', f'"{declared}"').replace('"mdr"', f'"{searched}"'))
    (cell,) = suites.suite(suite_file).cells("small")
    return cell.tuned["minimum desired rate"]


@pytest.mark.parametrize(
    ("declared", "searched"),
    [
        ("mdr[nats=3]", "mdr"),
        ("mdr[nats=3.0]", "mdr[nats=3]"),
        ("mdr[nats=3]@rate=2", "mdr"),
        ("mdr", "mdr[nats=3]@rate=1"),
        ("skip[sites=2]+mdr[nats=3]", "skip[sites=2]+mdr"),
        ("vae@rate=2", "vae"),
    ],
)
def test_values_may_be_left_out_of_what_is_searched(suite_file, declared, searched):
    assert searching(suite_file, declared, searched) == searched


@pytest.mark.parametrize(
    ("declared", "searched"),
    [
        ("mdr[nats=3]", "skip"),
        ("mdr[nats=3]", "vae"),
        ("vae", "skip"),
        ("mdr[nats=3]", "mdr[nats=4]"),
        ("mdr[nats=3]", "mdr+skip"),
        ("mdr+skip", "skip+mdr"),
        ("mdr+skip", "mdr"),
        ("mdr@rate=3", "mdr@rate=1"),
    ],
)
def test_what_is_searched_of_a_model_is_its_own_contender(suite_file, declared, searched):
    with pytest.raises(UsageError) as caught:
        searching(suite_file, declared, searched)
    assert f"is its contender '{declared}' without some of its values, got '{searched}'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_variant_writes_in_place_of_a_contender_is_tuned_as_it_is_written(suite_file):
    replaced = '[variants.other]\ndescription = "another"\ncontenders = { "minimum desired rate" = "geco[kappa=1]" }\n'
    Path(suite_file).write_text(SUITE + replaced)
    (cell,) = suites.suite(suite_file).cells("small", ["other"])
    assert cell.tuned["minimum desired rate"] == "geco[kappa=1]"


def test_a_cell_has_contenders_beside_the_shared_ones(suite_file):
    Path(suite_file).write_text(f'{SUITE}further = {{ annealed = "kl-annealing" }}\n')
    (cell,) = suites.suite(suite_file).cells("small")
    assert cell.contenders == {
        "VAE": "vae",
        "no latent variable": "no-latent",
        "minimum desired rate": "mdr[nats=3]",
        "control": "skip",
        "annealed": "kl-annealing",
    }
    assert cell.tuned == {
        "VAE": "vae",
        "no latent variable": "no-latent",
        "minimum desired rate": "mdr",
        "annealed": "kl-annealing",
    }


VARIANT = """
[scales.small.variants.steps]
description = "other budgets"
tuned = false
budgets = { "a task" = "3steps" }
"""


def test_a_variant_may_have_budgets_of_cells_and_no_trials(suite_file):
    Path(suite_file).write_text(SUITE + VARIANT)
    (usual,), (varied,) = (suites.suite(suite_file).cells("small", names) for names in ((), ("steps",)))
    assert (usual.budget, varied.budget) == ("2steps", "3steps")
    assert usual.trial_request() is not None
    assert varied.trial_request() is None
    assert varied.contenders == usual.contenders
    Path(suite_file).write_text(SUITE + VARIANT.replace("a task", "no task"))
    with pytest.raises(UsageError, match="variant 'steps' has a budget for an unknown cell 'no task'"):
        suites.suite(suite_file)


def refused(suite_file):
    """The one line that says what is wrong with a suite, and in which file."""
    with pytest.raises(UsageError) as caught:
        suites.suite(suite_file)
    assert suite_file in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("table", ["variants", "scales.small.variants"])
@pytest.mark.parametrize(
    ("contenders", "said"),
    [
        ('"minimum desired rat" = "mdr[nats=2]"', "unknown model 'minimum desired rat'. Did you mean 'minimum desired"),
        ('VAE = "vae@rate=1|3"', "variants.other.contenders: model 'VAE' of a variant is one contender, and no sweep"),
        ('VAE = "nosuch["', "variants.other.contenders: model 'VAE': cannot read 'nosuch['"),
        ('VAE = ""', "variants.other.contenders: model 'VAE': cannot read ''"),
    ],
)
def test_a_variant_is_checked_when_the_file_is_read(suite_file, table, contenders, said):
    Path(suite_file).write_text(f'{SUITE}[{table}.other]\ndescription = "another"\ncontenders = {{ {contenders} }}\n')
    assert said in refused(suite_file)


PAIRED = """
[[scales.small.cells]]
name = "another"
against = "a task"
settings = ["latent_dim=3"]
rules = ["elbo"]

[scales.small.variants.shorter]
description = "one cell has another budget"
budgets = { "a task" = "1steps" }
"""


def test_a_variant_keeps_the_pairs_of_cells(suite_file):
    Path(suite_file).write_text(SUITE + PAIRED)
    assert "variant 'shorter': cells: cell 'another' is against 'a task' of another dataset" in refused(suite_file)


def test_variants_act_one_after_the_other(suite_file):
    variants = (
        f'[variants.{name}]\ndescription = "d"\ncontenders = {{ control = "skip@rate={rate}" }}\n'
        for name, rate in (("two", 2), ("three", 3))
    )
    Path(suite_file).write_text(SUITE + "".join(variants))
    (cell,) = suites.suite(suite_file).cells("small", ("two", "three"))
    assert cell.contenders["control"] == "skip@rate=3"


def test_a_rate_of_a_sweep_is_not_searched_be_it_1(suite_file):
    Path(suite_file).write_text(SUITE + 'further = { FB = "free-bits@rate=1|2" }\n')
    (cell,) = suites.suite(suite_file).cells("small")
    for model, name in {"FB": "free-bits@rate=1.0", "FB@rate=2.0": "free-bits@rate=2.0"}.items():
        (found,) = tuned_contenders(cell.tuned[model], CATALOG)
        assert (list(found.axes), found.name) == (["free-bits.nats"], name)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("trials = 2", "trials = true", "trials: Input should be a valid integer, got True"),
        ("trials = 2", 'trials = "3"', "trials: Input should be a valid integer, got '3'"),
        ("trials = 2", "trails = 3", "scales.small: unknown field 'trails'. Did you mean 'trials'?"),
        ("hours = 0.01", "hours = inf", "hours: Input should be a finite number"),
        ("hours = 0.01", "hours = true", "hours: Input should be a valid number"),
        ("nats=1", "nats=true", "nats: Input should be a valid number"),
        ('"mdr" }', '"" }', "cannot read '': expected a name"),
        (
            'follows = "nobody"',
            "follows = 'n'\nkeep_codes = 'no'",
            "keep_codes: Input should be a valid boolean, got 'no'",
        ),
    ],
)
def test_a_value_of_another_type_is_one_line(suite_file, old, new, said):
    assert old in SUITE
    Path(suite_file).write_text(SUITE.replace(old, new))
    assert said in refused(suite_file)

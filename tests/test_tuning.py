"""Trials of a tuning: which settings are drawn, that they see no test split, and what is chosen of them."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from records import spec, trial_record

from collapsebench.components import discovery
from collapsebench.components.descriptions import describe_methods, with_required
from collapsebench.components.interfaces import Dataset
from collapsebench.components.search import Range
from collapsebench.data.splits import Vectors
from collapsebench.errors import UsageError
from collapsebench.experiment.planning import Request, SplitCache, plan
from collapsebench.experiment.tuning import RATES, sobol, tuned_contenders
from collapsebench.record import Outcome
from collapsebench.reporting.leaderboard import likelihood_limits
from collapsebench.reporting.tuning import borders, choices, chosen, trials_of, tuning_text
from collapsebench.spec import Choice, Evaluation, Rule

CATALOG = discovery.load()
LINEAR = "linear-gaussian"
BARE = ("geco",)
"""Methods that need a value which nobody can guess: it is to be given."""
METHODS = [with_required(each.entry.component) if each.name in BARE else each.name for each in describe_methods()]
ROUNDING = 64 * math.log(1.005) / math.log(16)
"""By how much of one of 64 equal parts of [1/4, 4] the rounding to three digits can move a rate."""


def tuned(text):
    (found,) = tuned_contenders(text, CATALOG)
    return found


def labels(text, number):
    return [trial.label for trial in tuned(text).trials(number, CATALOG)]


def rule(text):
    return Rule.model_validate(text)


@given(st.integers(0, 2**64 - 1), st.integers(1, 8), st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_each_axis_has_one_point_in_each_of_equal_parts(seed, dimensions, exponent):
    number = 2**exponent
    for axis in zip(*sobol(seed, dimensions, number), strict=True):
        assert sorted(math.floor(share * number) for share in axis) == list(range(number))


@given(st.integers(0, 2**64 - 1), st.integers(0, 4))
@settings(deadline=None, max_examples=30)
def test_two_axes_have_one_point_in_each_box_of_equal_size(seed, wide):
    """Sixteen points in boxes of every shape of area 1/16: the property of a net, which draws at random do not have."""
    across, along = 2**wide, 2 ** (4 - wide)
    boxes = {(math.floor(x * across), math.floor(y * along)) for x, y in sobol(seed, 2, 16)}
    assert len(boxes) == 16


@given(st.integers(0, 2**64 - 1), st.integers(1, 4), st.integers(1, 40), st.integers(1, 40))
@settings(deadline=None, max_examples=30)
def test_the_first_points_of_many_are_those_of_a_few(seed, dimensions, few, many):
    assert sobol(seed, dimensions, max(few, many))[:few] == sobol(seed, dimensions, few)


@pytest.mark.parametrize("text", ["vae", "skip+free-bits", "du-vae", "sa-vae@rate=2"])
def test_trials_are_the_same_each_time_and_the_first_of_many_are_those_of_a_few(text):
    many = labels(text, 16)
    assert many == labels(text, 16)
    assert [labels(text, number) for number in (1, 3, 8)] == [many[:number] for number in (1, 3, 8)]
    assert len(set(many)) == len(many)


def test_trials_are_those_that_they_always_were():
    """Golden: a change here makes stored tunings useless."""
    assert labels("skip+free-bits", 4) == [
        "skip+free-bits[nats=0.0306]@rate=0.272",
        "skip+free-bits[nats=0.416]@rate=1.55",
        "skip+free-bits[nats=0.242]@rate=0.501",
        "skip+free-bits[nats=0.0747]@rate=3.33",
    ]


@pytest.mark.parametrize("text", METHODS)
def test_every_shipped_method_is_tuned_within_its_ranges(text):
    contender = tuned(text)
    ranges = {name: axis for name, axis in contender.axes.items() if isinstance(axis, Range)}
    trials = contender.trials(8, CATALOG)
    assert len({trial.label for trial in trials}) == 8
    for trial in trials:
        values = {"rate": trial.rate}
        values |= {f"{each.name}.{name}": value for each in trial.methods for name, value in each.params.items()}
        assert all(axis.low <= values[name] <= axis.high for name, axis in ranges.items())
        assert CATALOG.contender(trial.label)[0] == trial


def test_a_composition_is_searched_in_the_ranges_of_its_methods_together():
    axes = tuned("skip+free-bits+du-vae").axes
    assert list(axes) == ["free-bits.nats", "du-vae.gamma", "du-vae.rate", "rate"]
    assert axes["rate"] == RATES


def test_the_rate_is_even_on_the_scale_of_the_logarithm():
    for text in ("vae", "skip"):
        rates = sorted(trial.rate for trial in tuned(text).trials(64, CATALOG))
        shares = [math.log(rate / RATES.low) / math.log(RATES.high / RATES.low) for rate in rates]
        assert all(abs(64 * share - cell - 0.5) < 0.5 + ROUNDING for cell, share in enumerate(shares))


def test_choices_are_balanced_over_trials():
    steps = Counter(trial.methods[0].params["steps"] for trial in tuned("sa-vae").trials(32, CATALOG))
    assert steps == {10: 16, 20: 16}


def test_what_is_written_stays():
    assert tuned("free-bits[nats=2]").name == "free-bits[nats=2.0]"
    assert list(tuned("free-bits[nats=2]").axes) == ["rate"]
    assert list(tuned("free-bits@rate=2").axes) == ["free-bits.nats"]
    assert {trial.rate for trial in tuned("free-bits@rate=2").trials(4, CATALOG)} == {2.0}
    assert labels("free-bits[nats=2]@rate=2", 8) == ["free-bits[nats=2.0]@rate=2.0"]
    assert sorted(labels("sa-vae@rate=2", 8)) == ["sa-vae@rate=2.0", "sa-vae[steps=20]@rate=2.0"]


def test_how_a_contender_is_written_does_not_change_its_trials():
    assert labels("free-bits[per=unit]", 4) == labels(" free-bits ", 4)
    assert labels("free-bits[per=batch]", 4) != labels("free-bits", 4)


def test_a_required_field_without_a_range_is_to_be_given():
    with pytest.raises(UsageError, match=r"method 'geco' needs goal: write geco\[goal=100\]"):
        tuned("geco")
    assert tuned("control-vae").name == "control-vae"


def planned(tmp_path, *methods, trials=4, **fields):
    given = {"dataset": LINEAR, "budget": "4steps", "settings": ("evaluation.selection=[elbo]",), "seeds": (0,)}
    request = Request(methods=methods, trials=trials, **(given | fields))
    return plan([request], CATALOG, SplitCache(CATALOG, tmp_path)).specs


def test_every_contender_gets_as_many_trials_whoever_is_beside_it(tmp_path):
    together = [spec.contender.label for spec in planned(tmp_path, "beta-vae", "free-bits[nats=0.1|0.2]")]
    alone = [labels(text, 4) for text in ("vae", "beta-vae", "free-bits[nats=0.1]", "free-bits[nats=0.2]")]
    assert together == [label for each in alone for label in each]


def test_a_rate_that_is_written_is_no_tuning_of_the_baseline(tmp_path):
    """It stays, be it 1: the baseline has all its trials beside it."""
    alone = labels("vae", 4)
    for methods in (("vae", "vae@rate=1"), ("vae@rate=1",), ("vae@rate=1", "vae")):
        specs = planned(tmp_path, *methods)
        assert sorted(spec.contender.label for spec in specs) == sorted({*alone, "vae"})
    both = ("free-bits", "free-bits@rate=1")
    assert len(planned(tmp_path, *both, baseline=False)) == 8
    assert [each.name for text in both for each in tuned_contenders(text, CATALOG)] == [
        "free-bits",
        "free-bits@rate=1.0",
    ]


def test_a_trial_of_two_contenders_is_one_run(tmp_path):
    specs = planned(tmp_path, "beta-vae", labels("beta-vae", 1)[0], baseline=False)
    assert [spec.contender.label for spec in specs] == labels("beta-vae", 4)


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        (("beta-vae", "beta-vae"), "contender 'beta-vae' is given twice"),
        (("beta-vae[beta=0.1|0.10]",), "has the alternative 0.1 twice"),
        (("vae+skip",), "'vae' is the baseline without any method"),
        (("beta-vea",), "unknown method 'beta-vea'. Did you mean 'beta-vae'?"),
        (("control-vae[integral=1]",), "method 'control-vae': "),
    ],
)
def test_contenders_that_cannot_be_tuned_are_one_line(methods, said, tmp_path):
    with pytest.raises(UsageError) as caught:
        planned(tmp_path, *methods)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_trials_have_a_protocol_of_their_own_with_rules_and_without_metrics(tmp_path):
    (trial, *_) = planned(tmp_path, "vae", trials=1)
    (usual,) = planned(tmp_path, "vae", trials=None, settings=())
    (cured,) = planned(tmp_path, "vae", trials=1, settings=('evaluation.selection=["cured[nats=1]"]',))
    evaluation = trial.protocol.setting.evaluation
    assert (evaluation.metrics, evaluation.selection) == ((), (rule("elbo"),))
    assert len({each.protocol.protocol_id for each in (trial, usual, cured)}) == 3
    assert "selection" not in usual.model_dump_json()
    assert trial.protocol.track_label == "quick[evaluation.selection=[elbo]]"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("cured", r"rule 'cured' needs nats: write cured\[nats=2\]"),
        ("elbo[nats=1]", "rule 'elbo' has no nats"),
        ("iso-kl[nats=-1]", "greater than or equal to 0"),
        ("elbo+cured", "write one rule"),
        ("best", "Input should be 'elbo', 'cured' or 'iso-kl'"),
    ],
)
def test_a_rule_that_cannot_be_is_an_error(written, said):
    with pytest.raises(ValidationError, match=said):
        rule(written)


@pytest.mark.parametrize("text", ["elbo", "cured[nats=1.0]", "iso-kl[nats=4.0]"])
def test_a_rule_reads_back_as_printed(text):
    assert str(rule(text)) == text
    assert Rule.model_validate_json(rule(text).model_dump_json()) == rule(text)


def test_an_evaluation_with_rules_drops_the_metrics_of_its_track():
    fields = {"every": "10steps", "metrics": {"kl": {}}}
    assert Evaluation.model_validate(fields | {"selection": ["elbo"]}).metrics == ()
    assert [each.name for each in Evaluation.model_validate(fields).metrics] == ["kl"]


class Sealed(Vectors):
    """A test split that nobody may look at. Its hash is known from before."""

    def batches(self, batch_size, seed=None):
        raise AssertionError("somebody looks at the test split")

    @property
    def predictions(self):
        raise AssertionError("somebody looks at the test split")


class SealedCache(SplitCache):
    def of(self, dataset):
        splits = super().of(dataset)
        return replace(splits, test=Sealed(*splits.test.arrays()))


@pytest.mark.torch
def test_a_trial_is_computed_without_the_test_split(tmp_path):
    from collapsebench.experiment.checkpoint import Checkpoints
    from collapsebench.experiment.runner import Runner

    (trial,) = planned(tmp_path, "beta-vae", trials=1, baseline=False)
    (usual,) = planned(tmp_path, "beta-vae", trials=None, baseline=False, settings=())
    runner = Runner(CATALOG, SealedCache(CATALOG, tmp_path), Checkpoints(tmp_path), lambda event: None)
    found = runner.run(trial)
    assert (found.outcome, found.values, found.declined, found.message) == (Outcome.FINISHED, (), (), "")
    assert set(found.points[-1].values) >= {"neg_elbo", "kl", "mi_lower"}
    assert "somebody looks at the test split" in runner.run(usual).message


RULES = ("elbo", "cured[nats=0.5]", "iso-kl[nats=1]")


def winner(records, text="elbo"):
    found = chosen(trials_of(records, CATALOG).values(), rule(text))
    return found and found.contender.label


@pytest.mark.parametrize("text", RULES)
def test_the_contender_that_would_win_by_test_values_is_not_chosen(text):
    good = trial_record("skip[a=1]", neg_elbo=30, kl=1, mi_lower=1, test={"neg_elbo": 90, "kl": 0, "iw_nll": 90})
    planted = trial_record("skip[a=2]", neg_elbo=31, kl=2, mi_lower=0.6, test={"neg_elbo": 1, "kl": 1, "iw_nll": 1})
    assert winner([good, planted], text) == winner([planted, good], text) == "skip[a=1]"


values = st.floats(0, 100)


@given(
    st.lists(st.tuples(values, values, values), min_size=1, max_size=5),
    st.lists(st.tuples(values, values), min_size=5, max_size=5),
    st.sampled_from(RULES),
    st.randoms(use_true_random=False),
)
def test_a_choice_depends_on_no_test_value_and_on_no_order(valid, test, text, random):
    def records(numbers):
        return [
            trial_record(f"skip[a={at}]", neg_elbo=elbo, kl=kl, mi_lower=mi, test={"neg_elbo": own[0], "kl": own[1]})
            for at, ((elbo, kl, mi), own) in enumerate(zip(valid, numbers, strict=False))
        ]

    plain, other = records(test), records(test[::-1])
    random.shuffle(other)
    assert winner(plain, text) == winner(other, text)


def test_each_rule_chooses_what_it_says():
    records = [
        trial_record("skip[a=1]", neg_elbo=30, kl=0.1, mi_lower=0.1),
        trial_record("skip[a=2]", neg_elbo=31, kl=2.5, mi_lower=2.0),
        trial_record("skip[a=3]", neg_elbo=35, kl=4.1, mi_lower=3.0),
    ]
    assert winner(records, "elbo") == "skip[a=1]"
    assert winner(records, "cured[nats=2]") == "skip[a=2]"
    assert winner(records, "cured[nats=2.1]") == "skip[a=3]"
    assert winner(records, "cured[nats=9]") is None
    assert winner(records, "iso-kl[nats=4]") == "skip[a=3]"
    assert winner(records, "iso-kl[nats=0]") == "skip[a=1]"
    assert winner([], "elbo") is None


@pytest.mark.parametrize("outcome", [Outcome.DIVERGED, Outcome.FAILED, Outcome.STARTED, Outcome.INTERRUPTED])
def test_a_trial_without_a_result_is_not_chosen(outcome):
    lost = trial_record("skip[a=1]", neg_elbo=1, outcome=outcome)
    assert winner([lost, trial_record("skip[a=2]")]) == "skip[a=2]"
    assert winner([lost]) is None


@pytest.mark.parametrize("wrong", [math.nan, -math.inf, math.inf])
def test_a_number_that_is_none_does_not_win(wrong):
    assert winner([trial_record("skip[a=1]", neg_elbo=wrong), trial_record("skip[a=2]")]) == "skip[a=2]"
    assert winner([trial_record("skip[a=1]", mi_lower=wrong)], "cured[nats=0]") is None
    assert winner([trial_record("skip[a=1]", kl=wrong)], "iso-kl[nats=0]") is None


def test_a_trial_without_a_bound_has_no_result_for_any_rule():
    both = [trial_record("skip[a=1]", kl=0.0, neg_elbo=math.inf), trial_record("skip[a=2]", kl=3.0)]
    assert [winner(both, text) for text in RULES] == ["skip[a=2]"] * len(RULES)


@pytest.mark.parametrize("text", RULES)
def test_runs_of_other_seeds_are_no_trials(text):
    """A better number, a worse one and none: each would decide otherwise if it counted."""
    own = [trial_record("skip[a=1]", neg_elbo=30), trial_record("skip[a=2]", neg_elbo=31, kl=1.5)]
    others = [
        trial_record("skip[a=1]", seed=1, outcome=Outcome.DIVERGED),
        trial_record("skip[a=1]", seed=2, neg_elbo=99, kl=50, mi_lower=0),
        trial_record("skip[a=2]", seed=2, neg_elbo=1, kl=1, mi_lower=9),
        trial_record("skip[a=3]", seed=5, neg_elbo=1, kl=1, mi_lower=9),
    ]
    assert winner([*others, *own], text) == winner(own, text) == "skip[a=1]"
    assert trials_of([*others, *own], CATALOG) == trials_of(own, CATALOG)
    assert trials_of(others, CATALOG) == {}


def test_no_rule_chooses_numbers_that_no_model_can_have():
    """Those below the likelihood of the distribution that made the data, however often a record says so."""
    protocol = {"dataset": CATALOG.resolve(Dataset, Choice(name=LINEAR))[1]}
    limit = likelihood_limits(CATALOG, "valid")(spec(**protocol).protocol).nll.value
    broken, honest = (
        trial_record(f"skip[a={at}]", neg_elbo=bound, kl=1, mi_lower=1, protocol=protocol)
        for at, bound in ((1, limit - 1), (2, limit + 1))
    )
    assert [winner([broken, honest], text) for text in RULES] == ["skip[a=2]"] * len(RULES)
    assert [winner([broken], text) for text in RULES] == [None] * len(RULES)
    found = choices({"skip": [broken.spec.contender, honest.spec.contender]}, [broken, honest], [rule("elbo")], CATALOG)
    assert (found[0].trials, found[0].drawn) == (1, 2)
    assert "No rule chooses skip[a=1]: neg_elbo" in tuning_text(found)


@pytest.mark.parametrize("protocol", [None, {"dataset": CATALOG.resolve(Dataset, Choice(name=LINEAR))[1]}])
@pytest.mark.parametrize(
    "numbers", [{"kl": -1000.0}, {"kl": 0.5, "mi_lower": 1e6}, {"kl": 1e-9, "mi_lower": 400.0}, {"mi_upper": -900.0}]
)
def test_no_rule_chooses_a_kl_or_an_information_that_cannot_be(numbers, protocol):
    """On whatever data. An estimate may be a little below zero."""
    assert [winner([trial_record("skip", protocol=protocol, **numbers)], text) for text in RULES] == [None] * 3
    small = trial_record("skip", protocol=protocol, kl=-1e-3, mi_lower=2e-3)
    assert winner([small], "iso-kl[nats=0]") == "skip"


def test_choices_are_of_the_own_trials_of_a_contender():
    one, two, three = (spec(f"skip[a={at}]").contender for at in (1, 2, 3))
    drawn = {"first": [one, two], "second": [three]}
    records = [trial_record("skip[a=1]", neg_elbo=30), trial_record("skip[a=3]", neg_elbo=20)]
    first, second = choices(drawn, records, [rule("elbo")], CATALOG)
    assert (first.contender, first.chosen.contender.label, first.trials, first.drawn) == ("first", "skip[a=1]", 1, 2)
    assert (second.contender, second.chosen.contender.label, second.trials, second.drawn) == (
        "second",
        "skip[a=3]",
        1,
        1,
    )


def test_a_choice_at_the_border_of_the_trials_is_named():
    drawn = [spec(f"skip[a={at},b=1,c={at % 2}]@rate={rate}").contender for at, rate in ((1, 4), (2, 2), (3, 3))]
    assert [list(borders(each, drawn)) for each in drawn] == [
        ["rate high", "skip.a low"],
        ["rate low"],
        ["skip.a high"],
    ]
    (found,) = choices({"skip": drawn}, [trial_record(drawn[0].label)], [rule("elbo")], CATALOG)
    assert found.borders == ("rate high", "skip.a low")


def test_neither_the_order_of_rules_nor_a_rule_that_is_written_twice_makes_another_protocol():
    fields = {"every": "10steps"}
    one, other = (
        Evaluation.model_validate(fields | {"selection": list(rules)})
        for rules in (RULES, (*RULES[::-1], "cured[nats=0.50]"))
    )
    assert one == other
    assert one.model_dump_json() == other.model_dump_json()


OWN = ("-d", LINEAR, "--budget", "4steps", "--set", "evaluation.every=2steps", "--threads", "1", "--trials", "2")


@pytest.mark.torch
def test_tune_runs_trials_once_and_says_what_is_chosen(tmp_path, command):
    asked = ("tune", *OWN, "-m", "beta-vae", "--select", "elbo", "--select", "cured[nats=99]")
    planned = command(*asked, "--dry-run")
    assert planned.code == 0
    first = command(*asked)
    assert (first.code, first.err) == (0, "")
    table = [line for line in first.out.splitlines() if " elbo " in line or " cured[" in line]
    assert [line.split()[:2] for line in table] == [
        [name, text] for name in ("vae", "beta-vae") for text in ("elbo", "cured[nats=99.0]")
    ]
    assert all("no trial fits" in line for line in table if "cured" in line)
    told = first.out.splitlines()[-1]
    assert told.startswith("next: collapsebench run --dataset linear-gaussian --track quick --budget 4steps --set ")
    assert "selection" not in told
    ran = command(*shlex.split(told.removeprefix("next: collapsebench "))[:-1], "1", "--dry-run")
    assert ran.code == 0
    assert all(line.split()[2] in ran.out for line in table if " elbo " in line)
    again = command(*asked)
    assert "4 already stored, 0 to run" in again.out
    assert [line for line in again.out.splitlines() if line in table] == table
    assert not list(Path().rglob("*.weights"))
    more = command(*asked, "--trials", "3", "--dry-run").out
    assert "2 to run" in more or more.count("to run") >= 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--keep-codes",), "--keep-codes writes codes of the test split, which trials do not see"),
        (("--set", "evaluation.metrics=[kl]"), "trials have no metrics of the test split; rules are given by --select"),
        (("--set", "evaluation.selection=[elbo]"), "rules are given by --select"),
        (("--select", "cured"), "rule 'cured' needs nats: write cured[nats=2]"),
        (("--select", "test"), "Input should be 'elbo', 'cured' or 'iso-kl', got 'test'"),
        (("--select", "elbo["), "cannot read 'elbo['"),
        (("--no-baseline",), "nothing to run: give --method, or leave out --no-baseline"),
        (("--trials", "0"), "0 is not in the range 1<=x<=256"),
    ],
)
def test_a_tuning_that_cannot_be_is_one_line(options, said, command):
    answer = command("tune", *OWN, *options)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("rate", [1.0, 2.0])
def test_a_rate_that_is_written_stays_though_it_is_one(rate):
    assert {trial.rate for trial in tuned(f"beta-vae@rate={rate}").trials(4, CATALOG)} == {rate}
    assert len(labels(f"vae@rate={rate}", 4)) == 1


def test_a_rate_that_is_not_written_is_searched():
    assert len({trial.rate for trial in tuned("beta-vae").trials(4, CATALOG)}) == 4

"""Identities, budgets and tracks."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from records import specs

from collapsebench.errors import UsageError
from collapsebench.spec import Budget, Contender, MethodChoice, Protocol, RunSpec, Setting, Track, Unit, run_ids

SETTING = {
    "latent_dim": 2,
    "encoder": {"name": "lstm", "hidden": 8},
    "decoder": "lstm",
    "optimizer": {"name": "adam", "learning_rate": 1e-3},
    "batch_size": 4,
    "evaluation": {"every": "10steps", "metrics": {"iw-nll": {"samples": 5}, "kl": {}}},
}


def spec(seed=1, setting=SETTING, **protocol) -> RunSpec:
    fields = {
        "dataset": {"name": "digits", "params": {"threshold": 8}},
        "splits": {"train": "a", "valid": "b", "test": "c"},
        "track": "quick",
        "setting": setting,
        "budget": "350steps",
    }
    method = MethodChoice(name="skip", params={"x": 1.0}, passed={"x": 1.0})
    return RunSpec(contender=Contender.of((method,)), protocol=Protocol(**(fields | protocol)), seed=seed)


def test_identities_are_stable_over_releases():
    """Golden: a change here makes every stored run unreachable; raise IDENTITY_VERSION if it must be."""
    assert spec().run_id == "8ea35a95edd1c94f"
    assert spec().protocol.protocol_id == "857e5d2957d6d7b0"


def test_one_and_one_point_zero_are_the_same_run():
    whole = SETTING | {"optimizer": {"name": "adam", "learning_rate": 1, "clip": 5}}
    real = SETTING | {"optimizer": {"name": "adam", "learning_rate": 1.0, "clip": 5.0}}
    assert spec(setting=whole).run_id == spec(setting=real).run_id
    assert spec(budget="350steps").run_id == spec(budget={"amount": 350, "unit": "steps"}).run_id


@given(specs(), st.lists(st.integers(0, 2**63 - 1), max_size=5))
def test_the_ids_of_many_seeds_are_those_of_their_specs(spec, seeds):
    run_id = run_ids(spec)
    for seed in (spec.seed, *seeds, *seeds):
        assert run_id(seed) == spec.model_copy(update={"seed": seed}).run_id


def test_the_order_of_keys_does_not_matter():
    turned = dict(reversed(SETTING.items()))
    assert spec(setting=turned).run_id == spec().run_id


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"budget": "351steps"},
        {"track": "paper"},
        {"splits": {"train": "a", "valid": "b", "test": "d"}},
        {"setting": SETTING | {"latent_dim": 3}},
        {"version": "1.0"},
    ],
)
def test_whatever_decides_a_run_changes_its_identity(other):
    assert spec(**other).run_id != spec().run_id


def test_labels_are_no_part_of_the_identity():
    silent = RunSpec(
        contender=Contender(methods=(MethodChoice(name="skip", params={"x": 1.0}),)), protocol=spec().protocol, seed=1
    )
    assert silent.run_id == spec().run_id


def test_a_spec_survives_json():
    again = RunSpec.model_validate_json(spec(seed=2**62 + 1).model_dump_json())
    assert again.run_id == spec(seed=2**62 + 1).run_id
    assert again.seed == 2**62 + 1


def test_a_spec_cannot_be_changed():
    with pytest.raises(ValidationError):
        spec().seed = 3


@given(st.floats(min_value=1e-3, max_value=1e15), st.sampled_from(list(Unit)))
def test_budgets_read_back(amount, unit):
    budget = Budget(amount=amount, unit=unit)
    assert math.isclose(Budget.parse(str(budget)).amount, amount, rel_tol=1e-11)
    assert Budget.parse(str(budget)).unit is unit


@pytest.mark.parametrize("text", ["350steps", "5e13flops", "1.25e11flops", "0.5epochs", "1e6examples", "90seconds"])
def test_budgets_are_written_as_people_write_them(text):
    assert str(Budget.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("many", "cannot read budget 'many'"),
        ("10", "cannot read budget '10'"),
        ("10 parsecs", "unknown budget unit 'parsecs'"),
        ("10step", "Did you mean 'steps'?"),
        ("0steps", "must be greater than zero"),
        ("-3epochs", "must be greater than zero"),
        ("1.2.3steps", "is not a number"),
        ("1e400steps", "must be finite"),
        ("1e-400steps", "must be greater than zero"),
    ],
)
def test_bad_budgets_are_one_clear_line(text, expected):
    with pytest.raises(UsageError) as caught:
        Budget.parse(text)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_flat_track_is_a_setting_with_a_budget():
    track = Track.model_validate(SETTING | {"description": "d", "budget": "2epochs", "data": {"n": 3}})
    assert track.setting == Setting.model_validate(SETTING)
    assert str(track.budget) == "2epochs"
    assert track.setting.encoder.params == {"hidden": 8}
    assert [metric.name for metric in track.setting.evaluation.metrics] == ["iw-nll", "kl"]


def test_one_metric_that_stands_for_all_is_told_to_be_a_list():
    evaluation = {"every": "10steps", "metrics": "kl"}
    with pytest.raises(ValidationError, match=r"write a list, as in \[kl\]"):
        Track.model_validate(SETTING | {"description": "d", "budget": "2epochs", "evaluation": evaluation})


@pytest.mark.parametrize("extra", [{"methods": ["skip"]}, {"optimiser": {}}])
def test_tracks_refuse_unknown_fields_such_as_methods(extra):
    with pytest.raises(ValidationError, match="Extra inputs"):
        Track.model_validate(SETTING | {"description": "d", "budget": "2epochs"} | extra)


def test_the_track_label_shows_what_was_overridden():
    assert spec(overrides={"decoder.layers": 3}).protocol.track_label == "quick[decoder.layers=3]"

"""Every shipped method, alone and beside every other one: what a method must do, whatever it does.

A method is found by its entry point, and tried as `composing` says.
"""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import composing
import pytest
import torch
from cogapp import Cog
from composing import (
    EXPLAINED,
    KINDS,
    Ending,
    Trained,
    alike,
    begin,
    fitting,
    methods,
    ordered,
    pairs,
    shipped,
    singles,
    train,
    tried,
)
from tiny import STEPS

from collapsebench.errors import UsageError
from collapsebench.experiment.checkpoint import Checkpoints
from collapsebench.experiment.training import TrainingState
from collapsebench.spec import Unit

ROOT = Path(__file__).parents[1]
BUDGETS = {
    Unit.STEPS: "5steps",
    Unit.EPOCHS: "2epochs",
    Unit.EXAMPLES: "20examples",
    Unit.SECONDS: "600seconds",
    Unit.FLOPS: "1e12flops",
}

every_method = pytest.mark.parametrize("name", shipped())
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_method
def test_what_a_method_requires_can_be_chosen(name):
    try:
        methods(name)
    except UsageError as error:
        pytest.fail(f"{error}: give the fields of '{name}' that have no default `examples`", pytrace=False)


@every_method
def test_it_trains_on_some_data_and_has_an_effect_or_is_refused_in_one_line(name):
    assert list(fitting(name)), [trial.text for method, _, trial in singles() if method == name]
    failed = [trial.text for method, _, trial in singles() if method == name and trial.ending is Ending.FAILED]
    assert not failed


@pytest.mark.slow
@every_method
def test_the_same_seed_gives_the_same_bits_and_another_one_others(name):
    kind = next(fitting(name))
    first, again, other = (train((name,), kind, seed) for seed in (1, 1, 2))
    assert alike(first, again)
    assert not alike(first, other)


def own_parameters(module):
    """The parameters of a module without its children, and their shapes."""
    found = dict(module.named_parameters(recurse=False))
    return found, {name: parameter.shape for name, parameter in found.items()}


@every_method
def test_what_it_shares_with_the_baseline_starts_equal(name):
    """Modules of the same name and shapes: what a contender compares is itself, and no luck of the start."""
    for kind in fitting(name):
        plain, own = (dict(begin(names, kind).vae.named_modules()) for names in ((), (name,)))
        pairs = [(own_parameters(plain[each]), own_parameters(own[each])) for each in plain if each in own]
        shared = [(one, other) for (one, shapes), (other, others) in pairs if shapes and shapes == others]
        assert shared
        assert all(torch.equal(one[each], other[each]) for one, other in shared for each in one)


@pytest.mark.slow
@every_method
@pytest.mark.parametrize("unit", Unit)
def test_it_trains_under_a_budget_of_any_unit(name, unit):
    kind = next(fitting(name))
    setup = begin((name,), kind, budget=BUDGETS[unit])
    state = TrainingState.start(setup)
    assert state.meter.affords((4,))
    composing.steps(setup, state, kind)
    assert 0 < state.meter.spent(unit) < setup.budget.amount
    assert 0 < state.progress().fraction < 1


def leaves(value):
    """The tensors and plain values in what a state keeps, as Python writes them."""
    if isinstance(value, dict):
        return [leaf for key in value for leaf in (key, *leaves(value[key]))]
    if isinstance(value, list | tuple | set):
        return [leaf for each in value for leaf in leaves(each)]
    return [repr(value.tolist() if isinstance(value, torch.Tensor) else value)]


@pytest.mark.slow
@every_method
@every_kind
def test_killed_and_resumed_it_goes_on_to_the_same_bits(name, kind, tmp_path):
    if kind not in fitting(name):
        assert composing.alone(name, kind).ending is Ending.REFUSED
        return
    whole = begin((name,), kind)
    wanted = TrainingState.start(whole)
    losses = composing.steps(whole, wanted, kind)
    for stop in range(1, STEPS):
        killed, resumed = (begin((name,), kind) for _ in range(2))
        first, second = map(TrainingState.start, (killed, resumed))
        checkpoint = Checkpoints(tmp_path).of(f"{stop:016}", {}, pytest.fail)
        done = composing.steps(killed, first, kind, slice(stop))
        checkpoint.save(first.state())
        second.load(checkpoint.load())
        assert losses == [*done, *composing.steps(resumed, second, kind, slice(stop, None))]
        for part in ("vae", "methods", "optimizer", "losses", "kl_weight"):
            assert leaves(second.state()[part]) == leaves(wanted.state()[part]), part


def test_every_pair_trains_or_is_refused_as_the_page_says():
    """If the page says something else: `tox run -e docs -- -r` writes it anew."""
    assert [trial.text for trial in pairs().values() if trial.ending is Ending.FAILED] == []
    folders = [option for folder in ("docs/_ext", "tests") for option in ("-I", str(ROOT / folder))]
    assert Cog().main(["cog", "--check", "--diff", *folders, str(ROOT / "docs/combining.md")]) == 0


@pytest.mark.slow
def test_every_exception_is_one():
    said = {trial.text for trial in (*pairs().values(), *(trial for *_, trial in singles()))}
    assert {*EXPLAINED.values()} <= said


@pytest.mark.slow
def test_where_order_does_not_matter_it_changes_nothing():
    """Two methods that share no hook cannot even meet."""
    met = 0
    for first, second in combinations(shipped(), 2):
        kind = next(fitting(first, second), None)
        found = None if kind is None or ordered(first, second) else tried((first, second), kind)
        if isinstance(found, Trained) and {*shipped()[first].hooks} & {*shipped()[second].hooks}:
            assert train((second, first), kind).losses == pytest.approx(found.losses, rel=1e-12), (first, second)
            met += 1
    assert met


@pytest.mark.slow
def test_every_pair_trains_on_text_too():
    """In the other order than in the table, where that is the same."""
    met = [
        (first, second)
        for (first, second), trial in pairs().items()
        if trial.ending in {Ending.TRAINS, Ending.ALIKE} and "text" in fitting(first, second) and first > second
    ]
    assert met
    for names in met:
        setup = begin(names, "text")
        losses = composing.steps(setup, TrainingState.start(setup), "text", slice(1))
        assert all(map(math.isfinite, losses)), names

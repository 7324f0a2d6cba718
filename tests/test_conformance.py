"""Everything that is shipped does what it must do, whatever it does; and every method beside every other one.

A component is found by its entry point. What it must do alone is in `collapsebench.testing`; pairs of methods are tried
as `composing` says.
"""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import composing
import pytest
from cogapp import Cog
from composing import EXPLAINED, Ending, fitting, model, ordered, pairs, shipped, singles, tried

from collapsebench.experiment.training import TrainingState
from collapsebench.testing import Conformance, checks_of
from collapsebench.testing.subjects import Trained, steps, train

ROOT = Path(__file__).parents[1]

every_method = pytest.mark.parametrize("name", shipped())


@every_method
def test_it_trains_on_some_data_and_has_an_effect_or_is_refused_in_one_line(name):
    assert list(fitting(name)), [trial.text for method, _, trial in singles() if method == name]
    failed = [trial.text for method, _, trial in singles() if method == name and trial.ending is Ending.FAILED]
    assert not failed


class Shipped(Conformance):
    """The checks of everything that is shipped."""

    @classmethod
    def checks(cls):
        """Leave out what the tests of single methods and of pairs say."""
        return tuple(check for check in checks_of(cls.component) if check.name not in {"effect", "composition"})


SMALL = {
    "lstm": {"embedding": 3, "hidden": 4},
    "gru": {"embedding": 3, "hidden": 4},
    "transformer": {"width": 4, "heads": 2, "feed_forward": 5, "positions": 5},
    "mlp": {"hidden": 5},
    "negative-binomial": {"hidden": 5},
    "resnet": {"channels": (2,)},
    "conv": {"channels": (3, 2)},
    "pixelcnn": {"layers": 2, "maps": 2},
    "gap": {"steps": 2},
    "svi": {"steps": 1},
    "vae-svi": {"steps": 1},
    "sa-vae": {"steps": 1},
}
"""Settings by name of what takes long with its defaults."""

EMBEDDED = {"digits", "linear-gaussian", "synthetic-text"}
"""The datasets that need no files."""


def component_class(entry):
    """The test class of a component."""
    component = entry.component
    own = {"component": component, "settings": SMALL.get(component.name, {}), "pytestmark": pytest.mark.slow}
    return type(f"Test_{component.kind}_{component.name.replace('-', '_')}", (Shipped,), own)


def component_classes():
    """A class for every shipped component but executors, datasets whose files are not here, and priors.

    A shipped prior gets its settings from the method that gives it, with which it is tested.
    """
    own = [entry for entry in composing.catalog().entries.values() if entry.code is None]
    tested = [each for each in own if each.component.kind not in {"executor", "dataset", "prior"}]
    return map(component_class, [*tested, *(each for each in own if each.component.name in EMBEDDED)])


globals().update({tests.__name__: tests for tests in component_classes()})


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
            assert train(model((second, first), kind)).losses == pytest.approx(found.losses, rel=1e-12), (first, second)
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
        setup = model(names, "text").setup()
        losses = steps(setup, TrainingState.start(setup), model(names, "text"), slice(1))
        assert all(map(math.isfinite, losses)), names

"""A KL that buys nothing is found, and the posterior of an honest model is not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsebench.estimates import Estimate
from collapsebench.guards.use import LEAST, unused_rate
from collapsebench.record import Guard, Value
from collapsebench.store.interchange import read_lines

BOARDS = sorted((Path(__file__).parents[1] / "results" / "leaderboards").glob("*.jsonl"))


def found(kl, gain, error=0.01):
    return unused_rate(
        [
            Value.of("kl", "kl", Estimate(kl)),
            Value.of("latent-use", "delta_shuffle", Estimate(gain, standard_error=error)),
        ]
    )


@pytest.mark.parametrize(("kl", "gain"), [(2.0, 0.0), (5.3, 0.55), (10.4, 1.14), (0.2, -0.01)])
def test_a_kl_without_use_is_found(kl, gain):
    (finding,) = found(kl, gain)
    assert finding.guard is Guard.USE
    assert finding.text == f"rate without use: of a KL of {kl:.3g} nats the decoder gains {gain:.3g}"


@pytest.mark.parametrize(
    ("kl", "gain", "error"), [(0.09, 0.0, 0.0), (0.0, 0.0, 0.0), (2.0, 0.9, 0.03), (2.0, 0.0, 0.3)]
)
def test_a_collapsed_posterior_and_a_gain_that_may_be_enough_are_not(kl, gain, error):
    assert found(kl, gain, error) == ()


@pytest.mark.parametrize("numbers", [(math.nan, 0.0), (2.0, math.nan), (math.inf, math.nan)])
def test_what_is_no_number_is_not(numbers):
    assert found(*numbers) == ()
    assert unused_rate([Value.of("kl", "kl", Estimate(2.0))]) == ()
    assert unused_rate([]) == ()


@given(st.floats(0.01, 30.0), st.floats(0.01, 30.0))
def test_the_exact_posterior_of_a_linear_model_is_not(loading, variance):
    """For x = wz + noise of the variance s^2, with the code z~ of another example.

    x, z and z~ have the variances w^2 + s^2, 1 and 1, and z~ is independent of x. So the mean gain is (E(x - w z~)^2 -
    E(x - wz)^2) / 2s^2 = w^2 / s^2, and the mean KL is the mutual information ln(1 + w^2 / s^2) / 2.
    """
    ratio = loading**2 / variance
    kl, gain = math.log1p(ratio) / 2, ratio
    assert gain >= kl
    assert found(kl, gain, 0.0) == ()


def stored(*, field):
    """The runs of the boards of every method, or of the others."""
    paths = [path for path in BOARDS if path.name.startswith("field-") is field]
    return [run for path in paths for run in read_lines(path.read_bytes().splitlines(), path.name)]


def test_no_run_of_the_boards_of_the_paper_is():
    """They are of skip, SA-VAE and their like, with the plain VAE among them."""
    runs = stored(field=False)
    rates = [value.estimate for run in runs for value in run.values if value.column == "kl"]
    assert sum(float(rate) > LEAST for rate in rates) > 50
    assert [run.run_id for run in runs if unused_rate(run.values)] == []


HELD_UP = {"capacity", "control-vae", "mdr", "delta-vae", "tilted", "vmf", "power-spherical", "mixture-prior"}
"""A floor or a target holds the KL of these up, or their prior can be far from the codes."""


def test_of_every_method_only_those_are_whose_kl_something_holds_up():
    runs = [run for run in stored(field=True) if unused_rate(run.values)]
    found = {method.name for run in runs for method in run.spec.contender.methods}
    assert {"delta-vae", "tilted", "vmf"} <= found <= HELD_UP

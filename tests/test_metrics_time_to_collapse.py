"""Time to collapse against its definition."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from collapsebench.data.splits import Vectors
from collapsebench.estimates import Declined
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.evaluation import EvaluatedSplit, Provenance
from collapsebench.metrics.time_to_collapse import TimeToCollapse
from collapsebench.model.distributions import StandardNormal
from collapsebench.model.seeding import SeededNoise
from collapsebench.model.vae import VAE, Networks
from collapsebench.record import Number, Point
from collapsebench.spec import Unit

NEVER = {"time_to_collapse": Declined("z is used at the end")}

evaluations = st.lists(
    st.tuples(st.sampled_from([0.0, 0.05, 0.1, 3.0, math.nan]), st.sampled_from([0.0, 1.0, math.nan])), max_size=7
)


def points(values):
    """One every ten steps, which are half an epoch."""
    return tuple(
        Point(
            counters={"steps": 10.0 * at, "epochs": 0.5 * at},
            values={"kl": Number.of(kl), "active_units": Number.of(units)},
        )
        for at, (kl, units) in enumerate(values, 1)
    )


def measured(values, **settings):
    vae = VAE(Networks(None, None, torch.nn.Linear(1, 1)), StandardNormal(0))
    split = Vectors(torch.zeros(3, 2).numpy())
    provenance = Provenance(split, 1, lambda: vae, points(values), Unit.EPOCHS)
    return TimeToCollapse(**settings).evaluate(
        EvaluatedSplit(vae, Amortized(), split, SeededNoise(0), 3, torch.device("cpu"), provenance)
    )


@given(evaluations)
def test_it_is_the_first_evaluation_from_which_on_z_is_unused(values):
    unused = [kl < 0.1 or units == 0 for kl, units in values]
    starts = [at for at in range(len(values)) if all(unused[at:])]
    found = measured(values)
    if starts:
        steps = 10.0 * (starts[0] + 1)
        assert found == {"time_to_collapse": (steps, None), "time_to_collapse[epochs]": (steps / 20, None)}
    else:
        assert found == NEVER


def test_a_contender_that_recovers_has_not_collapsed():
    assert measured([(0.01, 0), (0.02, 0), (2.0, 3)]) == NEVER
    assert measured([(2.0, 3), (0.01, 0), (2.0, 3), (0.05, 1), (0.0, 0)])["time_to_collapse"].value == 40


def test_the_threshold_is_a_setting():
    assert measured([(2.0, 3), (0.3, 1)]) == NEVER
    assert measured([(2.0, 3), (0.3, 1)], epsilon=0.5)["time_to_collapse"].value == 20

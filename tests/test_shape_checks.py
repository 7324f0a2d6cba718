"""The tests run with shapes checked: a module that moves out of the listed packages must not lose that in silence."""

from __future__ import annotations

import jaxtyping
import pytest
import torch

from collapsebench.metrics.estimators import importance_bound
from collapsebench.model.distributions import StandardNormal
from collapsebench.model.kernels.likelihoods import bernoulli
from collapsebench.networks.mlp import Encoder


def of_integers():
    Encoder(4, hidden=3, layers=1)(torch.zeros(2, 4, dtype=torch.int64))


def of_three_axes():
    importance_bound(torch.zeros(3, 2, 2))


def of_other_pixels():
    bernoulli(torch.full((1, 2, 3), 0.5), torch.zeros(2, 1))


WRONG = {
    "collapsebench.model": of_other_pixels,
    "collapsebench.networks": of_integers,
    "collapsebench.metrics": of_three_axes,
}


def test_every_listed_package_is_tried(pytestconfig):
    *packages, checker = pytestconfig.getoption("--jaxtyping-packages").split(",")
    assert set(packages) == set(WRONG)
    assert checker == "beartype.beartype"


@pytest.mark.parametrize("package", WRONG)
def test_a_tensor_of_a_wrong_shape_or_type_is_refused(package):
    with pytest.raises(jaxtyping.TypeCheckError):
        WRONG[package]()


def test_dimensions_of_one_name_are_equal():
    prior = StandardNormal(2)
    with pytest.raises(jaxtyping.TypeCheckError):
        prior.log_prob(torch.zeros(3))

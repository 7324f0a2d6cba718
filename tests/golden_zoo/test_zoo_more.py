"""Further terms of released programs: the steps of TWR-VAE, and the free bits of Optimus."""

from __future__ import annotations

from types import SimpleNamespace

from golden.vectors import assert_equal

from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench_plugins.free_bits import FreeBits, Per
from collapsebench_plugins.twr import mean_over_time
from golden_zoo.zoo import Leaf, gradient, load, unread

NOT_SHIPPED = {
    "out/nvae/": "the balance of NVAE weighs groups of latent variables, and the harness has one group",
    "out/mim/": "MIM trains a joint distribution of x and z, which is no bound of the likelihood",
}
"""Why arrays of the file are compared with nothing."""


def test_the_mean_kl_over_time_of_twr_vae():
    """Theirs is summed over the batch."""
    case = load("more_losses")
    mean, logvar = (case[f"in/twr/{name}"].requires_grad_() for name in ("mean", "logvar"))
    states = DiagonalGaussian(mean.flatten(0, 1), logvar.flatten(0, 1))
    kl = mean_over_time(states, StandardNormal(case.meta["D"]), case.meta["B"]).sum()
    kl.backward()
    found = {"kl": kl, "grad_mean": gradient(mean), "grad_logvar": gradient(logvar)}
    assert_equal(found, case.group("out/twr/"))


def test_the_free_bits_of_optimus_have_our_gradients_and_our_values_less_the_floors():
    """Its masks are of each unit of each example: a KL below the floor counts 0 there, and the floor here."""
    case = load("more_losses")
    leaf, floor = Leaf(case), case.meta["dim_target_kl"]
    method = FreeBits(nats=floor, per=Per.EXAMPLE_UNIT)
    kl = leaf.terms(method).kl
    floors = floor * (kl <= floor).double().sum(1)
    found = {"loss_kl": method.kl_penalty(SimpleNamespace(kl=kl)) - floors} | leaf.gradients()
    assert_equal(found, case.group("out/optimus/"))


def test_every_array_is_compared_or_listed():
    assert unread("more_losses", compared=("out/twr/", "out/optimus/"), listed=NOT_SHIPPED) == set()

"""The flow of IAF, against the numbers of Pythae's program."""

from __future__ import annotations

import pytest
from golden.vectors import assert_equal

from collapsebench_plugins.iaf import IAF, Form
from golden_zoo.zoo import Pythae, load


@pytest.fixture
def case():
    return load("pythae_iaf")


@pytest.fixture
def model(case):
    """Pythae goes through its networks from the last to the first. The layers that have parameters are every other."""
    meta = case.meta
    method = IAF(
        steps=meta["n_made_blocks"],
        layers=meta["n_hidden_in_made"],
        width=meta["hidden_size"],
        form=Form.AFFINE,
        context=False,
    )
    head = method.posterior_head(meta["D"], meta["H"])

    def ours(theirs):
        *_, block, _, layer, kind = theirs.split(".")
        return f"heads.iaf.flow.networks.{meta['n_made_blocks'] - 1 - int(block)}.layers.{int(layer) // 2}.{kind}"

    return Pythae(case, {"iaf": head}, lambda theirs: ours(theirs) if theirs.startswith("iaf_flow") else None)


def test_masks_let_a_unit_see_those_before_it(case, model):
    ours = model.vae.state_dict()
    masks = {name: case[f"param/{name}"] for name in case.meta["buffers"]}
    assert_equal({name: ours[model.names[name]] for name in masks}, masks)


def test_codes_volumes_and_networks(case, model):
    q = model.vae.encode(case["in/x"])
    first = model.vae.heads["iaf"].flow.networks[-1]
    z, volume = q.flow(q.start.sample(case["in/eps"][None])[0], None)
    m, s = first(case["out/iaf/z0"], None)
    back, undone = q.flow.inverse(z, None)
    expected = case.group("out/iaf/") | case.group("out/")
    found = {"z": z, "log_det": volume, "back": back, "back_log_det": -undone, "made0/mu": m, "made0/log_var": s}
    assert_equal(found | {"z0": back}, {name: expected[name] for name in (*found, "z0")})


def test_the_objective_and_its_gradients(case, model):
    found = model.values([])
    expected = model.expected("iaf")
    masked = {f"grad/{name}" for name in case.meta["buffers"]}
    assert not masked & expected.keys()
    assert_equal({name: found[name] for name in expected}, expected)

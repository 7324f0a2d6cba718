"""The decoder of LIDVAE, against the numbers of the authors' program."""

from __future__ import annotations

import pytest
import torch
from golden.vectors import assert_equal

from collapsebench.examples import TextSpec
from collapsebench.networks.decoders import LSTMDecoder
from collapsebench_plugins.lidvae import LIDVAE
from golden_zoo.zoo import gradient, load, unread

PREFIXES = {
    "embed.": "embedding.",
    "trans_linear.": "first.",
    "lstm.": "layers.0.",
    "icnn1_icnn2.": "output.connection.between.",
} | {
    f"icnn{number}_{theirs}": f"output.connection.{ours}"
    for number, map_ in ((1, "first"), (2, "second"))
    for theirs, ours in {
        "Wy0.": f"{map_}.first.",
        "Wy_layers.": f"{map_}.direct.",
        "Wz_layers.": f"{map_}.hidden.",
    }.items()
}


def ours(theirs):
    """Our name of a parameter of theirs."""
    (prefix,) = (each for each in PREFIXES if theirs.startswith(each))
    return PREFIXES[prefix] + theirs.removeprefix(prefix).replace("weight_rv", "weight")


@pytest.fixture
def case():
    return load("lidvae")


@pytest.fixture
def decoder(case):
    meta = case.meta
    low, high = meta["svd_clamp"]
    method = LIDVAE(
        width=meta["icnn_nh"],
        layers=meta["icnn_num_layers"],
        slope=meta["leaky_slope"],
        floor=meta["positive_floor"],
        low=low,
        high=high,
    )
    built = LSTMDecoder(embedding=meta["ni"], hidden=meta["nh"], start="cell").build(
        TextSpec(meta["V"]), meta["nz"], method.connect_latent
    )
    built = built.double()
    built.load_state_dict({ours(theirs): array for theirs, array in case.group("param/").items()})
    return built


def test_states_maps_and_logits(case, decoder):
    z = case["in/z"].transpose(0, 1)
    maps = decoder.output.connection
    hidden = decoder.hidden(case["in/x"], z)[0]
    y = torch.cat([hidden, z[0][:, None].expand(-1, hidden.shape[1], -1)], -1)
    brenier = maps.first(y)
    identity = torch.eye(*maps.between.weight.shape).double()
    found = {
        "lstm": hidden,
        "brenier1": brenier,
        "mid": maps.between(brenier),
        "logits": decoder.logits(case["in/x"], z)[0],
        "singular_values": torch.linalg.svdvals(maps.between.weight + maps.between.shift * identity),
    }
    assert_equal(found, {name: case[f"out/{name}"] for name in found})


def test_gradients(case, decoder):
    z = case["in/z"].requires_grad_()
    (case["in/cot"] * decoder.logits(case["in/x"], z.transpose(0, 1))[0]).sum().backward()
    parameters = dict(decoder.named_parameters())
    found = {f"grad/{name}": gradient(parameters[ours(name)]) for name in case.group("param/")}
    assert_equal(found | {"grad_z": z.grad}, {name: case[f"out/{name}"] for name in (*found, "grad_z")})


def test_the_clamps_act_in_the_file(case, decoder):
    """Otherwise they are not compared."""
    values, high = case["out/singular_values"], case.meta["svd_clamp"][1]
    floors = [layer.weight < layer.floor for layer in decoder.output.connection.first.hidden]
    assert (values > high).any()
    assert (values < high).any()
    assert any(bool(below.any()) for below in floors)


def test_every_array_is_compared():
    outputs = ("lstm", "brenier1", "mid", "logits", "singular_values", "grad_z", "grad/")
    assert unread("lidvae", [f"out/{name}" for name in outputs], {}) == set()

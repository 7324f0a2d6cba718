"""Protocols that differ in one setting: which of them belong together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import SETTING, spec

from collapsebench.errors import UsageError
from collapsebench.reporting.families import differing, families, settings


def protocol(layers=1, latent_dim=2, **more):
    decoder = {"name": "lstm", "layers": layers}
    return spec(setting={**SETTING, "decoder": decoder, "latent_dim": latent_dim}, **more).protocol


def test_settings_are_named_as_set_writes_them():
    found = settings(protocol(3))
    assert found["decoder.layers"] == 3
    assert found["decoder.name"] == "lstm"
    assert found["optimizer.learning_rate"] == 1e-3
    assert found["evaluation.metrics.iw-nll.samples"] == 5
    assert (found["latent_dim"], found["track"]) == (2, "quick")


@given(st.permutations([(layers, dim) for layers in (1, 3, 9) for dim in (2, 20)]))
def test_a_family_differs_in_one_setting_whatever_the_order(places):
    protocols = [protocol(layers, dim) for layers, dim in places]
    for over, sizes in {"decoder.layers": [1, 3, 9], "latent_dim": [2, 20]}.items():
        for family in (found := families(protocols, over)):
            assert list(family) == sizes
            assert differing(family.values(), over) == []
            assert all(settings(member)[over] == place for place, member in family.items())
        members = [member for family in found for member in family.values()]
        assert sorted(member.protocol_id for member in members) == sorted(each.protocol_id for each in protocols)


def test_what_differs_besides_is_named():
    one, other = protocol(1), protocol(3, latent_dim=5, budget="10steps")
    assert set(differing([one, other], "decoder.layers")) == {"latent_dim", "budget.amount"}
    assert len(families([one, other], "decoder.layers")) == 2


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ("decoder.layer", "unknown setting 'decoder.layer'. Did you mean 'decoder.layers'?"),
        ("decoder.name", "'decoder.name' is no number to draw over, got 'lstm'"),
    ],
)
def test_what_cannot_be_drawn_over_is_one_line(over, message):
    with pytest.raises(UsageError) as caught:
        families([protocol()], over)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)

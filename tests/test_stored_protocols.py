"""Which stored protocol is that of a cell of a suite: by its content, its version and the number of its runs."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_leagues import CATALOG, FEW, ONE, RANKED, SUITE, cells, defaults, finished, specs, suite_file

from collapsebench.experiment import suites
from collapsebench.reporting.divisions import NLL
from collapsebench.reporting.leagues import LeagueView, read_league
from collapsebench.reporting.queries import SuiteQuery
from collapsebench.reporting.selection import stored_protocol
from collapsebench.spec import Protocol
from collapsebench.store import Store

__all__ = ["cells", "suite_file"]  # pytest finds fixtures by their names here

TRACK = """
description = "a track of my own"
budget = "2steps"
latent_dim = 2
batch_size = 8
encoder = { name = "linear" }
decoder = { name = "linear", learn_variance = true }
optimizer = { name = "adam", learning_rate = 1e-2 }
evaluation = { every = "1steps", metrics = { neg-elbo = {}, iw-nll = {}, kl = {} } }
"""


def with_protocol(spec, **changes):
    """The same run of another protocol."""
    return spec.model_copy(update={"protocol": spec.protocol.model_copy(update=changes)})


@pytest.fixture
def chosen(tmp_path, cells):
    """The protocol of a cell in a store with these runs."""
    numbers = count()

    def chosen(runs):
        with Store.open(tmp_path / f"{next(numbers)}.sqlite") as store:
            store.add(runs)
            return stored_protocol(store, cells["one"], CATALOG)

    return chosen


@pytest.mark.parametrize("name", ["own", "copy"])
def test_a_cell_with_a_track_in_a_file_has_its_runs_whatever_the_file_is_called(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for file in ("own", "copy"):
        Path(f"{file}.toml").write_text(TRACK)
    Path("suite.toml").write_text(SUITE.replace('track = "quick"', 'track = "own.toml"'))
    (cell,) = suites.suite("suite.toml").cells("small", only=("one",))
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add(defaults(cell.model_copy(update={"track": f"{name}.toml"}), **ONE))
        (ranking,) = read_league(store, SuiteQuery("suite.toml", cells=("one",)), LeagueView(bootstrap=FEW)).rankings
    for model in RANKED:
        wanted = ONE[model.replace(" ", "_")]
        assert tuple(ranking.entry("one", model).scores(NLL).values()) == wanted


def test_a_run_on_other_data_does_not_hide_a_cell(chosen, cells):
    """Whichever id is smaller, and whichever was stored first."""
    own = list(defaults(cells["one"], **ONE))
    (first, *_) = specs(cells["one"])["VAE"].values()
    elsewhere = (with_protocol(first, splits=dict.fromkeys(first.protocol.splits, str(at))) for at in count())
    ids = {True: None, False: None}
    while None in ids.values():
        spec = next(elsewhere)
        ids[spec.protocol.protocol_id < first.protocol.protocol_id] = spec
    for spec in ids.values():
        foreign = finished(spec, 90.0)
        assert chosen([foreign, *own]) == chosen([*own, foreign]) == first.protocol.protocol_id
        assert chosen([foreign]) == spec.protocol.protocol_id


def test_the_newest_version_comes_first_though_it_has_fewer_runs(chosen, cells):
    own = list(defaults(cells["one"], **ONE))
    (first, *_) = specs(cells["one"])["VAE"].values()
    made = {version: with_protocol(first, version=version) for version in ("0.99", "1.9", "1.10")}
    found = [chosen([*own, *(finished(made[each], 1.0) for each in many)]) for many in (["0.99"], ["1.9"], made)]
    assert found == [each.protocol.protocol_id for each in (first, made["1.9"], made["1.10"])]


numbers = st.integers(0, 9999)


@given(st.tuples(numbers, numbers), st.tuples(numbers, numbers))
def test_versions_are_ordered_as_their_numbers_are(one, other):
    def of(version):
        text = "{}.{}".format(*version)
        return Protocol.model_construct(version=text).version_numbers

    assert (of(one) < of(other)) == (one < other)

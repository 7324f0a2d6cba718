"""The declared facts: complete, valid, and found in a checkout and in a wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from collapsebench import facts as registry
from collapsebench.components import discovery
from collapsebench.components.interfaces import Dataset
from collapsebench.data import collapsebench_components
from collapsebench.data.files import facts_of
from collapsebench.errors import UsageError
from collapsebench.facts import dataset_facts, dataset_names, registry_folder
from collapsebench.spec import Choice, Track

DATASETS = {dataset.name: dataset for dataset in collapsebench_components()}
TRACKS = [(name, track) for name in dataset_names() for track in dataset_facts(name).tracks]


def test_every_shipped_dataset_has_facts_and_the_other_way_round():
    assert dataset_names() == sorted(DATASETS)


@pytest.mark.parametrize("name", dataset_names())
def test_every_dataset_has_a_quick_track_and_known_splits(name):
    facts = dataset_facts(name)
    assert facts.name == name
    assert "quick" in facts.tracks
    assert list(facts.splits) == ["train", "valid", "test"]
    assert all(split.examples for split in facts.splits.values())
    assert facts.embedded or facts.card.source
    if facts.embedded:
        assert all(split.sha256 for split in facts.splits.values())


def test_tracks_beside_quick():
    others = {name: set(dataset_facts(name).tracks) - {"quick"} for name in dataset_names()}
    assert {name: tracks for name, tracks in others.items() if tracks} == {
        "synthetic-text": {"demo"},
        "mnist": {"paper", "paper-mlp"},
        "mnist-static": {"paper", "paper-mlp"},
        "mnist-larochelle": {"paper", "paper-mlp"},
        "omniglot": {"paper"},
        "omniglot-burda": {"paper"},
        "yahoo": {"paper"},
    }


@pytest.mark.parametrize("name", ["mnist-static", "mnist-larochelle"])
def test_every_binarization_of_mnist_has_the_same_tracks(name):
    assert dataset_facts(name).tracks == dataset_facts("mnist").tracks


def test_tracks_of_another_dataset_below_its_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "tracks_of = 'mnist'\ntracks.quick.budget = '1steps'\n"
        "[card]\ntitle = 'x'\nkind = 'images'\ndescription = 'x'\nlicence = 'x'\ncomparability = 'x'"
    )
    assert dataset_facts(path).tracks == dataset_facts("mnist").tracks | {"quick": {"budget": "1steps"}}
    path.write_text(path.read_text().replace("mnist", "mnits"))
    with pytest.raises(UsageError, match=r"mine.toml', tracks_of: unknown dataset 'mnits'\. Did you mean 'mnist'"):
        dataset_facts(path)


@pytest.mark.parametrize(("name", "track"), TRACKS)
def test_every_track_is_complete_and_free_of_methods(name, track):
    table = dataset_facts(name).tracks[track]
    assert "method" not in table
    assert "methods" not in table
    setting = Track.model_validate(table).setting
    components = discovery.load()
    components.create(Dataset, Choice(name=name, params=table.get("data", {})))
    for kind in ("encoder", "decoder", "posterior", "initialization"):
        choice = getattr(setting, kind)
        components.make(kind, choice.name, choice.params)
    metrics = [choice.name for choice in setting.evaluation.metrics]
    for choice in setting.evaluation.metrics:
        components.make("metric", choice.name, choice.params)
    assert ("perplexity" in metrics) == (dataset_facts(name).card.kind == "text")
    assert {"neg-elbo", "iw-nll", "kl", "mutual-information", "active-units", "latent-use", "dialects"} <= set(metrics)


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(UsageError, match="unknown dataset 'mnits'"):
        dataset_facts("mnits")
    with pytest.raises(UsageError, match=r"unknown dataset '\.\./\.\./x'"):
        dataset_facts("../../x")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("card = ", "cannot read the facts file"),
        ("[card]\ntitle = 3", "card.title: Input should be a valid string, got 3"),
        ("[card]\ntitle = 'x'\nkind = 'sound'", "card.kind"),
        ("colour = 1", "card: Field required|unknown field 'colour'"),
    ],
)
def test_a_bad_facts_file_is_one_line(tmp_path, text, complaint):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=complaint) as caught:
        dataset_facts(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_facts_file_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="cannot read the facts file"):
        dataset_facts(tmp_path / "none.toml")


def test_a_plugin_s_facts_carry_the_dataset_s_name():
    toy = discovery.load([Path(__file__).with_name("toy_plugin.py")]).entry("dataset", "toy").component
    assert facts_of(toy).name == "toy"


def test_the_registry_is_in_the_package_of_a_wheel_and_beside_it_in_a_checkout(tmp_path, monkeypatch):
    assert (registry_folder() / "datasets" / "ptb.toml").is_file()
    package = tmp_path / "collapsebench"
    package.mkdir()
    monkeypatch.setattr(registry, "__file__", str(package / "registry.py"))
    assert registry_folder() == tmp_path / "registry"
    (package / "_registry").mkdir()
    assert registry_folder() == package / "_registry"

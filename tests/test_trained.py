"""Trained models: what `load_run` hands over is the model that was tested."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import toys

import collapsebench
from collapsebench import DataError, PluginError, SeededNoise, UsageError
from collapsebench.data.text import MARKERS
from collapsebench.data.texts import Text
from collapsebench.experiment.trained import Models, TrainedModel
from collapsebench.experiment.weights import WeightFiles
from collapsebench.experiment.work import Sources
from collapsebench.metrics.codes import Codes, codes_file
from collapsebench.record import Outcome

QUICK = {"dataset": "linear-gaussian", "budget": "6steps", "settings": {"evaluation.every": "2steps"}}
TINY = {"data.train": 64, "data.valid": 20, "data.test": 20, "batch_size": 16}
METHODS = ["lagging", "vamp-prior", "iaf", "sa-vae[steps=2]", "vmf", "no-latent"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with one run of each of some methods, and their codes."""
    path = tmp_path_factory.mktemp("trained") / "runs.sqlite"
    settings = QUICK["settings"] | TINY
    collapsebench.run(METHODS, **(QUICK | {"settings": settings}), store=path, keep_codes=True, progress=False)
    return path


def runs_in(store):
    return {run.contender: run for run in collapsebench.runs(store=store)}


def codes_of(store, run):
    return Codes.read(codes_file(store.with_name(f"{store.name}.codes"), run.run_id))


@pytest.mark.parametrize("contender", ["vae", *METHODS])
def test_the_loaded_model_gives_the_codes_of_the_run_to_the_bit(store, contender):
    run = runs_in(store)[contender]
    kept = codes_of(store, run)
    model = TrainedModel(run.record, Sources((), (), Path("nowhere")), WeightFiles(weights(store), run.run_id))
    found = Codes.of(model.test_split)
    np.testing.assert_array_equal(found.mean, kept.mean)
    if kept.logvar is not None:
        np.testing.assert_array_equal(found.logvar, kept.logvar)


def weights(store):
    return store.with_name(f"{store.name}.weights")


def test_a_loaded_run_is_ready_to_use(store):
    run = collapsebench.load_run(runs_in(store)["sa-vae[steps=2]"].run_id[:10], store=store)
    batch = next(run.data.test.batches(20))
    posterior = run.inference.posterior(run.vae, torch.from_numpy(batch.x), SeededNoise(0))
    assert posterior.mean.shape == (20, run.vae.latent_dim)
    assert not any(module.training for module in run.vae.modules())
    assert run.vae is run.vae
    assert run.vocabulary is None
    drawn = run.vae.sample(run.vae.prior.sample(3, SeededNoise(1))[None], (10,), SeededNoise(2))
    assert drawn.shape == (1, 3, 10)


def test_runs_of_a_grid_have_their_models_at_once(tmp_path):
    (run,) = collapsebench.run(**QUICK, store=tmp_path / "runs.sqlite", progress=False, work_dir=tmp_path / "work")
    assert run.has_weights
    assert dict(run.vae.state_dict()).keys() == torch.load(tmp_path / "work" / "weights" / f"{run.run_id}.pt").keys()
    elsewhere = collapsebench.load_run(run.run_id, store=tmp_path / "runs.sqlite", work_dir=tmp_path / "work")
    assert all(map(torch.equal, run.vae.parameters(), elsewhere.vae.parameters()))


def test_a_run_without_weights_is_whole_and_says_so(tmp_path):
    given = {**QUICK, "store": tmp_path / "runs.sqlite", "progress": False}
    (run,) = collapsebench.run(**given, weights=False)
    with pytest.warns(UserWarning, match=f"run {run.run_id} has kept no weights: it has no `vae`; "):
        loaded = collapsebench.load_run(run.run_id, store=tmp_path / "runs.sqlite")
    assert loaded == run
    assert len(loaded.data.test) == 1000
    for get in (lambda: loaded.vae, lambda: loaded.inference):
        with pytest.raises(DataError, match=f"run {run.run_id} has no weights: '.*' is not there; runs but trials"):
            get()


@pytest.mark.parametrize("outcome", [Outcome.DIVERGED, Outcome.INTERRUPTED])
def test_a_run_that_did_not_finish_says_so_instead_of_asking_for_its_weights(outcome, store):
    run = collapsebench.runs(store=store)[0].record.model_copy(update={"outcome": outcome})
    with pytest.raises(DataError, match=f"run {run.run_id} has no weights: it (was )?{outcome}$"):
        assert Models.installed(store, None).of(run).vae


def test_a_run_of_a_plugin_file_needs_the_file(tmp_path):
    given = {"dataset": "toy", "store": tmp_path / "runs.sqlite", "progress": False, "baseline": False}
    (run,) = collapsebench.run(["remember"], **given, plugins=[toys.PLUGIN])
    assert run.vae.latent_dim == 2
    alone = collapsebench.load_run(run.run_id, store=tmp_path / "runs.sqlite")
    with pytest.raises(UsageError, match="unknown dataset 'toy'"):
        assert alone.vae
    loaded = collapsebench.load_run(run.run_id, store=tmp_path / "runs.sqlite", plugins=[toys.PLUGIN])
    assert all(map(torch.equal, run.vae.parameters(), loaded.vae.parameters()))
    assert loaded.vocabulary is None


def test_other_data_or_another_version_is_one_line(store, monkeypatch):
    from collapsebench.data.generated import LinearGaussian

    run = runs_in(store)["vae"]
    monkeypatch.setattr(LinearGaussian, "version", 2)
    with pytest.raises(PluginError, match="dataset 'linear-gaussian' has version 2 here"):
        assert run.vae
    monkeypatch.undo()
    run, load = runs_in(store)["vae"], LinearGaussian.load
    monkeypatch.setattr(LinearGaussian, "load", lambda self, folder: load(self.model_copy(update={"seed": 7}), folder))
    with pytest.raises(DataError, match="the split 'train' of dataset 'linear-gaussian' has the hash"):
        assert run.vae


def test_weights_of_another_run_do_not_fit(store, tmp_path):
    found = runs_in(store)
    shutil.copy(weights(store) / f"{found['vamp-prior'].run_id}.pt", tmp_path / f"{found['vae'].run_id}.pt")
    model = TrainedModel(found["vae"].record, Sources((), (), tmp_path), WeightFiles(tmp_path, found["vae"].run_id))
    with pytest.raises(DataError, match="are not those of this model"):
        assert model.vae


def test_loading_and_reading_a_record_imports_no_torch(store):
    program = (
        "import sys, collapsebench\n"
        f"run = collapsebench.load_run({runs_in(store)['vae'].run_id!r}, store={str(store)!r})\n"
        "print(run.values['kl'], len(run.data.test), run.has_weights, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith(" 20 True False\n")


class Verse(Text):
    """A corpus of somebody."""

    name = "verse"
    stem = "verse"


def test_the_vocabulary_of_a_text_names_its_ids(tmp_path, monkeypatch):
    lines = {"train": "the cat sat\nthe dog\n", "valid": "a cat\n", "test": "the dog sat\n"}
    for split, text in lines.items():
        (tmp_path / f"verse.{split}.txt").write_text(text)
    facts = tmp_path / "verse.toml"
    files = "".join(f'[[files]]\nname = "verse.{split}.txt"\n' for split in lines)
    facts.write_text(f"{toys.PLUGIN.with_suffix('.toml').read_text().partition('[tracks')[0]}{files}")
    monkeypatch.setattr(Verse, "facts", facts)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    verse = Verse(vocabulary_size=3)
    words, splits = verse.words(tmp_path), verse.load(tmp_path)
    assert words == [*MARKERS, "the", "cat", "sat"]
    assert splits.spec.vocabulary == len(words)
    (batch,) = splits.test.batches(5)
    assert [[words[token] for token in row] for row in batch.x.tolist()] == [["<s>", "the", "<unk>", "sat", "</s>"]]


def test_weights_travel_beside_the_records_of_their_runs(store, command, tmp_path):
    exported = command("runs", "export", "runs.jsonl", "--weights", "kept", "--contender", "lagging", "--store", store)
    run = runs_in(store)["lagging"]
    assert (exported.code, exported.err) == (0, "1 runs exported\nweights of 1 runs in 'kept'\n")
    names = [f"{run.run_id}.private.pt", f"{run.run_id}.pt"]
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == sorted(names)
    for foreign in ("0123456789abcdef.pt", "notes.pt", "../escaped.pt"):
        (tmp_path / "kept" / foreign).touch()
    (tmp_path / "other.sqlite.weights").mkdir()
    (tmp_path / "other.sqlite.weights" / names[0]).write_text("was here before")
    imported = command("runs", "import", "runs.jsonl", "--weights", "kept", "--store", "other.sqlite")
    assert (imported.code, imported.err) == (0, "1 runs imported, 0 skipped\nweights of 1 runs imported\n")
    other = tmp_path / "other.sqlite.weights"
    assert sorted(path.name for path in other.iterdir()) == sorted(names)
    assert (other / names[0]).read_text() == "was here before"
    assert (other / names[1]).read_bytes() == (weights(store) / names[1]).read_bytes()
    (other / names[0]).unlink()
    command("runs", "import", "runs.jsonl", "--weights", "kept", "--store", "other.sqlite")
    loaded = collapsebench.load_run(run.run_id, store=tmp_path / "other.sqlite")
    assert all(map(torch.equal, run.vae.parameters(), loaded.vae.parameters()))


def test_weights_that_cannot_be_copied_are_one_line(store, command, tmp_path):
    command("runs", "export", "runs.jsonl", "--store", store)
    missing = command("runs", "import", "runs.jsonl", "--weights", "none", "--store", "other.sqlite")
    assert missing.code == 2
    assert missing.err == "error: Invalid value for '--weights': Path 'none' does not exist.\n"
    assert not (tmp_path / "other.sqlite").exists(), "no record is imported before"
    (tmp_path / "file").touch()
    full = command("runs", "export", "runs.jsonl", "--weights", "file", "--store", store)
    assert full.code == 1
    assert full.err.splitlines()[1].endswith("to 'file': File exists")

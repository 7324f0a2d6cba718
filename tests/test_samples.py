"""Samples: what the models of stored runs make of codes, and that collapse is seen."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import toys
from PIL import Image

import collapsebench
from collapsebench.errors import UsageError
from collapsebench.experiment.trained import stored_models
from collapsebench.metrics.codes import Codes, codes_file
from collapsebench.reporting.looking import (
    STEPS,
    VALUES,
    Interpolation,
    Prior,
    Reconstructions,
    Variation,
    look,
    text_of,
)
from collapsebench.reporting.plotting import specimens
from collapsebench.reporting.plotting.canvas import figure_bytes
from collapsebench.reporting.samples import Part, Samples, Specimen
from collapsebench.reporting.samples_page import block_characters, samples_text
from collapsebench.store import Store

SMALL = {"encoder.hidden": 6, "decoder.hidden": 6, "latent_dim": 2, "evaluation.metrics": ["kl"]}
QUESTIONS = {
    "prior": Prior(3),
    "reconstruct": Reconstructions(3),
    "interpolate": Interpolation(2, 5),
    "vary": Variation(1),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with runs on texts, images and vectors, and the codes of them."""
    path = tmp_path_factory.mktemp("samples") / "runs.sqlite"
    shared = {"store": path, "progress": False, "keep_codes": True}
    collapsebench.run(["no-latent"], dataset="toy", budget="2steps", plugins=[toys.PLUGIN], **shared)
    collapsebench.run(dataset="digits", budget="2steps", settings=SMALL, **shared)
    collapsebench.run(
        dataset="linear-gaussian", budget="2steps", settings={"data.train": 64, "data.valid": 8}, **shared
    )
    return path


def run_id(store, dataset, contender="vae"):
    (run,) = collapsebench.runs(store=store, dataset=dataset, contender=contender)
    return run.run_id


@cache
def model(store, dataset, contender="vae"):
    """The model of a run, which no test changes."""
    return fresh(store, dataset, contender)


def fresh(store, dataset, contender="vae"):
    (found,) = stored_models(store, [run_id(store, dataset, contender)], [toys.PLUGIN])
    return found


def with_reading_of_z(model, scale):
    """Multiply what the decoder reads of z: with zero the model has collapsed, whatever its posterior is."""
    with torch.no_grad():
        model.vae.decoder.first.weight.mul_(scale)
        if isinstance(model.vae.decoder.layers[0], torch.nn.LSTM):
            model.vae.decoder.layers[0].weight_ih_l0[:, -model.vae.latent_dim :] *= scale
    return model


@pytest.mark.parametrize("dataset", ["toy", "digits"])
def test_collapse_is_seen(store, dataset):
    collapsed = look(with_reading_of_z(fresh(store, dataset), 0), Reconstructions(8))
    assert collapsed.different == 1
    assert samples_text(collapsed).partition("\n")[0].endswith("8 reconstructions of test examples; all are equal")
    cured = look(with_reading_of_z(fresh(store, dataset), 300), Variation(0))
    assert cured.different > 1
    assert collapsed.spread in {None, 0.0}


def test_the_spread_is_the_share_of_the_variance_of_the_examples(store):
    images = np.random.default_rng(0).random((4, 1, 2, 3), np.float32)
    groups = tuple(
        (Specimen("test", image, Part.EXAMPLE), Specimen("model", 0.25 * image + 0.1, Part.MODEL)) for image in images
    )
    samples = replace(look(model(store, "digits"), Reconstructions(1)), groups=groups)
    assert samples.spread == pytest.approx(0.25, rel=1e-5)
    assert samples.verdict == "they vary by 25.0% of what the examples do"
    assert replace(samples, groups=groups[:1]).spread is None


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["toy", "digits", "linear-gaussian"])
@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_a_question_has_its_specimens_and_an_equal_seed_equal_answers(store, dataset, question):
    samples = look(model(store, dataset), question, seed=3)
    again, other = (look(model(store, dataset), question, seed, "random") for seed in (3, 4))
    assert look(fresh(store, dataset), question, seed=3).as_json() == samples.as_json()
    assert again.as_json() != other.as_json()
    sizes = {Prior: [3], Reconstructions: [2] * 3, Interpolation: [STEPS + 2], Variation: [len(VALUES) + 1]}
    assert [len(group) for group in samples.groups] == sizes[type(question)]
    assert len(samples.made) == {Prior: 3, Reconstructions: 3, Interpolation: STEPS, Variation: 7}[type(question)]


def test_examples_are_those_of_the_test_split_and_images_are_the_means_of_their_codes(store):
    found = model(store, "digits")
    samples = look(found, Reconstructions(5))
    pixels = found.splits.test.pixels[:5]
    kept = Codes.read(codes_file(store.with_name(f"{store.name}.codes"), found.record.run_id))
    probability = found.vae.decoder.predictions(torch.zeros(5, 1), torch.from_numpy(kept.mean[None, :5]))
    for group, image, p in zip(samples.groups, pixels, probability[0], strict=True):
        np.testing.assert_array_equal(group[0].content, image[None])
        np.testing.assert_allclose(group[1].content.ravel(), p.detach().ravel(), rtol=1e-5)


def test_a_way_begins_and_ends_at_the_codes_of_its_examples(store):
    found = model(store, "digits")
    first, last = (group[1].content for group in look(found, Reconstructions(6)).groups[2::3])
    made = look(found, Interpolation(2, 5)).made
    np.testing.assert_allclose(made[0], first, rtol=1e-6)
    np.testing.assert_allclose(made[-1], last, rtol=1e-6)


def test_what_does_not_exist_is_one_line(store):
    found, without = model(store, "digits"), model(store, "toy", "no-latent")
    with pytest.raises(UsageError, match="no unit 2: the units are 0 to 1"):
        look(found, Variation(2))
    with pytest.raises(UsageError, match="100000000000000000000 codes of the prior are too many: at most 10000"):
        look(found, Prior(10**20))
    with pytest.raises(UsageError, match="no test example 9999: there are examples 0 to"):
        look(found, Interpolation(0, 9999))
    with pytest.raises(UsageError, match="contender 'no-latent' has no latent units to move along"):
        look(without, Variation(0))
    assert look(without, Reconstructions(4)).verdict == "all are equal"


def command_of(command, store, *arguments):
    return command("samples", *arguments, "--plugin", toys.PLUGIN, "--store", store)


def test_the_command_prints_texts_images_and_numbers(command, store):
    ids = [run_id(store, dataset) for dataset in ("toy", "digits", "linear-gaussian")]
    answer = command_of(command, store, ids[0][:10], *ids[1:], "--reconstruct", 2)
    assert answer.code == 0, answer.err
    for each, dataset in zip(ids, ("toy", "digits", "linear-gaussian"), strict=True):
        assert f"vae seed 1 on {dataset} ({each}): 2 reconstructions of test examples; " in answer.out
    assert "test 0  t" in answer.out
    assert "█" in answer.out
    parsed = json.loads(command_of(command, store, ids[1], "--prior", 2, "--format", "json", "--seed", 5).out)
    assert np.shape(parsed[0]["groups"][0][1]["content"]) == (1, 8, 8)
    assert parsed[0] == look(model(store, "digits"), Prior(2), seed=5).as_json()


def test_the_command_writes_to_files_and_draws_images(command, store, tmp_path):
    digits, vectors = run_id(store, "digits"), run_id(store, "linear-gaussian")
    for name in ("a.png", "b.png"):
        assert command_of(command, store, digits, "--vary", 0, "--output", name).out.startswith(f"wrote {name}: vae")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())).size[0] > 300
    command_of(command, store, vectors, "--output", "a.txt")
    assert (tmp_path / "a.txt").read_text().startswith("vae seed 1 on linear-gaussian")
    answer = command_of(command, store, vectors, "--output", "c.png")
    assert (answer.code, answer.err) == (
        2,
        f"error: the samples of run {vectors} are no images: print them, without --output\n",
    )
    assert not (tmp_path / "c.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prior", 2, "--vary", 1], "--prior and --vary are asked at once: give one of them"),
        (["--interpolate", "3"], "--interpolate takes the numbers of two test examples, as in 3,7; got '3'"),
        (["--vary", 7], "no unit 7: the units are 0 to 1"),
    ],
)
def test_wrong_questions_are_one_line(command, store, options, message):
    answer = command_of(command, store, run_id(store, "digits"), *options)
    assert (answer.code, answer.out, answer.err) == (2, "", f"error: {message}\n")


def test_a_run_without_weights_is_one_line(command, store, tmp_path):
    answer = command_of(command, store, run_id(store, "digits"), "--work-dir", tmp_path)
    assert answer.code != 0
    assert answer.err.startswith(f"error: run {run_id(store, 'digits')} has no weights: '{tmp_path}/weights/")
    assert answer.err.count("\n") == 1


def made(*contents):
    group = tuple(Specimen(f"z {place}", each, Part.MODEL) for place, each in enumerate(contents, 1))
    return Samples("0" * 16, "vae", 1, "mine", "codes", (group,))


def test_lines_are_no_longer_than_the_terminal_is_wide():
    text = samples_text(made("word " * 60, "", "x" * 30), width=60)
    assert max(map(len, text.splitlines()[1:])) <= 60
    assert "(no words)" in text
    images = samples_text(made(*[np.ones((1, 9, 11), np.float32)] * 6), width=50)
    assert max(map(len, images.splitlines()[1:])) <= 50
    assert images.count("█" * 11) == 6 * 4
    assert images.count("▀" * 11) == 6
    assert "an image of 65 x 70 pixels, to be drawn" in samples_text(made(np.ones((1, 65, 70), np.float32)))


def test_words_cannot_draw_on_the_terminal():
    assert text_of([2, 4, 5, 3], ["", "", "", "", "\x1b[2J", "b"]) == "\\x1b[2J b"


def test_colours_are_shown_by_their_mean():
    image = np.zeros((3, 2, 1), np.float32)
    image[:, 0] = [[0.9], [0.9], [0.1]]
    assert block_characters(image) == ["▀"]


def test_colour_images_and_several_runs_are_drawn():
    colours = made(*np.random.default_rng(0).random((10, 3, 4, 5), np.float32))
    assert figure_bytes(specimens.draw([colours, colours]), "png").startswith(b"\x89PNG")


def test_codes_that_were_not_kept_are_computed_from_the_weights(command, store, tmp_path):
    """The figure is the same to the byte."""
    draw = ("plot", "codes", "--dataset", "digits", "--examples", 20, "--store")
    assert command(*draw, store, "--output", "kept.svg").out.startswith("wrote kept.svg: codes of vae, seed 1")
    other = tmp_path / "other.sqlite"
    with Store.open(other) as opened, Store.reading(store) as reading:
        opened.add(reading.find())
    answer = command(*draw, other, "--output", "none.svg")
    assert (answer.code, answer.err.count("\n")) == (1, 1)
    assert "has no codes or weights that all contenders have kept for one seed" in answer.err
    shutil.copytree(store.with_name(f"{store.name}.weights"), tmp_path / "other.sqlite.weights")
    assert command(*draw, other, "--output", "computed.svg").code == 0
    assert (tmp_path / "computed.svg").read_bytes() == (tmp_path / "kept.svg").read_bytes()

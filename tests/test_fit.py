"""A method that does not fit the data or the networks is refused while the plan is made; every other one trains."""

from __future__ import annotations

import pytest
import tiny
import torch
import toys

from collapsebench.components import discovery
from collapsebench.components.composition import check_fit, compose, inference_of
from collapsebench.components.interfaces import Method
from collapsebench.errors import UsageError
from collapsebench.examples import TextSpec
from collapsebench.experiment.assembly import objective_at
from collapsebench.inference.amortized import Amortized
from collapsebench.model.progress import Progress
from collapsebench.model.seeding import SeededNoise
from collapsebench_plugins.bow import BagOfWords
from collapsebench_plugins.lagging import Lagging
from collapsebench_plugins.no_latent import NoLatent
from collapsebench_plugins.sa_vae import SVI
from collapsebench_plugins.word_dropout import WordDropout

METHODS = {name: entry.component for (kind, name), entry in discovery.load().entries.items() if kind == "method"}
FOR_TEXT = {"bow", "lidvae", "twr", "word-dropout"}
NOT_FOR_TEXT = {"vamp-prior"}


def made(name: str) -> Method:
    """A method with the examples of settings that have no default, and one inner step."""
    fields = METHODS[name].model_fields
    settings = {key: info.examples[0] for key, info in fields.items() if info.is_required()}
    return METHODS[name](**settings, **({"steps": 1} if "steps" in fields else {}))


def refusal(method: Method, family: str) -> str:
    """Why the plan would be refused; nothing if it would not be."""
    encoder, decoder, data = tiny.FAMILIES[family]
    try:
        check_fit(compose([method]), data, encoder, decoder)
    except UsageError as error:
        return str(error)
    return ""


def trains(method: Method, family: str) -> bool:
    """Whether all that a step asks of the method can be computed."""
    hooks, vae, progress = compose([method]), tiny.vae(family, [method]), Progress(0.5, 1)
    x = tiny.examples(family)
    terms = inference_of(hooks, Amortized()).gradients(vae, x, objective_at(hooks, progress, SeededNoise(0)))
    hooks.modules_to_update(vae=vae, progress=progress)
    hooks.modules_to_reset(vae=vae, progress=progress)
    hooks.after_step(vae=vae, x=x, terms=terms, progress=progress)
    return bool(torch.isfinite(terms.loss))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["lstm", "mlp", "pixelcnn", "levels", "counts", "linear"])
def test_what_is_not_refused_trains(family):
    methods = {name: made(name) for name in METHODS}
    refused = {name for name, method in methods.items() if f"method '{name}' " in refusal(method, family)}
    assert refused == (NOT_FOR_TEXT if isinstance(tiny.FAMILIES[family][2], TextSpec) else FOR_TEXT)
    assert all(trains(method, family) for name, method in methods.items() if name not in refused)


@pytest.mark.parametrize(
    ("family", "methods", "line"),
    [
        ("pixelcnn", [BagOfWords()], "method 'bow' predicts words: it needs a dataset of text, got "),
        ("pixelcnn", [WordDropout()], "method 'word-dropout' drops words: it needs a dataset of text, got "),
        ("mlp", [WordDropout()], "method 'word-dropout' changes what the decoder reads, but decoder 'mlp' reads no"),
        ("mlp", [Lagging(), SVI()], "method 'lagging' trains the encoder, but there is no encoder"),
        ("mlp", [NoLatent(), Lagging()], "method 'lagging' trains the encoder, but there is no encoder"),
    ],
)
def test_a_model_is_not_even_built(family, methods, line):
    with pytest.raises(UsageError) as caught:
        tiny.vae(family, methods)
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    ("method", "dataset", "line"),
    [
        ("bow", "digits", "method 'bow' predicts words: it needs a dataset of text"),
        ("word-dropout", "digits", "method 'word-dropout' changes what the decoder reads, but decoder 'mlp'"),
        ("lagging+svi", "toy", "method 'lagging' trains the encoder, but there is no encoder"),
    ],
)
def test_a_grid_is_refused_before_anything_runs(method, dataset, line, command, tmp_path):
    answer = command("run", "--plugin", toys.PLUGIN, "--dataset", dataset, "--method", "skip", "--method", method)
    assert (answer.code, answer.out) == (2, "")
    assert line in answer.err
    assert answer.err.count("\n") == 1
    assert not list(tmp_path.rglob("*.sqlite"))

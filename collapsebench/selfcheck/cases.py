"""The cases: linear VAEs at the optimum and elsewhere, tiny models of pixels and words, the true language model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from collapsebench.data.splits import BinaryImages, TextSplit
from collapsebench.data.synthetic import language_model
from collapsebench.examples import ImageSpec, Split, TextSpec
from collapsebench.experiment.worker import torch_threads
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.active_units import ActiveUnits
from collapsebench.metrics.collapse import Collapse
from collapsebench.metrics.dialects import Dialects
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.metrics.gap import Gap
from collapsebench.metrics.iw_nll import IWNLL
from collapsebench.metrics.kl import KL
from collapsebench.metrics.latent_use import LatentUse
from collapsebench.metrics.metric import Metric
from collapsebench.metrics.mutual_information import MutualInformation
from collapsebench.metrics.neg_elbo import NegELBO
from collapsebench.metrics.perplexity import Perplexity
from collapsebench.model.distributions import DiagonalGaussian
from collapsebench.model.seeding import SeededNoise, derive
from collapsebench.model.vae import VAE
from collapsebench.networks.decoders import LSTMDecoder, MLPDecoder
from collapsebench.selfcheck.checks import Case, Check, Exact, Relation
from collapsebench.selfcheck.exact.discrete import Table, every_image, tabulate, untrained, with_posterior
from collapsebench.selfcheck.exact.linear import LinearVAE, Moments, representative
from collapsebench.selfcheck.exact.text import true_model

Floats: TypeAlias = NDArray[np.floating[Any]]
Ints: TypeAlias = NDArray[np.int64]
SPECTRUM = (9.0, 4.0, 2.0, 1.0, 0.5, 0.25)
VARIANCES = (0.25, 1.5, 4.5, 9.5)
"""The variances of the linear decoder. With the first all units are active, then three, one and none."""
WITH_GAP = (1.5, 9.5)
UNITS = 5
EXAMPLES = 2000
SAMPLES = 100
BATCH = 500
TOLERANCE = 1e-6
"""The tolerance of the quadrature in nats: a tenth of the rounding that is allowed."""
METRICS: tuple[Metric, ...] = (
    NegELBO(),
    IWNLL(samples=SAMPLES),
    Perplexity(samples=SAMPLES),
    KL(),
    MutualInformation(),
    ActiveUnits(),
    Collapse(),
    LatentUse(),
    Dialects(),
)
"""The metrics that are checked: all that use z or the posterior, and need neither labels nor a trajectory."""
GAP = Gap(samples=SAMPLES)
"""This metric refines every posterior, which takes longer than all the others. It is checked on six linear models."""
NOISE_LEFT = 1 / 8
"""The share of the approximation gap that refinement may miss. At the best posterior, the path gradient is as noisy as
the family is far from the exact posterior, and that costs a share of the gap: 9 % with K = 100 steps."""
WAY_LEFT = 1 / 2000
"""The share of the amortization gap that refinement may miss, as it ends before the best posterior: 0.02 %."""
SMALL = 0.1
"""The largest bias in nats whose first order is trusted. If it is larger, only the bound is checked."""


def cases(seed: int) -> Iterator[Case]:
    """Yield every case. The seed draws the examples, the errors in wrong parameters, and z."""
    for variance in VARIANCES:
        yield from linear_cases(variance, seed)
    yield from pixel_cases(seed)
    yield from word_cases(seed)
    yield text_case(seed)


def all_checks(seed: int) -> Iterator[Check]:
    """Make the checks of all cases, with one thread: the models are so small that a second thread would only wait."""
    with torch_threads(1):
        for case in cases(seed):
            yield from case.checks()


def linear_cases(variance: float, seed: int) -> Iterator[Case]:
    r"""Yield the optimum at one \(\sigma^2\), a wrong posterior, and a wrong decoder with a wide posterior."""
    rng = np.random.default_rng(derive(seed, "linear"))
    best = LinearVAE.optimum(SPECTRUM, UNITS, variance)
    scale = np.sqrt(best.posterior_variance)
    tilt = 0.05 * scale[:, None] * rng.standard_normal(best.encoder.shape)
    shift = 0.3 * scale * rng.standard_normal(UNITS)
    posterior = {"encoder": 0.97 * best.encoder + tilt, "encoder_bias": shift}
    wide = {"posterior_variance": 1.4 * best.posterior_variance}
    weights = best.weights + 0.2 * rng.standard_normal(best.weights.shape)
    fitted = LinearVAE.with_best_posterior(weights, 0.2 * rng.standard_normal(len(SPECTRUM)), 1.2 * variance)
    models = {
        "at the optimum": best,
        "wrong posterior": LinearVAE(**vars(best) | posterior | wide),
        "wrong decoder": LinearVAE(**vars(fitted) | {"posterior_variance": 1.7 * fitted.posterior_variance}),
    }
    split = representative(SPECTRUM, EXAMPLES, derive(seed, "x") % 2**32)
    for what, model in models.items():
        vae = model.build()
        exact = linear_exact(LinearVAE.of(vae), split.values)
        metrics = (*METRICS, GAP) if variance in WITH_GAP else METRICS
        yield replace(_case(f"linear, variance {variance:g}, {what}", vae, split, exact, seed), metrics=metrics)


def pixel_cases(seed: int) -> Iterator[Case]:
    """Yield an MLP of 2 x 2 pixels with its nearest posterior and with another; its examples are its own draws."""
    images = every_image(2, 2)
    pixels = untrained(MLPDecoder(hidden=3, layers=1), ImageSpec((1, 2, 2)), 1, 3.0, 2)
    x = torch.from_numpy(images[:, None].astype(np.float32))
    yield from _tiny("pixels", pixels, x, lambda rows: BinaryImages(images[rows]), seed)


def word_cases(seed: int) -> Iterator[Case]:
    """Yield an LSTM of three letters with its nearest posterior and with another; its examples are its own draws."""
    words = torch.tensor([[2, *letters, 3] for letters in product((4, 5, 6), repeat=3)])
    decoder = untrained(LSTMDecoder(embedding=3, hidden=4), TextSpec(7), 1, 3.0, 2)
    yield from _tiny("words", decoder, words, lambda rows: documents(words[rows]), seed)


def text_case(seed: int) -> Case:
    """Return the true language model of synthetic text on documents that it drew."""
    model = language_model(vocabulary=12, a=1.0, b=1.0, seed=0)
    sample = model.sample(60, 5, np.random.RandomState(derive(seed, "text") % 2**32))
    vae, x, integrals = true_model(model, sample)
    table = tabulate(vae, x, TOLERANCE)
    evidence = likelihood_exact(-integrals.log_evidence, table.weight_variance, x.shape[1] - 1)
    exact = table_exact(table, np.ones(len(x), np.int64)) | evidence
    return _case("synthetic-text, true decoder", vae, sample.split(), exact, seed)


def linear_exact(model: LinearVAE, x: Floats) -> dict[str, Exact]:
    """Return the closed forms for this very split, (N, P)."""
    moments, n = Moments.of(x), len(x)
    units, information, bias = model.kl(moments), model.mutual_information(moments), model.bracket_bias(moments, n)
    return with_dialects(
        likelihood_exact(-model.log_density(x), model.weight_variance(x))
        | units_exact(model.example_kl(x), model.mean_variance(moments))
        | gap_exact(model, x)
        | {
            "neg_elbo": Exact(model.neg_elbo(moments)),
            "reconstruction": Exact(model.reconstruction(moments)),
            "kl": Exact(float(units.sum())),
            "mi_lower": _biased(information, -bias),
            "mi_leave_one_out": _biased(information, bias),
            "mi_upper": Exact(information, Relation.AT_LEAST),
            "aggregate_kl": _biased(model.aggregate_kl(moments), bias),
            "delta_shuffle": Exact(model.delta_shuffle(moments)),
            "delta_prior": Exact(model.delta_prior(moments)),
        }
    )


def table_exact(table: Table, counts: Ints) -> dict[str, Exact]:
    """Return the integrals for a split that has each example so many times. Given the split, nothing is biased."""
    weights = counts / counts.sum()
    kl = np.repeat(table.unit_kl, counts, axis=0)
    columns = {
        "neg_elbo": Exact(float(weights @ (table.reconstruction + table.kl))),
        "reconstruction": Exact(float(weights @ table.reconstruction)),
        "kl": Exact(float(weights @ table.kl)),
        "mi_lower": Exact(table.mutual_information(counts)),
        "mi_leave_one_out": Exact(table.leave_one_out(counts)),
        "mi_upper": Exact(table.mutual_information(counts), Relation.AT_LEAST),
        "aggregate_kl": Exact(table.aggregate_kl(counts)),
        "delta_shuffle": Exact(table.delta_shuffle(counts)),
        "delta_prior": Exact(table.delta_prior(counts)),
    }
    return with_dialects(units_exact(kl, table.mean_variance(counts)) | columns)


def gap_exact(model: LinearVAE, x: Floats) -> dict[str, Exact]:
    """Return the bounds of the encoder and of the best diagonal posterior, which refinement nearly reaches."""
    moments = Moments.of(x)
    best = LinearVAE.with_best_posterior(model.weights, model.bias, model.variance)
    encoder, refined, nll = model.neg_elbo(moments), best.neg_elbo(moments), model.nll(moments)
    left = WAY_LEFT * (encoder - refined) + NOISE_LEFT * (refined - nll)
    bias = float(best.weight_variance(x).mean()) / (2 * SAMPLES)
    approximation = _biased(refined - nll, -bias)
    return {
        "neg_elbo_encoder": Exact(encoder),
        "neg_elbo_own": Exact(encoder),
        "neg_elbo_refined": Exact(refined, slack=left),
        "iw_nll_refined": _biased(nll, bias),
        "amortization_gap": Exact(encoder - refined, slack=left),
        "approximation_gap": approximation._replace(slack=approximation.slack + left),
    }


def with_dialects(exact: dict[str, Exact]) -> dict[str, Exact]:
    """Add the entries of other papers. A mixture of a batch has less information on average."""
    same = {"kl": "kl", "mi": "mi_lower", "au": "active_units"}
    names = {f"{name}.{column}": entry for name in ("dieng2019", "li2019") for column, entry in same.items()}
    batch = {"he2019.kl": exact["kl"], "he2019.mi": Exact(exact["mi_upper"].value, Relation.AT_MOST)}
    return exact | {name: exact[entry] for name, entry in names.items()} | batch


def likelihood_exact(nll: Floats, variance: Floats, tokens: int = 1) -> dict[str, Exact]:
    r"""Return the mean of IW-NLL, \(-\log p(x) + \mathrm{Var}(w)/2K\) to the first order, and the perplexity per token.

    If the weights vary too much for the first order, the exact value is the one that IW-NLL bounds.
    """
    exact = _biased(float(nll.mean()), float(variance.mean()) / (2 * SAMPLES))
    perplexity = math.exp(exact.value / tokens)
    return {"iw_nll": exact, "perplexity": exact._replace(value=perplexity, slack=perplexity * exact.slack / tokens)}


def units_exact(kl: Floats, variance: Floats) -> dict[str, Exact]:
    """Return the entries of units, given the KL of every example, (N, D), and the variance of the mean, (D,)."""
    active, collapse = ActiveUnits(), Collapse()
    within = (kl < collapse.epsilon).mean(0) >= 1 - collapse.delta
    return (
        {f"kl[{unit}]": Exact(float(value)) for unit, value in enumerate(kl.mean(0))}
        | {f"mean_variance[{rank}]": Exact(float(value)) for rank, value in enumerate(np.sort(variance)[::-1])}
        | {
            "active_units": Exact(float((variance > active.threshold).sum())),
            "collapse": Exact(100 * float(within.mean())),
        }
    )


def documents(tokens: Tensor) -> TextSplit:
    """Return documents of one length, (N, L), as a split."""
    size, length = tokens.shape
    return TextSplit(tokens.numpy().astype(np.int32).ravel(), np.full(size, length, np.int32))


def _tiny(name: str, decoder: VAE, x: Tensor, split: Callable[[Ints], Split], seed: int) -> Iterator[Case]:
    """Yield cases with the nearest Gaussian posteriors and with others, on examples that are drawn from x by p(x)."""
    bare = tabulate(decoder, x, TOLERANCE)
    p = np.exp(bare.log_evidence)
    drawn = np.random.default_rng(derive(seed, name)).choice(len(x), size=EXAMPLES // 2, p=p / p.sum())
    counts, nearest = np.bincount(drawn, minlength=len(x)), bare.exact_posterior()
    moved = nearest.mean + 0.4 * (0.5 * nearest.logvar).exp()
    posteriors = {
        "matched posterior": nearest,
        "wrong posterior": DiagonalGaussian(moved, nearest.logvar + math.log(1.5)),
    }
    for what, posterior in posteriors.items():
        vae = with_posterior(decoder, x, posterior)
        table = tabulate(vae, x, TOLERANCE)
        nll, variance = -np.repeat(table.log_evidence, counts), np.repeat(table.weight_variance, counts)
        predictions = int(split(drawn).predictions[0])
        exact = table_exact(table, counts) | likelihood_exact(nll, variance, predictions)
        yield _case(f"{name}, {what}", vae, split(drawn), exact, seed)


def _case(name: str, vae: VAE, split: Split, exact: dict[str, Exact], seed: int) -> Case:
    noise = SeededNoise(derive(seed, name))
    return Case(name, EvaluatedSplit(vae, Amortized(), split, noise, BATCH, torch.device("cpu")), METRICS, exact)


def _biased(value: float, bias: float) -> Exact:
    """Return a value plus a bias that is known to the first order; with a large bias, return the value as a bound."""
    if abs(bias) < SMALL:
        return Exact(value + bias, slack=abs(bias))
    return Exact(value, Relation.AT_LEAST if bias > 0 else Relation.AT_MOST)

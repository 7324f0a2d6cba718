"""Datasets drawn from a known distribution, so that their truth can be computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from collapsebench.data.base import Generated, Seed, TrueLikelihood
from collapsebench.estimates import Estimate
from collapsebench.examples import Splits, TextSpec, VectorSpec

if TYPE_CHECKING:
    from collapsebench.data.synthetic import Sample
    from collapsebench.examples import Splits
    from collapsebench.spec import Setting


class SyntheticText(Generated):
    """Documents from a known latent-variable language model: z ~ N(0, I_2), x_t ~ softmax(A[x_{t-1}] + B z)."""

    name = "synthetic-text"

    vocabulary: PositiveInt = Field(100, ge=2, description="number of words V")
    length: PositiveInt = Field(12, description="words a document T, before EOS")
    a: PositiveFloat = Field(1.0, description="scale of the transition logits A = a N(0, 1)")
    b: PositiveFloat = Field(1.0, description="scale of the latent directions B = b N(0, 1)")
    train: PositiveInt = Field(16000, description="number of training documents")
    valid: PositiveInt = Field(1000, description="number of validation documents")
    test: PositiveInt = Field(1000, ge=2, description="number of test documents")
    seed: Seed = Field(0, description="draws A, B and the documents")

    def _samples(self) -> list[Sample]:
        from collapsebench.data import synthetic

        model = synthetic.language_model(self.vocabulary, self.a, self.b, self.seed)
        return synthetic.samples(model, self.length, (self.train, self.valid, self.test), self.seed)

    def load(self, folder: Path) -> Splits:
        """See Dataset."""
        from collapsebench.data.text import MARKERS

        del folder
        train, valid, test = (sample.split() for sample in self._samples())
        return Splits(TextSpec(self.vocabulary + len(MARKERS)), train, valid, test)

    def words(self, folder: Path) -> Sequence[str]:
        """See Dataset: the words have numbers for names, from `w0` on."""
        from collapsebench.data.text import MARKERS

        del folder
        return [*MARKERS, *(f"w{number}" for number in range(self.vocabulary))]

    def truth(self) -> Mapping[str, Estimate]:
        """See Generated: H(x) and I(x; z) over the test documents. They are cached, because they take seconds."""
        from collapsebench.data import cache, synthetic

        def compute() -> cache.Arrays:
            model = synthetic.language_model(self.vocabulary, self.a, self.b, self.seed)
            return synthetic.exact_entropy(model, self._samples()[-1].words)._asdict()

        key = {"version": self.version, "params": self.model_dump(mode="json"), "tolerance": synthetic.TOLERANCE}
        arrays = cache.cached(f"{self.name}-truth", key, compute)
        return {
            "entropy": Estimate(arrays["entropy"].item(), arrays["entropy_error"].item()),
            "mutual-information": Estimate(
                arrays["mutual_information"].item(), arrays["mutual_information_error"].item()
            ),
        }

    def true_likelihood(self, split: Literal["valid", "test"]) -> TrueLikelihood:
        """See Generated: exact for each document, by quadrature, and cached like the truth."""
        if split == "test":
            return TrueLikelihood(Estimate(self.truth()["entropy"].value), self.test)
        from collapsebench.data import cache, synthetic

        def compute() -> cache.Arrays:
            model = synthetic.language_model(self.vocabulary, self.a, self.b, self.seed)
            return {"nll": -synthetic.exact_integrals(model, self._samples()[1].words).log_evidence.mean(keepdims=True)}

        key = {"version": self.version, "params": self.model_dump(mode="json"), "tolerance": synthetic.TOLERANCE}
        arrays = cache.cached(f"{self.name}-validation", key, compute)
        return TrueLikelihood(Estimate(arrays["nll"].item()), self.valid)

    def best_possible(self, setting: Setting) -> Mapping[str, Estimate]:
        """See Generated: the best model is the true one. IW-NLL is exact: `truth` averages over the test documents."""
        best = super().best_possible(setting)
        nll = best["iw_nll"].value
        return {**best, "iw_nll": Estimate(nll), "perplexity": Estimate(exp(nll / (self.length + 1)))}


class LinearGaussian(Generated):
    """Gaussian vectors with a chosen spectrum, on which the linear VAE has a closed form."""

    name = "linear-gaussian"
    citation = "Lucas et al. (2019), Don't Blame the ELBO! A Linear VAE Perspective on Posterior Collapse"

    spectrum: tuple[PositiveFloat, ...] = Field((9.0, 4.0, 2.0, 1.0, 0.5), description="largest variances of x")
    noise_variance: PositiveFloat = Field(0.25, description="variance of x in every other direction")
    dimension: PositiveInt = Field(10, description="dimension of x")
    train: PositiveInt = Field(10000, description="number of training examples")
    valid: PositiveInt = Field(1000, description="number of validation examples")
    test: PositiveInt = Field(1000, description="number of test examples")
    seed: Seed = Field(0, description="draws the examples")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.spectrum) > self.dimension:
            raise ValueError(f"a spectrum of {len(self.spectrum)} values needs at least this dimension")
        return self

    @property
    def eigenvalues(self) -> tuple[float, ...]:
        """All eigenvalues of the covariance of x."""
        return (*self.spectrum, *[self.noise_variance] * (self.dimension - len(self.spectrum)))

    def load(self, folder: Path) -> Splits:
        """See Dataset."""
        from collapsebench.data.linear_gaussian import draw

        del folder
        return Splits(
            VectorSpec(self.dimension), *draw(self.eigenvalues, (self.train, self.valid, self.test), self.seed)
        )

    def truth(self) -> Mapping[str, Estimate]:
        """See Generated: H(x), and I(x; z) of the linear model with this covariance and this noise variance."""
        from collapsebench.data.linear_gaussian import entropy, optimum

        best = optimum(self.eigenvalues, len(self.spectrum), self.noise_variance)
        return {
            "entropy": Estimate(entropy(self.eigenvalues)),
            "mutual-information": Estimate(float(best.kl.sum())),
        }

    def true_likelihood(self, split: Literal["valid", "test"]) -> TrueLikelihood:
        """See Generated: in closed form for each example."""
        from collapsebench.data.linear_gaussian import draw, neg_log_likelihood

        _, valid, test = draw(self.eigenvalues, (self.train, self.valid, self.test), self.seed)
        values = (valid if split == "valid" else test).values
        nll = neg_log_likelihood(values, self.eigenvalues, self.dimension, min(self.eigenvalues))
        return TrueLikelihood(Estimate(float(nll.mean())), len(values))

    def best_possible(self, setting: Setting) -> Mapping[str, Estimate]:
        """See Generated: the best model is probabilistic PCA with the decoder's variance, or the best learned variance.

        The information is the amount that this decoder uses. It is less than that of the data if the decoder's variance
        is larger.
        """
        from collapsebench.data.linear_gaussian import best_variance, draw, neg_log_likelihood, optimum

        decoder = setting.decoder.params
        learned, units = decoder.get("learn_variance"), setting.latent_dim
        if setting.decoder.name != "linear" or (learned and units >= self.dimension):
            return {}  # another decoder, or one whose likelihood has no maximum
        variance = best_variance(self.eigenvalues, units) if learned else decoder["variance"]
        best = optimum(self.eigenvalues, units, variance)
        test = draw(self.eigenvalues, (self.train, self.valid, self.test), self.seed)[-1]
        nll = Estimate(float(neg_log_likelihood(test.values, self.eigenvalues, units, variance).mean()))
        information = Estimate(float(best.kl.sum()))
        return {
            "neg_elbo": nll,
            "iw_nll": nll,
            "kl": information,
            "mi_lower": information,
            "mi_upper": information,
            "active_units": Estimate(float(best.active)),
        }

r"""A known latent-variable language model: its documents, and their true entropy and mutual information.

    z ~ N(0, I_2);   x_t ~ softmax(A[x_{t-1}] + B z), t = 1…T;   A_{vw} = a N(0, 1), B_{vd} = b N(0, 1)

A has one more row, for the start of a document. Every document has T words, and BOS and EOS like any text. EOS is
certain after T words, so that it adds nothing to the entropy; a model still has to learn this.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from collapsebench.data.splits import TextSplit
from collapsebench.data.text import BOS, EOS, MARKERS
from collapsebench.errors import CollapsebenchError

Floats: TypeAlias = NDArray[np.float64]
Words: TypeAlias = NDArray[np.int64]
LATENT = 2
BLOCK = 50
"""The number of documents that are integrated at a time, over CHUNK points of the grid."""
CHUNK = 2**14
GRIDS = ((61, 4.5), (121, 7.5), (201, 8.5), (361, 9.0), (641, 10.0), (1281, 10.5))
"""Grids by points per axis and end of the axis, in the order of trial. Each is finer and wider than the last."""
TOLERANCE = 1e-10
"""A grid is fine and wide enough when the next one changes a result by less than this, in nats."""


class Sample(NamedTuple):
    """Documents, and the z of each."""

    words: Words  # (N, T), in 0…V-1
    z: Floats  # (N, 2)

    def split(self) -> TextSplit:
        """The documents as ids, from BOS to EOS."""
        size, length = self.words.shape
        column = np.ones((size, 1), np.int64)
        tokens = np.hstack([BOS * column, self.words + len(MARKERS), EOS * column])
        return TextSplit(tokens.ravel().astype(np.int32), np.full(size, length + 2, np.int32))


class Truth(NamedTuple):
    """The true numbers in nats per document, with Monte Carlo standard errors; scalars."""

    entropy: Floats
    entropy_error: Floats
    mutual_information: Floats
    mutual_information_error: Floats


class Integrals(NamedTuple):
    """The integrals over z for each document."""

    log_evidence: Floats
    """log p(x), (N,), nats."""
    information: Floats
    """KL(p(z|x) || p(z)) = E_p(z|x) log p(x|z) - log p(x), (N,), nats; the mean over documents is I(x; z)."""
    mean: Floats
    """The mean of p(z|x), (N, 2)."""
    variance: Floats
    """The variance of p(z|x), (N, 2)."""


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """p(z) p(x|z) with V words."""

    transitions: Floats  # A: (V + 1, V); the last row is the start
    directions: Floats  # B: (V, 2)

    @property
    def start(self) -> int:
        """The row of A for the start of a document."""
        return len(self.directions)

    def sample(self, size: int, length: int, rng: np.random.RandomState) -> Sample:
        """Draw documents word by word, by inverting the cumulative distribution.

        The generator is frozen and BLAS is not used, so that a seed gives the same documents on every machine.
        """
        z = rng.standard_normal((size, LATENT))
        shift = z[:, :1] * self.directions[:, 0] + z[:, 1:] * self.directions[:, 1]  # (N, V)
        words = np.empty((size, length), np.int64)
        previous = np.full(size, self.start)
        for t in range(length):
            logits = self.transitions[previous] + shift
            cumulative = np.exp(logits - logits.max(-1, keepdims=True)).cumsum(-1)
            threshold = rng.random_sample((size, 1)) * cumulative[:, -1:]
            previous = (cumulative[:, :-1] <= threshold).sum(-1)
            words[:, t] = previous
        return Sample(words, z)

    def integrate(self, words: Words, points: int = 61, limit: float = 4.5) -> Integrals:
        """Integrate N(z) p(x|z) over z for every document, by sums over a grid on [-limit, limit]^2."""
        axis = np.linspace(-limit, limit, points)
        z = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, LATENT)  # (G, 2)
        log_weight = 2 * np.log(axis[1] - axis[0]) - np.log(2 * np.pi) - 0.5 * np.square(z).sum(-1)
        top, sums = np.full(len(words), -np.inf), np.zeros((len(words), 2 + 2 * LATENT))
        for start in range(0, len(z), CHUNK):
            part = slice(start, start + CHUNK)
            features = np.column_stack([np.ones(len(z[part])), z[part], z[part] ** 2])
            normalizers = self._log_normalizers(z[part])
            for rows in (slice(at, at + BLOCK) for at in range(0, len(words), BLOCK)):
                log_p = self._on_grid(words[rows], z[part], normalizers)
                joint = log_p + log_weight[part]
                largest = np.maximum(top[rows], joint.max(1))
                weight = np.exp(joint - largest[:, None])
                sums[rows] *= np.exp(top[rows] - largest)[:, None]
                sums[rows] += np.column_stack([weight @ features, (weight * log_p).sum(1)])
                top[rows] = largest
        means = sums[:, 1:] / sums[:, :1]
        mean, squares, log_likelihood = means[:, :LATENT], means[:, LATENT:-1], means[:, -1]
        log_evidence: Floats = np.log(sums[:, 0]) + top
        return Integrals(log_evidence, log_likelihood - log_evidence, mean, squares - mean**2)

    def _on_grid(self, words: Words, z: Floats, normalizers: Floats) -> Floats:
        """Return log p(x|z) of every document at every z, (N, G). Without the normalizers it is affine in z."""
        previous = self._previous(words)
        counts = np.zeros((len(words), len(self.transitions)))
        np.add.at(counts, (np.arange(len(words))[:, None], previous), 1)
        fixed = self.transitions[previous, words].sum(-1, keepdims=True)
        log_p: Floats = fixed + self.directions[words].sum(1) @ z.T - counts @ normalizers
        return log_p

    def _log_normalizers(self, z: Floats) -> Floats:
        """Return log sum_v exp(A[u, v] + B_v z) for every row u of A, (V + 1, G)."""
        rows, shift = self.transitions, self.directions @ z.T
        row_top, shift_top = rows.max(-1, keepdims=True), shift.max(0)
        sums: Floats = np.exp(rows - row_top) @ np.exp(shift - shift_top)
        log_normalizers: Floats = np.log(sums) + row_top + shift_top
        return log_normalizers

    def _previous(self, words: Words) -> Words:
        """Return the row of A that each word is drawn from, (N, T)."""
        return np.hstack([np.full((len(words), 1), self.start), words[:, :-1]])


def language_model(vocabulary: int, a: float, b: float, seed: int) -> LanguageModel:
    """Draw a model with A = a N(0, 1) and B = b N(0, 1)."""
    rng = np.random.RandomState([seed, 0])
    transitions = a * rng.standard_normal((vocabulary + 1, vocabulary))
    return LanguageModel(transitions, b * rng.standard_normal((vocabulary, LATENT)))


def samples(model: LanguageModel, length: int, sizes: Iterable[int], seed: int) -> list[Sample]:
    """Draw one sample per split, each from its own generator, so that the size of one does not change another."""
    return [model.sample(size, length, np.random.RandomState([seed, i])) for i, size in enumerate(sizes, 1)]


def exact_integrals(model: LanguageModel, words: Words, tolerance: float = TOLERANCE) -> Integrals:
    """Integrate every document on finer and wider grids, until its log p(x) and its information settle.

    They settle when a grid changes them by less than the tolerance, in nats. The last grid is then far more exact, as
    the error falls exponentially with the step. Raises CollapsebenchError if the finest grid is too coarse.
    """
    found = model.integrate(words, *GRIDS[0])
    unsettled = np.arange(len(words))
    for grid in GRIDS[1:]:
        finer = model.integrate(words[unsettled], *grid)
        changes = [np.abs(new - old[unsettled]) for new, old in zip(finer[:2], found[:2], strict=True)]
        for new, old in zip(finer, found, strict=True):
            old[unsettled] = new
        unsettled = unsettled[np.maximum(*changes) >= tolerance]
        if not unsettled.size:
            return found
    raise CollapsebenchError(f"the quadrature of log p(x) does not settle on {GRIDS[-1][0]} points an axis")


def exact_entropy(model: LanguageModel, words: Words) -> Truth:
    """Estimate H(x) = -E log p(x) and I(x; z) = E KL(p(z|x) || p(z)) by documents from the model.

    Both are exact for each document, so that the entropy is also the true model's negative log-likelihood of these
    documents. The standard errors are those of the mean over documents.
    """
    integrals = exact_integrals(model, words)
    return Truth(*_estimate(-integrals.log_evidence), *_estimate(integrals.information))


def _estimate(values: Floats) -> tuple[Floats, Floats]:
    return np.asarray(values.mean()), np.asarray(values.std(ddof=1) / np.sqrt(len(values)))

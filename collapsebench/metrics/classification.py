"""Classifiers that find labels in codes, for the probes. All are trained on the CPU, off the clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from collapsebench.estimates import Estimate

if TYPE_CHECKING:
    from collapsebench.metrics.evaluation import EvaluatedSplit, Labelled

PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
"""C of the logistic regression: the weight of the likelihood against half the squared norm of the weights."""

FOLDS = 5
"""Of the cross-validation."""

ITERATIONS = 1000
"""Of L-BFGS at most."""

WIDTH, DROPOUT = 1024, 0.5
"""Of the hidden layers in Dieng et al. 2019."""

BATCH, LEARNING_RATE = 100, 1e-3
"""Of Adam, which the MLP is trained with."""


def probed(
    split: EvaluatedSplit,
    examples: int,
    columns: Sequence[str],
    classify: Callable[[Labelled, Float[Tensor, "N D"]], Int[Tensor, " N"]],
) -> dict[str, Estimate]:
    """The accuracy with the contender's codes, and with those of the encoder that it started from.

    `classify` learns from at most so many labelled training codes and gives the class of each test code. Empty where
    there are no labels, no units, or fewer training examples of every class than the cross-validation has folds.
    """
    untrained = split.untrained()
    if untrained is None or split.latent_dim == 0:
        return {}
    values = {}
    for column, model in zip(columns, (split, untrained), strict=True):
        train, test = model.training_codes(examples), model.codes()
        if train is None or test is None or not _learnable(train.labels):
            return {}
        values[column] = _accuracy(train, test, classify)
    return values


def _learnable(labels: Int[Tensor, " N"]) -> bool:
    counts = np.unique(labels, return_counts=True)[1]
    return len(counts) > 1 and int(counts.max()) >= FOLDS


def _accuracy(
    train: Labelled, test: Labelled, classify: Callable[[Labelled, Float[Tensor, "N D"]], Int[Tensor, " N"]]
) -> Estimate:
    """Percent, with the binomial standard error; NaN where a code is not finite."""
    if not (train.mean.isfinite().all() and test.mean.isfinite().all()):
        return Estimate(math.nan, math.nan)
    share = float((classify(train, test.mean) == test.labels).double().mean())
    return Estimate(100 * share, 100 * math.sqrt(share * (1 - share) / len(test.labels)))


def logistic_regression(train: Labelled, codes: Float[Tensor, "N D"]) -> Int[Tensor, " N"]:
    """Multinomial logistic regression in float64, C chosen by stratified cross-validation without shuffling.

    One thread, as matrices this small only lose by more.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from threadpoolctl import threadpool_limits

    search = GridSearchCV(LogisticRegression(max_iter=ITERATIONS), {"C": PENALTIES}, cv=StratifiedKFold(FOLDS))
    with threadpool_limits(1):
        search.fit(train.mean.numpy(), train.labels.numpy())
        return torch.from_numpy(search.predict(codes.numpy()))


def mlp(train: Labelled, codes: Float[Tensor, "N D"], *, epochs: int, seed: int) -> Int[Tensor, " N"]:
    """Two hidden layers of ReLUs with dropout, cross-entropy, Adam; weights, order and dropout drawn from the seed.

    torch's global generator is left as it was.
    """
    classes, targets = map(torch.from_numpy, np.unique(train.labels, return_inverse=True))
    inputs, depth = train.mean.float(), train.mean.shape[1]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        network = nn.Sequential(*_hidden(depth), *_hidden(WIDTH), nn.Linear(WIDTH, len(classes)))
        optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, fused=True)
        for _ in range(epochs):
            order = torch.randperm(len(inputs))
            for start in range(0, len(inputs), BATCH):
                rows = order[start : start + BATCH]
                optimizer.zero_grad()
                torch.autograd.backward(nn.functional.cross_entropy(network(inputs[rows]), targets[rows]))
                optimizer.step()
    with torch.no_grad():
        scores: Tensor = network.eval()(codes.float())
        return classes[scores.argmax(1)]


def _hidden(width: int) -> tuple[nn.Module, ...]:
    return nn.Linear(width, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT)

"""The classifiers of the probes, which find labels in codes. They are trained on the CPU, and not on the clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from collapsebench.estimates import Declined, Estimate
from collapsebench.metrics.metric import NO_UNITS
from collapsebench.model.kernels.optimizers import Adam

if TYPE_CHECKING:
    from collapsebench.metrics.evaluation import EvaluatedSplit, LabelledCodes

PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
"""The choices of C in the logistic regression. C weighs the likelihood against half the squared norm of the weights."""

FOLDS = 5
"""The folds of the cross-validation."""

ITERATIONS = 1000
"""The most iterations of L-BFGS."""

WIDTH, DROPOUT = 1024, 0.5
"""The units and the dropout rate of the hidden layers, as in Dieng et al. 2019."""

BATCH, LEARNING_RATE = 100, 1e-3
"""The batch size and the learning rate of Adam, which trains the MLP."""


def probe_accuracies(
    split: EvaluatedSplit,
    examples: int,
    columns: Sequence[str],
    classify: Callable[[LabelledCodes, Float[Tensor, "N D"]], Int[Tensor, " N"]],
) -> dict[str, Estimate | Declined]:
    """Give the accuracy with the contender's codes, and with the codes of its encoder before the first step.

    `classify` learns from at most `examples` labelled training codes, and gives the class of each test code. Both are
    declined without labels, without units, with one class, or if no class has as many training examples as the
    cross-validation has folds. The result is empty without provenance.
    """
    untrained = split.untrained()
    if untrained is None:
        return {}
    if split.latent_dim == 0:
        return dict.fromkeys(columns, NO_UNITS)
    values: dict[str, Estimate | Declined] = {}
    for column, model in zip(columns, (split, untrained), strict=True):
        train, test = model.training_codes(examples), model.codes()
        if train is None or test is None:
            return dict.fromkeys(columns, Declined("no labels"))
        obstacle = _obstacle(train.labels)
        if obstacle is not None:
            return dict.fromkeys(columns, obstacle)
        values[column] = _accuracy(train, test, classify)
    return values


def _obstacle(labels: Int[Tensor, " N"]) -> Declined | None:
    """Say why these classes cannot be learned; None if they can."""
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) == 1:
        return Declined("one class alone")
    return None if int(counts.max()) >= FOLDS else Declined(f"no class has {FOLDS} training examples")


def _accuracy(
    train: LabelledCodes,
    test: LabelledCodes,
    classify: Callable[[LabelledCodes, Float[Tensor, "N D"]], Int[Tensor, " N"]],
) -> Estimate:
    """Give the accuracy in percent with its binomial standard error. NaN if a code is not finite."""
    if not (train.mean.isfinite().all() and test.mean.isfinite().all()):
        return Estimate(math.nan, math.nan)
    share = float((classify(train, test.mean) == test.labels).double().mean())
    return Estimate(100 * share, 100 * math.sqrt(share * (1 - share) / len(test.labels)))


def logistic_regression(train: LabelledCodes, codes: Float[Tensor, "N D"]) -> Int[Tensor, " N"]:
    """Classify codes by multinomial logistic regression in float64.

    C is chosen by stratified cross-validation without shuffling. It runs in one thread, as more threads are slower for
    matrices of this size.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    search = GridSearchCV(LogisticRegression(max_iter=ITERATIONS), {"C": PENALTIES}, cv=StratifiedKFold(FOLDS))
    with threadpool_limits(1):
        search.fit(train.mean.numpy(), train.labels.numpy())
        return torch.from_numpy(search.predict(codes.numpy()))


def multilayer_perceptron(
    train: LabelledCodes, codes: Float[Tensor, "N D"], *, epochs: int, seed: int
) -> Int[Tensor, " N"]:
    """Classify codes by a network of two hidden layers of ReLUs with dropout, trained on the cross-entropy by Adam.

    Weights, order and dropout are drawn from the seed. Torch's global generator keeps its state.
    """
    classes, targets = map(torch.from_numpy, np.unique(train.labels, return_inverse=True))
    inputs, depth = train.mean.float(), train.mean.shape[1]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        network = nn.Sequential(*_hidden(depth), *_hidden(WIDTH), nn.Linear(WIDTH, len(classes)))
        optimizer = Adam(network.parameters(), LEARNING_RATE)
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

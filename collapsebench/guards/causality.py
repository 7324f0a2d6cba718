r"""The likelihood is one: no factor looks ahead, at other examples, or at what the encoder was shown.

\(p(x|z) = \prod_t p(x_t | x_{<t}, z)\) is a distribution over x only if no factor sees the symbol that it predicts, or
a later one. A bidirectional layer, attention without a mask or a padded convolution sees it, and wins every board.
"""

from __future__ import annotations

import copy
import secrets
from typing import NamedTuple, cast

import torch
from torch import Tensor

from collapsebench.errors import PluginError
from collapsebench.model.factors import Factorized
from collapsebench.model.modes import in_evaluation
from collapsebench.model.seeding import Noise
from collapsebench.model.vae import VAE

EXAMPLES = 4
"""So many examples of a batch are looked at closely."""

POSITIONS = 6
"""So many positions are drawn beside the first, the middle and the last one."""

DOUBLE = 1e-9
"""The largest difference of two float64 results of the same work, relative to their size or to one."""

SINGLE = 1e-5
"""The same in the model's own precision, where equal shapes give equal bits wherever nothing leaks."""

SUMS = 1e-4
"""The same for sums in the model's own precision that are made in another order."""


class _Tolerance(NamedTuple):
    """The largest relative differences: of the same work on equal shapes, and of sums in another order."""

    same: float
    sums: float


def check_causality(vae: VAE, x: Tensor, noise: Noise) -> None:
    """Raise PluginError if the likelihood of a factorized decoder is not one, for the first examples of a batch.

    The symbols from a position on are changed, and what is predicted up to it must stay: at the first, the middle and
    the last position, and at six that the operating system draws. The other examples are changed, and the predictions
    of the first and the last one must stay. The whole batch must give an example the likelihood that a few examples
    give it. The encoder is shown other examples, and all must stay. The predictions must give the likelihood. It is
    tried in float64, so that an untrained leak is enough, and a violation must show in the model's own precision, too.
    This catches a look ahead at any distance, at any site, in any module. It cannot catch a leak that waits for other
    examples, parameters or calls than these, or that is at a few positions only; and it says nothing about a decoder
    that is not `Factorized`.
    """
    if not isinstance(vae.decoder, Factorized):
        return
    try:
        _try(copy.deepcopy(vae).double(), x, noise, _Tolerance(DOUBLE, DOUBLE))
    except Exception:  # noqa: BLE001 - modules of plugins may know one precision, or hold what cannot be copied
        _try(vae, x, noise, _Tolerance(SINGLE, SUMS))


def _try(vae: VAE, x: Tensor, noise: Noise, tolerance: _Tolerance) -> None:
    like = next(vae.decoder.parameters())
    x = x.to(like.dtype) if x.is_floating_point() else x
    z = vae.prior.sample(len(x), noise.child("causality"))[None].to(like)
    with torch.no_grad(), in_evaluation(vae):
        _check_examples(vae, x, z, tolerance)
        _check_positions(cast("Factorized", vae.decoder), x[:1], z[:, :1], tolerance)


def _check_positions(decoder: Factorized, x: Tensor, z: Tensor, tolerance: _Tolerance) -> None:
    """Check one example in many versions, each changed from another position on."""
    length = decoder.symbols(x).shape[1]
    positions = sorted({0, length // 2, length - 1, *(secrets.randbelow(length) for _ in range(POSITIONS))})
    same = x.repeat(len(positions), *[1] * (x.ndim - 1))
    later, codes = same.clone(), z.expand(-1, len(positions), -1)
    for row, position in enumerate(positions):
        decoder.symbols(later)[row, position:] = decoder.symbols(_changed(x))[0, position:]
    expected, found = decoder.predictions(same, codes), decoder.predictions(later, codes)
    for row, position in enumerate(positions):
        upto = slice(position + 1)
        if not _equal(found[:, row, upto], expected[:, row, upto], tolerance.same):
            raise PluginError(
                f"the decoder looks ahead: what it predicts for symbol {position + 1} or before changes with the "
                "symbols from there on, so that log p(x|z) is no likelihood"
            )


def _check_examples(vae: VAE, x: Tensor, z: Tensor, tolerance: _Tolerance) -> None:
    """Check the first examples beside others, alone, and after the encoder was shown others."""
    decoder = cast("Factorized", vae.decoder)
    few, codes = x[:EXAMPLES], z[:, :EXAMPLES]
    expected, changed, likelihood = decoder.predictions(few, codes), _changed(few), vae.log_likelihood(few, codes)
    if not _equal(likelihood, decoder.score(expected, few), tolerance.sums):
        raise PluginError("the likelihood is not the product of its factors: log p(x|z) is not the sum of their logs")
    for row in (0, len(few) - 1):
        others = changed.clone()
        others[row] = few[row]
        if not _equal(decoder.predictions(others, codes)[:, row], expected[:, row], tolerance.same):
            raise PluginError("the decoder looks at other examples: log p(x|z) of an example changes with them")
    if not _equal(vae.log_likelihood(x, z)[:, :EXAMPLES], likelihood, tolerance.sums):
        raise PluginError("the decoder looks at other examples: log p(x|z) changes with the size of the batch")
    for shown in (few, changed):
        vae.encode(shown)
        if not _equal(decoder.predictions(few, codes), expected, tolerance.same):
            raise PluginError("the decoder remembers what the encoder was shown: log p(x|z) changes with it")


def _changed(x: Tensor) -> Tensor:
    """Return other symbols of the same kind: each value that x holds becomes the next one."""
    values, index = torch.unique(x, return_inverse=True)
    return x + 1 if len(values) == 1 else values[(index + 1) % len(values)]


def _equal(left: Tensor, right: Tensor, tolerance: float) -> bool:
    """Return whether the numbers agree; equal infinities and two NaN do."""
    return torch.allclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True)

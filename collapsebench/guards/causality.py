r"""The likelihood is one: no factor looks ahead, at other examples, or at what the encoder was shown.

\(p(x|z) = \prod_t p(x_t | x_{<t}, z)\) is a distribution over x only if no factor sees the symbol that it predicts, or
a later one. A bidirectional layer, attention without a mask or a padded convolution sees it, and wins every board.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from collapsebench.errors import PluginError
from collapsebench.model.factors import Factorized
from collapsebench.model.seeding import Noise
from collapsebench.model.vae import VAE

EXAMPLES = 2
"""So many examples of a batch are enough: a leak is in the network, and not in an example."""

DOUBLE = 1e-9
"""The largest difference of two float64 results of the same work, relative to their size or to one."""

SINGLE = 1e-3
"""The same for a model that cannot be copied, and so is tried in its own precision."""


def check_causality(vae: VAE, x: Tensor, noise: Noise) -> None:
    """Raise PluginError if the likelihood of a factorized decoder is not one, for the first examples of a batch.

    The symbols from a position on are changed, and what is predicted up to it must stay: at the first position, in the
    middle and at the last. The other examples are changed, and the predictions of an example must stay. The encoder is
    shown other examples, and all must stay. The predictions must give the likelihood. This catches a look ahead at any
    distance, at any site, in any module; in float64, so that an untrained leak is enough. It cannot catch a leak that
    waits for other examples, parameters or calls than these, and it says nothing about a decoder that is not
    `Factorized`.
    """
    if not isinstance(vae.decoder, Factorized):
        return
    model, tolerance = _double(vae)
    x = x[:EXAMPLES].to(next(model.decoder.parameters()).dtype) if x.is_floating_point() else x[:EXAMPLES]
    z = model.prior.sample(len(x), noise.child("causality"))[None].to(next(model.decoder.parameters()))
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            _check(model, x, z, tolerance)
    finally:
        for module, training in modes:
            module.training = training


def _double(vae: VAE) -> tuple[VAE, float]:
    """Return a copy of the model in float64 and the tolerance; or the model itself if it cannot be copied."""
    try:
        return copy.deepcopy(vae).double(), DOUBLE
    except Exception:  # noqa: BLE001 - modules of plugins may hold anything
        return vae, SINGLE


def _check(vae: VAE, x: Tensor, z: Tensor, tolerance: float) -> None:
    decoder: Factorized = vae.decoder  # type: ignore[assignment]
    expected, changed = decoder.predictions(x, z), _changed(x)
    if not _equal(vae.log_likelihood(x, z), decoder.score(expected, x), tolerance):
        raise PluginError("the likelihood is not the product of its factors: log p(x|z) is not the sum of their logs")
    for position in sorted({0, expected.shape[2] // 2, expected.shape[2] - 1}):
        later = x.clone()
        decoder.symbols(later)[:, position:] = decoder.symbols(changed)[:, position:]
        upto = slice(position + 1)
        if not _equal(decoder.predictions(later, z)[:, :, upto], expected[:, :, upto], tolerance):
            raise PluginError(
                f"the decoder looks ahead: what it predicts for symbol {position + 1} or before changes with the "
                "symbols from there on, so that log p(x|z) is no likelihood"
            )
    others = torch.cat([x[:1], changed[1:]])
    if not _equal(decoder.predictions(others, z)[:, :1], expected[:, :1], tolerance):
        raise PluginError("the decoder looks at other examples: log p(x|z) of an example changes with them")
    for shown in (x, changed):
        vae.encode(shown)
        if not _equal(decoder.predictions(x, z), expected, tolerance):
            raise PluginError("the decoder remembers what the encoder was shown: log p(x|z) changes with it")


def _changed(x: Tensor) -> Tensor:
    """Return other symbols of the same kind: each value that x holds becomes the next one."""
    values, index = torch.unique(x, return_inverse=True)
    return x + 1 if len(values) == 1 else values[(index + 1) % len(values)]


def _equal(left: Tensor, right: Tensor, tolerance: float) -> bool:
    """Return whether the numbers agree; equal infinities and two NaN do."""
    return torch.allclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True)

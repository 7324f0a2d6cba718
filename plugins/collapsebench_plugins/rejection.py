"""Rejection sampling from a source of noise, which several families and priors share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from collapsebench import Noise, PluginError

PROPOSALS = 8
"""The proposals for each draw that are made at once."""

ROUNDS = 100
"""So many rounds of proposals without an acceptance are no accident."""

Propose = Callable[[Noise, int], tuple[Tensor, Tensor]]
"""Gives that many proposals for each draw from the noise, and which of them are accepted: both (P, N)."""


def first_accepted(propose: Propose, noise: Noise) -> Tensor:
    """Give the first accepted proposal of each draw, (N,). The same noise gives the same draws.

    Raises PluginError if there is none after many rounds, as with noise that is no noise.
    """
    found, missing = _chosen(*propose(noise.child("round", 0), PROPOSALS))
    for number in range(1, ROUNDS):
        if not missing.any():
            return found
        further, still = _chosen(*propose(noise.child("round", number), PROPOSALS))
        found, missing = torch.where(missing, further, found), missing & still
    raise PluginError(f"none of {PROPOSALS * ROUNDS} proposals was accepted: the noise or a parameter is no number")


def _chosen(proposals: Tensor, accepted: Tensor) -> tuple[Tensor, Tensor]:
    """Give the first accepted proposal of each draw, and where there is none."""
    first = accepted.to(torch.uint8).argmax(0, keepdim=True)
    return proposals.gather(0, first)[0], ~accepted.any(0)

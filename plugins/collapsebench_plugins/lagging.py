"""Lagging inference networks: the encoder is trained aggressively, until it lags no more."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt, PrivateAttr

from collapsebench import Component, Family, Method, Progress, UsageError, hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn

    from collapsebench import VAE, Encoder, Terms


class Stop(StrEnum):
    """When the aggressive phase ends."""

    FALL = "fall"
    """At the first evaluation whose mutual information is below that of the one before."""
    PATIENCE = "patience"
    """At the fifth evaluation, in all, whose mutual information is below the best so far."""


class Lagging(Method):
    r"""Lagging inference networks: at first the encoder takes many steps for each of the decoder.

    In the aggressive phase only the encoder is updated until its training loss no longer falls: after every window of
    steps, the loss per word (of images, per example) in nats is compared with that of the window before, and the inner
    loop ends if it is higher, or after `limit` steps. Then the decoder alone takes one step, and the loop begins anew.
    Later all parameters are updated together (He et al. 2019; jxhe/vae-lagging-encoder: text.py:366-470).

    - `window` 15, `limit` 99 and `stop` fall are those of the program for text. The one for images has 10, 99 and
      patience with `patience` 5; its counter is never reset (image.py:379-392).
    - `stop` looks at the mutual information of the validation split at each scheduled evaluation, where the authors
      look once an epoch. Theirs is an estimate within a batch, ours is `mi_lower` over the split.
    - The authors' inner loop starts with the batch of the decoder's step and draws its others at random. Here every
      step has the next batch of the epoch.
    - Gradients are clipped together, also those of the parameters that rest, as the authors do.
    - What is trained and shown is the ELBO.
    - Cost of a step: that of the plain VAE, though only a part is updated, as in the program. Every update of the
      encoder is a step of the budget, in FLOPs and seconds, too. So in the phase the decoder has one of 31 to 100 steps
      by default, where that of the baseline has all. The epochs of the program count steps of the decoder alone.
    - Neutral: none. The phase has at least one evaluation.
    """

    name: ClassVar[str] = "lagging"
    family: ClassVar[Family] = Family.PROCEDURE
    citation: ClassVar[str] = (
        "He, Spokoyny, Neubig, Berg-Kirkpatrick, Lagging Inference Networks and Posterior Collapse in Variational "
        "Autoencoders, ICLR 2019"
    )

    window: PositiveInt = Field(15, description="steps of the encoder whose mean loss is compared")
    limit: PositiveInt = Field(99, description="the most steps of the encoder for one of the decoder")
    stop: Stop = Field(
        Stop.FALL,
        description="when the phase ends: fall, when the MI first falls; patience, after evaluations below its best",
    )
    patience: PositiveInt = Field(5, description="number of evaluations below the best, of the rule patience")
    _inner: int = PrivateAttr(0)
    """The steps of the encoder in this loop."""
    _decoder_next: bool = PrivateAttr(False)
    _sum: float = PrivateAttr(0.0)
    _words: int = PrivateAttr(0)
    _before: float = PrivateAttr(math.inf)
    """The mean loss of the window before."""
    _evaluations: int = PrivateAttr(0)
    _newest: float = PrivateAttr(0.0)
    _best: float = PrivateAttr(0.0)
    _below: int = PrivateAttr(0)
    """The evaluations that count against the phase."""

    @hookimpl
    def check_fit(self, encoder: Encoder | None) -> None:
        """Raise UsageError if there is no encoder."""
        if encoder is None:
            raise UsageError(f"method '{self.name}' trains the encoder, but there is no encoder")

    @hookimpl
    def modules_to_update(self, vae: VAE, progress: Progress) -> list[nn.Module] | None:
        """Give the encoder with what stands behind it, or all others; None after the phase."""
        if not self.aggressive(progress):
            return None
        inference = [module for module in (vae.encoder, vae.posterior, vae.heads) if module is not None]
        return [module for module in vae.children() if module not in inference] if self._decoder_next else inference

    @hookimpl
    def after_step(self, x: Tensor, terms: Terms, progress: Progress) -> None:
        """Count the step, and decide which one is next."""
        aggressive = self.aggressive(progress)
        self._judge(progress)
        if not aggressive or self._decoder_next:
            self._inner, self._decoder_next, self._before = 0, False, math.inf
            self._sum, self._words = 0.0, 0
            return
        self._inner += 1
        self._sum += float(terms.loss) * len(x)
        self._words += len(x) if x.is_floating_point() else x[:, 1:].numel()
        self._decoder_next = self._inner == self.limit or self._worse()

    def aggressive(self, progress: Progress) -> bool:
        """Tell whether the phase goes on, after what the newest evaluation says."""
        return self._against(progress) < (1 if self.stop is Stop.FALL else self.patience)

    def _against(self, progress: Progress) -> int:
        """Give the number of evaluations that count against the phase, the newest one included."""
        if progress.evaluations == self._evaluations:
            return self._below
        reference = self._newest if self.stop is Stop.FALL else self._best
        return self._below + (progress.validation["mi_lower"] < reference)

    def _judge(self, progress: Progress) -> None:
        """Take note of the newest evaluation."""
        if progress.evaluations != self._evaluations:
            self._below, self._evaluations = self._against(progress), progress.evaluations
            self._newest = progress.validation["mi_lower"]
            self._best = max(self._best, self._newest)

    def _worse(self) -> bool:
        """At the end of a window, compare it with the one before."""
        if self._inner % self.window:
            return False
        mean, before = self._sum / self._words, self._before
        self._before, self._sum, self._words = mean, 0.0, 0
        return mean > before


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [Lagging]

"""A strategy that computes no gradients trains nothing, and would stand in a board as if it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapsebench.errors import PluginError, place_of
from collapsebench.model.vae import VAE, Terms

if TYPE_CHECKING:
    from collapsebench.components.interfaces import Inference


def check_gradients(vae: VAE, inference: Inference) -> None:
    """Raise PluginError if no parameter has a gradient but zero, after the first call of `Inference.gradients`.

    This catches a strategy that forgets `backward()`, or takes its gradients away. It cannot tell whether they are the
    gradients of the objective.
    """
    if not any(parameter.grad is not None and parameter.grad.any() for parameter in vae.parameters()):
        raise PluginError(
            f"inference '{inference.name}': gradients() left no gradient in any parameter; return terms.backward() "
            f"({place_of(type(inference).gradients)})"
        )


def check_backward(vae: VAE, inference: Inference) -> None:
    """Raise PluginError if no parameter has got any gradient in a later step, not even zero.

    This catches a strategy that forgets `backward()` in some of its steps, which would end its training unseen.
    """
    if all(parameter.grad is None for parameter in vae.parameters()):
        check_gradients(vae, inference)


def check_terms(terms: object, inference: Inference) -> None:
    """Raise PluginError if `Inference.gradients` has returned something else than the terms of the objective."""
    if not isinstance(terms, Terms):
        raise PluginError(
            f"inference '{inference.name}': gradients() must return the Terms of the objective, as terms.backward() "
            f"does; got {type(terms).__name__} ({place_of(type(inference).gradients)})"
        )

"""Builds a contender: a model and its objective from components and hooks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf, prod
from typing import Final

import pluggy
import torch
from torch import Tensor, nn

from collapsebench.components.composition import call, check_fit, prior_of
from collapsebench.components.interfaces import Decoder, Encoder, Initialization, Posterior, Site
from collapsebench.errors import PluginError, UsageError, place_of
from collapsebench.examples import DataSpec
from collapsebench.experiment.arithmetic import DETERMINISTIC, algorithms, changed, filling
from collapsebench.experiment.fitting import check_families
from collapsebench.model.distributions import PriorDistribution, StandardNormal
from collapsebench.model.progress import Progress
from collapsebench.model.seeding import Noise, derive
from collapsebench.model.vae import VAE, DependentPrior, LatentSample, Networks, Objective
from collapsebench.printable import printable

NUMBERS: Final = {"kl_weight": "a number", "learning_rate": "a finite number from 0 on"}
"""What the methods give whose answers are multiplied."""


def objective_at(hooks: pluggy.HookRelay, progress: Progress, noise: Noise) -> Objective:
    """Return the contender's objective at one step: the KL weights of all its methods are multiplied."""
    return Objective(
        noise,
        kl_weight_at(hooks, progress),
        progress=progress,
        kl_penalty=partial(_kl_penalty, hooks) if hooks.kl_penalty.get_hookimpls() else None,
        extra_loss=partial(_extra_loss, hooks) if hooks.extra_loss.get_hookimpls() else None,
        corrupt_decoder_input=partial(_corrupted, hooks) if hooks.corrupt_decoder_input.get_hookimpls() else None,
    )


def _kl_penalty(hooks: pluggy.HookRelay, sample: LatentSample) -> Tensor | None:
    """Return what a method puts in place of the KL, None for the KL. Raises PluginError if it has another shape."""
    found: object = hooks.kl_penalty(sample=sample)
    if found is None or (isinstance(found, Tensor) and found.shape in {(), sample.reconstruction.shape}):
        return found
    raise _no_term("kl_penalty", f"a tensor of shape (B,) = ({len(sample.x)},), a scalar tensor or None", found, hooks)


def _extra_loss(hooks: pluggy.HookRelay, sample: LatentSample) -> Tensor | None:
    """Return the sum of what methods add, None if they add nothing. Raises PluginError if one is no scalar tensor."""
    found: list[object] = hooks.extra_loss(sample=sample)[::-1]  # pluggy calls the last method first
    total: Tensor | None = None
    for each in found:
        if not isinstance(each, Tensor) or each.shape:
            raise _no_term("extra_loss", "a scalar tensor or None", each, hooks)
        total = each if total is None else total + each
    return total


def _corrupted(hooks: pluggy.HookRelay, x: Tensor, noise: Noise) -> Tensor:
    """Return what the decoder reads: x, as all methods have changed it. Raises PluginError if one changes its form."""
    read = x
    for giver in hooks.corrupt_decoder_input.get_hookimpls():
        found = call(giver, x=read, noise=noise.child(giver.plugin_name))
        if not isinstance(found, Tensor) or (found.shape, found.dtype) != (x.shape, x.dtype):
            raise PluginError(
                f"corrupt_decoder_input must return a tensor {tuple(x.shape)} of {x.dtype}, got {_shown(found)} "
                f"({place_of(giver.function)})"
            )
        read = found
    return read


def _no_term(hook: str, wanted: str, got: object, hooks: pluggy.HookRelay) -> PluginError:
    givers = getattr(hooks, hook).get_hookimpls()
    places = " or ".join(place_of(each.function) for each in reversed(givers))
    return PluginError(f"{hook} must return {wanted}, got {_shown(got)} ({places})")


def _shown(got: object) -> str:
    return f"a tensor {tuple(got.shape)} of {got.dtype}" if isinstance(got, Tensor) else printable(repr(got))[:60]


def kl_weight_at(hooks: pluggy.HookRelay, progress: Progress) -> float:
    """Return the weight of the KL term at one step: the product of those of all methods.

    Raises PluginError if a method gives no number.
    """
    return prod((number for number, _ in _numbers(hooks.kl_weight, progress)), start=1.0)


def learning_rate_at(hooks: pluggy.HookRelay, progress: Progress) -> float:
    """Return the factor of the learning rate at one step: the product of those of all methods.

    Raises PluginError if a method gives no finite number from 0 on.
    """
    factor = 1.0
    for number, giver in _numbers(hooks.learning_rate, progress):
        if not 0 <= number < inf:
            raise _no_number("learning_rate", number, giver)
        factor *= number
    return factor


def _numbers(caller: pluggy.HookCaller, progress: Progress) -> Iterator[tuple[float, pluggy.HookImpl]]:
    """Give the numbers of all methods, the last one first. pluggy leaves None out, so that it is missing."""
    givers = [each for each in reversed(caller.get_hookimpls()) if not (each.wrapper or each.hookwrapper)]
    found = caller(progress=progress)
    if len(found) < len(givers):
        raise _no_number(caller.name, None, *givers)
    return ((_number(caller.name, value, giver), giver) for value, giver in zip(found, givers, strict=False))


def _number(hook: str, value: object, giver: pluggy.HookImpl) -> float:
    if isinstance(value, Tensor):
        value = value.detach()
    if isinstance(value, str):
        raise _no_number(hook, value, giver)
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise _no_number(hook, value, giver) from None


def _no_number(hook: str, value: object, *givers: pluggy.HookImpl) -> PluginError:
    places = " or ".join(place_of(each.function) for each in givers)
    wanted = NUMBERS[hook]
    return PluginError(f"{hook} must return {wanted}, got {printable(repr(value))[:60]} ({places})")


@dataclass(frozen=True)
class Architecture:
    """The components that a VAE is assembled from. A contender without an inference network has no encoder."""

    latent_dim: int
    encoder: Encoder | None
    posterior: Posterior
    decoder: Decoder
    initialization: Initialization


def assemble(architecture: Architecture, data: DataSpec, hooks: pluggy.HookRelay, seed: int) -> VAE:
    """Build the contender's VAE and draw its parameters from the seed.

    The parameters of a module depend on the seed and its name alone, so that a network that two contenders share starts
    equal in both. Frozen parameters keep the values that their module gave them. The global generator of torch is left
    as it was. Raises UsageError if a method does not fit.
    """
    check_fit(hooks, data, architecture.encoder, architecture.decoder)
    with torch.random.fork_rng(devices=[]), _empty_is_nan():
        prior = _prior(architecture, data, hooks, seed)
        torch.manual_seed(seed)
        vae = VAE(_networks(architecture, data, hooks, prior.latent_dim), StandardNormal(prior.latent_dim))
        initialize(vae, architecture.initialization, seed)
        vae.own_prior = prior
        vae.auxiliary.update(_modules(hooks.auxiliary_module, seed, latent_dim=prior.latent_dim, data=data))
        vae.heads.update(_heads(hooks, vae, seed))
        check_families(vae, hooks)
    return vae


def _prior(
    architecture: Architecture, data: DataSpec, hooks: pluggy.HookRelay, seed: int
) -> PriorDistribution | DependentPrior:
    """Build the prior, drawn with a seed of its own. It may depend on the width of the encoder's features."""
    givers = hooks.prior.get_hookimpls()
    if not givers:
        return StandardNormal(architecture.latent_dim)
    # For its width alone: the encoder of the model is built under the seed that is set after this.
    encoder = None if architecture.encoder is None else architecture.encoder.build(data)
    component = prior_of(hooks, architecture.latent_dim, data, None if encoder is None else _width(encoder))
    torch.manual_seed(derive(seed, "prior", *(each.plugin_name for each in givers)))
    return StandardNormal(architecture.latent_dim) if component is None else component.build()


@contextmanager
def _empty_is_nan() -> Iterator[None]:
    """Let torch fill memory with NaN in place of whatever stood there, so that it is seen if a module leaves it so."""
    with changed(algorithms(), DETERMINISTIC), changed(filling(), True):
        yield


def _heads(hooks: pluggy.HookRelay, vae: VAE, seed: int) -> dict[str, nn.Module]:
    """Build what changes the posterior. Raises UsageError if the contender has no encoder."""
    givers = hooks.posterior_head.get_hookimpls()
    if givers and vae.encoder is None:
        raise UsageError(f"method '{givers[0].plugin_name}' changes the encoder's posterior, but there is no encoder")
    width = None if vae.encoder is None else vae.encoder.width
    return _modules(hooks.posterior_head, seed, latent_dim=vae.latent_dim, width=width)


def _modules(caller: pluggy.HookCaller, seed: int, **given: object) -> dict[str, nn.Module]:
    """Build the modules of methods, by their names. Each is drawn by its constructor, with a seed of its own.

    Raises PluginError if a method gives no module, or has a name that torch's containers of modules use themselves.
    """
    found = {}
    for giver in caller.get_hookimpls():
        if giver.plugin_name in dir(nn.ModuleDict):
            raise PluginError(f"method '{giver.plugin_name}' has a module, for which torch needs another name of it")
        torch.manual_seed(derive(seed, caller.name, giver.plugin_name))
        module = call(giver, **given)
        if not isinstance(module, nn.Module):
            place = place_of(giver.function)
            raise PluginError(f"{caller.name} must return a module, got {_shown(module)} ({place})")
        found[giver.plugin_name] = module
    return found


def _networks(architecture: Architecture, data: DataSpec, hooks: pluggy.HookRelay, latent_dim: int) -> Networks:
    decoder = architecture.decoder.build(data, latent_dim, partial(connection, hooks))
    if architecture.encoder is None:
        return Networks(None, None, decoder)
    encoder = architecture.encoder.build(data)
    return Networks(encoder, architecture.posterior.build(_width(encoder), latent_dim), decoder)


def _width(encoder: nn.Module) -> int:
    width = encoder.width
    if not isinstance(width, int):
        raise PluginError(f"an encoder must have an integer `width`, got {width!r} of {type(encoder).__name__}")
    return width


def connection(hooks: pluggy.HookRelay, site: Site) -> nn.Module | None:
    """Return the module that a contender puts at one latent site, or None where z does not enter.

    Raises PluginError if it is not what a connection has to be.
    """
    with torch.random.fork_rng(devices=[]):  # what it draws shifts no other module of the contender
        module = hooks.connect_latent(site=site)
    if module is None:
        return None
    width = module.width if isinstance(module, nn.Module) else None
    required = site.required_width
    if not isinstance(width, int) or width != (width if required is None else required):
        wanted = "an integer `width`" + ("" if required is None else f" of {required}")
        raise PluginError(
            f"connect_latent must return a module with {wanted}, or None, at {site.kind} site {site.index}, "
            f"got {module!r}"
        )
    return module


def initialize(model: nn.Module, rule: Initialization, seed: int) -> None:
    """Draw every module's own parameters with a seed made of `seed` and its name. This changes torch's generator
    for the CPU.

    Parameters without `requires_grad` keep their values: their module has set them for good.
    """
    for name, module in model.named_modules():
        own = module.parameters(recurse=False)
        frozen = [(parameter, parameter.detach().clone()) for parameter in own if not parameter.requires_grad]
        torch.default_generator.manual_seed(derive(seed, name))
        rule.apply(module)
        for parameter, value in frozen:
            parameter.copy_(value)

"""Builds a contender: a model and its objective from components and hooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf, prod
from typing import Final

import pluggy
import torch
from torch import Tensor, nn

from collapsebench.components.composition import call, check_fit, place_in_method, prior_of
from collapsebench.components.interfaces import Decoder, Encoder, Initialization, Posterior, Site
from collapsebench.errors import PluginError, UsageError, brief, place_of, unexpected
from collapsebench.examples import DataSpec
from collapsebench.experiment.arithmetic import DETERMINISTIC, algorithms, changed, filling
from collapsebench.experiment.fitting import check_families
from collapsebench.model.distributions import PriorDistribution, StandardNormal
from collapsebench.model.progress import Progress
from collapsebench.model.seeding import Noise, derive
from collapsebench.model.vae import VAE, DependentPrior, LatentSample, Networks, Objective

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
    wanted = f"a tensor of shape (B,) = ({len(sample.x)},), a scalar tensor or None"
    raise _unexpected(hooks.kl_penalty.get_hookimpls(), found, wanted)


def _extra_loss(hooks: pluggy.HookRelay, sample: LatentSample) -> Tensor | None:
    """Return the sum of what methods add, None if they add nothing. Raises PluginError if one is no scalar tensor."""
    found: list[object] = hooks.extra_loss(sample=sample)[::-1]  # pluggy calls the last method first
    total: Tensor | None = None
    for each in found:
        if not isinstance(each, Tensor) or each.shape:
            raise _unexpected(hooks.extra_loss.get_hookimpls()[::-1], each, "a scalar tensor or None")
        total = each if total is None else total + each
    return total


def _corrupted(hooks: pluggy.HookRelay, x: Tensor, noise: Noise) -> Tensor:
    """Return what the decoder reads: x, as all methods have changed it. Raises PluginError if one changes its form."""
    read = x
    for giver in hooks.corrupt_decoder_input.get_hookimpls():
        found = call(giver, x=read, noise=noise.child(giver.plugin_name))
        if not isinstance(found, Tensor) or (found.shape, found.dtype) != (x.shape, x.dtype):
            raise _unexpected([giver], found, f"a tensor of shape {tuple(x.shape)} of {x.dtype}")
        read = found
    return read


def _unexpected(givers: Sequence[pluggy.HookImpl], got: object, wanted: str) -> PluginError:
    """Return the error of a hook that returned something else than it should."""
    return unexpected(place_in_method(*givers), _shown(got), wanted)


def _shown(got: object) -> str:
    return f"a tensor of shape {tuple(got.shape)} of {got.dtype}" if isinstance(got, Tensor) else brief(got)


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
            raise _no_number(number, giver)
        factor *= number
    return factor


def _numbers(caller: pluggy.HookCaller, progress: Progress) -> Iterator[tuple[float, pluggy.HookImpl]]:
    """Give the numbers of all methods, the last one first. pluggy leaves None out, so that it is missing."""
    givers = [each for each in reversed(caller.get_hookimpls()) if not (each.wrapper or each.hookwrapper)]
    found = caller(progress=progress)
    if len(found) < len(givers):
        raise _no_number(None, *givers)
    return ((_number(value, giver), giver) for value, giver in zip(found, givers, strict=False))


def _number(value: object, giver: pluggy.HookImpl) -> float:
    if isinstance(value, Tensor):
        value = value.detach()
    if isinstance(value, str):
        raise _no_number(value, giver)
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise _no_number(value, giver) from None


def _no_number(value: object, *givers: pluggy.HookImpl) -> PluginError:
    return _unexpected(givers, value, NUMBERS[givers[0].function.__name__])


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
    encoder = architecture.encoder
    width = None if encoder is None else _width(encoder, _module(encoder, encoder.build(data)))
    component = prior_of(hooks, architecture.latent_dim, data, width)
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
            raise _unexpected([giver], module, "a module")
        found[giver.plugin_name] = module
    return found


def _networks(architecture: Architecture, data: DataSpec, hooks: pluggy.HookRelay, latent_dim: int) -> Networks:
    built = architecture.decoder.build(data, latent_dim, partial(connection, hooks))
    decoder = _module(architecture.decoder, built)
    if architecture.encoder is None:
        return Networks(None, None, decoder)
    encoder = _module(architecture.encoder, architecture.encoder.build(data))
    posterior = architecture.posterior.build(_width(architecture.encoder, encoder), latent_dim)
    return Networks(encoder, _module(architecture.posterior, posterior), decoder)


def _module(component: Encoder | Posterior | Decoder, built: object) -> nn.Module:
    """Return what a component has built. Raises PluginError if it is no module."""
    if not isinstance(built, nn.Module):
        raise unexpected(_building(component), brief(built), "a module")
    return built


def _width(component: Encoder, encoder: nn.Module) -> int:
    width = getattr(encoder, "width", None)
    if not isinstance(width, int):
        got = f"a module {type(encoder).__name__} whose `width` is {width!r}"
        raise unexpected(_building(component), got, "one with an integer `width`")
    return width


def _building(component: Encoder | Posterior | Decoder) -> str:
    """Return where a component builds its module, for an error."""
    return f"{place_of(type(component).build)}, build of {component.kind} '{component.name}'"


def connection(hooks: pluggy.HookRelay, site: Site) -> nn.Module | None:
    """Return the module that a contender puts at one latent site, or None where z does not enter.

    Raises PluginError if it is not what a connection has to be.
    """
    with torch.random.fork_rng(devices=[]):  # what it draws shifts no other module of the contender
        module: object = hooks.connect_latent(site=site)
    if module is None:
        return None
    width, required = getattr(module, "width", None), site.required_width
    if isinstance(module, nn.Module) and isinstance(width, int) and width == (width if required is None else required):
        return module
    wanted = "an integer `width`" + ("" if required is None else f" of {required}")
    at = f"at {site.kind} site {site.index}"
    raise _unexpected(hooks.connect_latent.get_hookimpls(), module, f"a module with {wanted}, or None, {at}")


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

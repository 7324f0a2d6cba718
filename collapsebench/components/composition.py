"""Composition: the hooks of one contender, which pluggy calls together."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from collapsebench.components.hookspecs import PROJECT, MethodHooks
from collapsebench.components.interfaces import Component, Encoder, Inference, Method, Prior
from collapsebench.errors import UsageError, brief, place_of, unexpected
from collapsebench.model.needs import Need

if TYPE_CHECKING:
    from collapsebench.components.interfaces import Decoder
    from collapsebench.examples import DataSpec


def implemented(component: type[Component]) -> dict[str, Any]:
    """The functions of a class that are marked as hook implementations."""
    found: dict[str, Any] = {}
    for base in reversed(component.__mro__):
        found |= vars(base)
    return {name: value for name, value in found.items() if inspect.isfunction(value) and mark(value) is not None}


def mark(function: Any) -> Any:
    return getattr(function, f"{PROJECT}_impl", None)


class _MethodManager(pluggy.PluginManager):
    """Hooks of method instances: pluggy looks at the class and at marked functions only.

    Reading every attribute of a pydantic instance would trip its deprecated ones.
    """

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        return mark(next((vars(base)[name] for base in type(plugin).__mro__ if name in vars(base)), None))


def compose(methods: Iterable[Method]) -> pluggy.HookRelay:
    """The hooks of one contender.

    Raises UsageError if a method is named twice or two methods give the same first-result hook.
    """
    manager = _MethodManager(PROJECT)
    manager.add_hookspecs(MethodHooks)
    methods = list(methods)
    for method in methods:
        if manager.has_plugin(method.name):
            raise UsageError(f"method '{method.name}' is named twice in one contender")
        manager.register(method, method.name)
    for name in (name for name in vars(MethodHooks) if not name.startswith("_")):
        caller = getattr(manager.hook, name)
        givers = [implementation.plugin_name for implementation in caller.get_hookimpls()]
        if caller.spec.opts["firstresult"] and len(givers) > 1:
            raise UsageError(f"methods {' and '.join(map(repr, givers))} both give {name}: they cannot be combined")
    _check_inference(manager.hook)
    heads = [giver.plugin_name for giver in manager.hook.posterior_head.get_hookimpls()]
    check_order(heads, [method.name for method in methods if method.name in heads and Need.GAUSSIAN in method.takes()])
    check_needs(methods, {need: method.name for method in methods for need in method.takes()})
    return manager.hook


def check_order(heads: list[str], leaving: list[str]) -> None:
    """Raise UsageError if more than one head, or another one than the last, leaves the diagonal Gaussians."""
    if len(leaving) > 1:
        raise UsageError(
            f"methods {' and '.join(map(repr, leaving))} both leave the diagonal Gaussians: they cannot be combined"
        )
    behind = heads[heads.index(leaving[0]) + 1 :] if leaving else []
    if behind:
        raise UsageError(
            f"method '{leaving[0]}' leaves the diagonal Gaussians, which '{behind[0]}' changes: write {behind[0]} "
            f"before {leaving[0]}"
        )


def check_needs(methods: Iterable[Method], taken: Mapping[Need, str]) -> None:
    """Raise UsageError if a method needs what another one takes away, which `taken` names."""
    for method in methods:
        for need in Need:
            if need in method.needs() and need in taken:
                raise UsageError(
                    f"method '{method.name}' needs {need}, which '{taken[need]}' takes away: they cannot be combined"
                )


EXCLUDABLE = ("posterior_head", "kl_weight", "kl_penalty", "extra_loss")
"""The hooks that a strategy of inference may exclude. Without any of them none is asked for its strategy here."""


def _check_inference(hooks: pluggy.HookRelay) -> None:
    """Raise UsageError if a method changes what the inference of another leaves out."""
    given = {name: implementations for name in EXCLUDABLE if (implementations := getattr(hooks, name).get_hookimpls())}
    inferences = hooks.inference.get_hookimpls()
    found = hooks.inference() if given and inferences else None
    if not isinstance(found, Inference):
        return
    name = inferences[0].plugin_name
    if "posterior_head" in given and not found.uses_encoder:
        raise UsageError(
            f"method '{given['posterior_head'][0].plugin_name}' changes the encoder's posterior, but '{name}' has no "
            "encoder: they cannot be combined"
        )
    for hook in found.excludes:
        for implementation in given.get(hook, ()):
            raise UsageError(
                f"method '{implementation.plugin_name}' gives {hook}, which has no meaning beside '{name}': they "
                "cannot be combined"
            )


def _check_states(hooks: pluggy.HookRelay, encoder: Encoder) -> None:
    """Raise UsageError if the contender's inference needs every state of an encoder that has none."""
    inference = hooks.inference()
    if isinstance(inference, Inference) and inference.needs_states and not encoder.states:
        name = hooks.inference.get_hookimpls()[0].plugin_name
        raise UsageError(
            f"method '{name}' needs the states of a recurrent encoder, but encoder '{encoder.name}' has none"
        )


def check_fit(hooks: pluggy.HookRelay, data: DataSpec, encoder: Encoder | None, decoder: Decoder) -> None:
    """Raise UsageError if a method does not fit the data or the networks. `encoder` is None if inference needs none."""
    corrupting = hooks.corrupt_decoder_input.get_hookimpls()
    if corrupting and not decoder.reads:
        raise UsageError(
            f"method '{corrupting[0].plugin_name}' changes what the decoder reads, but decoder '{decoder.name}' reads "
            "no symbols"
        )
    if encoder is not None:
        _check_states(hooks, encoder)
    for giver in hooks.check_fit.get_hookimpls():
        call(giver, data=data, encoder=encoder, decoder=decoder)


def call(implementation: pluggy.HookImpl, **given: object) -> Any:
    """Call the implementation of one method alone, with the arguments that it names."""
    return implementation.function(**{name: given[name] for name in implementation.argnames})


def place_in_method(*givers: pluggy.HookImpl) -> str:
    """Return where a hook is given, for an error: `mine.py:12, kl_weight of method 'mine'`."""
    places = " or ".join(place_of(each.function) for each in givers)
    methods = " or ".join(f"'{each.plugin_name}'" for each in givers)
    return f"{places}, {givers[0].function.__name__} of method {methods}"


def inference_of(hooks: pluggy.HookRelay, default: Inference) -> Inference:
    """The contender's inference strategy. Raises PluginError if a method returns something else."""
    found = hooks.inference()
    return default if found is None else _instance(found, Inference, hooks.inference)


def prior_of(hooks: pluggy.HookRelay, latent_dim: int, data: DataSpec, width: int | None) -> Prior | None:
    """The contender's prior, None for N(0, I). Raises PluginError if a method returns something else."""
    found = hooks.prior(latent_dim=latent_dim, data=data, width=width)
    return None if found is None else _instance(found, Prior, hooks.prior)


def methods_of(hooks: pluggy.HookRelay) -> list[Method]:
    """The methods of a contender, in no particular order."""
    names = (name for name in vars(MethodHooks) if not name.startswith("_"))
    found = {each.plugin_name: each.plugin for name in names for each in getattr(hooks, name).get_hookimpls()}
    return list(found.values())


def _instance(found: object, kind: type[Any], caller: pluggy.HookCaller) -> Any:
    if not isinstance(found, kind):
        raise unexpected(place_in_method(*caller.get_hookimpls()), brief(found), f"an instance of {kind.__name__}")
    return found

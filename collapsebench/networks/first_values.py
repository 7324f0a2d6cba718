"""The rules for the first values of one module's own parameters. They draw from torch's global generator.

The harness seeds that generator for each module. So a value depends on the seed and the module's name alone.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import nn

from collapsebench.errors import PluginError


@runtime_checkable
class Resettable(Protocol):
    """A module that can draw its own parameters again, as every layer of torch can."""

    def reset_parameters(self) -> None:
        """Give the module's own parameters their first values."""


def reset(module: nn.Module) -> None:
    """Draw the parameters by torch's default. A module that cannot do so keeps the values that it gave them itself.

    Raises PluginError if it gave them none: the harness fills memory with NaN while networks are built.
    """
    if isinstance(module, Resettable):
        module.reset_parameters()
    elif any(parameter.isnan().any() for parameter in module.parameters(recurse=False)):
        raise PluginError(
            f"{type(module).__name__} has parameters of its own without values, and no method reset_parameters() that "
            "draws them"
        )


def uniform(module: nn.Module, scale: float) -> None:
    """Draw every parameter from U(-scale, scale)."""
    for parameter in module.parameters(recurse=False):
        nn.init.uniform_(parameter, -scale, scale)


def he_linear(module: nn.Module) -> None:
    """Draw the weights of affine maps from N(0, 2 / fan_in), and all other parameters by torch's default."""
    reset(module)
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

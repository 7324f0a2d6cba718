"""Initializations: the rules by which parameters get their first values."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from collapsebench.components.interfaces import Initialization

if TYPE_CHECKING:
    from torch import nn


class LibraryDefault(Initialization):
    """Torch's default: `reset_parameters` of every module."""

    name: ClassVar[str] = "torch"

    def apply(self, module: nn.Module) -> None:
        """Draw the parameters by torch's default. Raises PluginError if the module cannot reset them."""
        from collapsebench.networks import first_values

        first_values.reset(module)


class Uniform(Initialization):
    """Every parameter from U(-scale, scale), biases too, as in the released text code of Dieng et al. 2019."""

    name: ClassVar[str] = "uniform"
    scale: PositiveFloat = Field(0.1, description="the largest absolute value")

    def apply(self, module: nn.Module) -> None:
        """Draw every parameter from U(-scale, scale)."""
        from collapsebench.networks import first_values

        first_values.uniform(module, self.scale)


class HeLinear(Initialization):
    """Weights of affine maps from N(0, 2/fan_in), the rest by torch's default, as in Dieng et al.'s image code."""

    name: ClassVar[str] = "he-linear"
    citation: ClassVar[str] = "He, Zhang, Ren and Sun, Delving Deep into Rectifiers, ICCV 2015"

    def apply(self, module: nn.Module) -> None:
        """Draw the weights and the rest. Raises PluginError if the module cannot reset its parameters."""
        from collapsebench.networks import first_values

        first_values.he_linear(module)

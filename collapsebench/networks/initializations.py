"""Initializations: the rules by which parameters get their first values."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from collapsebench.components.interfaces import Initialization

if TYPE_CHECKING:
    from torch import nn


class LibraryDefault(Initialization):
    """The default of the library: `reset_parameters` of every module."""

    name: ClassVar[str] = "torch"

    def apply(self, module: nn.Module) -> None:
        """Raises PluginError for parameters whose module cannot reset them."""
        from collapsebench.networks import first_values

        first_values.reset(module)


class Uniform(Initialization):
    """Every parameter from U(-scale, scale), biases included (the released text code of Dieng et al. 2019)."""

    name: ClassVar[str] = "uniform"
    scale: PositiveFloat = Field(0.1, description="the largest absolute value")

    def apply(self, module: nn.Module) -> None:
        """Draw every parameter from U(-scale, scale)."""
        from collapsebench.networks import first_values

        first_values.uniform(module, self.scale)


class HeLinear(Initialization):
    """Weights of affine maps from N(0, 2/fan_in), the rest as the library does (the released image code)."""

    name: ClassVar[str] = "he-linear"
    citation: ClassVar[str] = "He, Zhang, Ren and Sun, Delving Deep into Rectifiers, ICCV 2015"

    def apply(self, module: nn.Module) -> None:
        """Raises PluginError for parameters whose module cannot reset them."""
        from collapsebench.networks import first_values

        first_values.he_linear(module)

"""Posteriors that are no narrower than a bound."""

from typing import ClassVar

from pydantic import Field, PositiveFloat

from collapsebench import Method, hookimpl


class Blurred(Method):
    """A constant is added to every posterior variance."""

    name: ClassVar[str] = "blurred"
    variance: PositiveFloat = Field(0.1, description="what is added to every variance")

    @hookimpl
    def posterior_head(self):
        from torch import nn

        from collapsebench import DiagonalGaussian

        class Blur(nn.Module):
            def __init__(self, variance):
                super().__init__()
                self.variance = variance

            def forward(self, posterior, features):
                return DiagonalGaussian(posterior.mean, (posterior.logvar.exp() + self.variance).log())

        return Blur(self.variance)


@hookimpl
def collapsebench_components():
    return [Blurred]

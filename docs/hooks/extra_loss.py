"""A price on codes of one batch whose mean is not that of the prior."""

from typing import ClassVar

from pydantic import Field, NonNegativeFloat

from collapsebench import Method, hookimpl


class Centred(Method):
    """The squared mean of the codes of a batch is added to the loss."""

    name: ClassVar[str] = "centred"
    weight: NonNegativeFloat = Field(1.0, description="weight of the squared mean")

    @hookimpl
    def extra_loss(self, sample):
        return self.weight * sample.z.mean(0).square().sum()  # a scalar, nats per example


@hookimpl
def collapsebench_components():
    return [Centred]

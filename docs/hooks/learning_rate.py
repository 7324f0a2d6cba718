"""A learning rate that grows in the first part of training."""

from typing import Annotated, ClassVar

from pydantic import Field

from collapsebench import Method, hookimpl


class WarmRate(Method):
    """The learning rate grows from zero to that of the track in the first part of training."""

    name: ClassVar[str] = "warm-rate"
    warmup: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="share of the budget in which it grows")

    @hookimpl
    def learning_rate(self, progress):
        return min(1.0, progress.fraction / self.warmup)


@hookimpl
def collapsebench_components():
    return [WarmRate]

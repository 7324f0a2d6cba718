"""A KL term that is switched on late."""

from typing import Annotated, ClassVar

from pydantic import Field

from collapsebench import Method, hookimpl


class LateKL(Method):
    """No KL term in the first part of training."""

    name: ClassVar[str] = "late-kl"
    start: Annotated[float, Field(ge=0, le=1)] = Field(0.2, description="share of the budget without a KL term")

    @hookimpl
    def kl_weight(self, progress):
        return float(progress.fraction >= self.start)


@hookimpl
def collapsebench_components():
    return [LateKL]

"""The method my-method."""

from typing import ClassVar

from pydantic import Field, NonNegativeFloat

from collapsebench import Family, Method, Range, SearchRange, hookimpl


class MyMethod(Method):
    r"""The KL term has a constant weight: say here in one line what your method changes.

    \(L = -\log p(x|z) + \beta\, KL(q \| p)\), in nats per example.
    """

    name: ClassVar[str] = "my-method"
    family: ClassVar[Family] = Family.OBJECTIVE
    citation: ClassVar[str] = "you, unpublished"
    neutral: ClassVar[dict[str, float]] = {"beta": 1}
    search: ClassVar[dict[str, SearchRange]] = {"beta": Range(0.2, 0.8)}

    beta: NonNegativeFloat = Field(0.5, description="weight β of the KL term")

    @hookimpl
    def kl_weight(self, progress):
        """Give the weight at this step. `progress.fraction` is the share of the budget that is spent, from 0 to 1."""
        return self.beta


@hookimpl
def collapsebench_components():
    """Name what this plugin adds."""
    return [MyMethod]

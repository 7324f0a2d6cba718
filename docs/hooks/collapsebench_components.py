"""A plugin that registers two methods."""

from typing import ClassVar

from pydantic import Field, PositiveFloat

from collapsebench import Method, hookimpl


class Heavy(Method):
    """The KL term counts more than in the plain VAE."""

    name: ClassVar[str] = "heavy"
    weight: PositiveFloat = Field(4.0, description="weight of the KL term")

    @hookimpl
    def kl_weight(self):
        return self.weight


class Light(Method):
    """The KL term counts less than in the plain VAE."""

    name: ClassVar[str] = "light"
    weight: PositiveFloat = Field(0.25, description="weight of the KL term")

    @hookimpl
    def kl_weight(self):
        return self.weight


@hookimpl
def collapsebench_components():
    return [Heavy, Light]

"""A bound on the weights of the decoder, which holds after every step."""

from typing import ClassVar

from pydantic import Field, PositiveFloat

from collapsebench import Method, hookimpl


class BoundedDecoder(Method):
    """No weight of the decoder is larger than the bound. What a method keeps from step to step changes here, too."""

    name: ClassVar[str] = "bounded-decoder"
    bound: PositiveFloat = Field(0.5, description="the largest absolute value of a weight")

    @hookimpl
    def after_step(self, vae):
        import torch

        with torch.no_grad():
            for parameter in vae.decoder.parameters():
                parameter.clamp_(-self.bound, self.bound)


@hookimpl
def collapsebench_components():
    return [BoundedDecoder]

"""The decoder reads some examples backwards."""

from typing import Annotated, ClassVar

from pydantic import Field

from collapsebench import Method, hookimpl


class Backwards(Method):
    """With some probability the decoder reads an example of the batch from its end. It still scores it as it is."""

    name: ClassVar[str] = "backwards"
    rate: Annotated[float, Field(ge=0, le=1)] = Field(0.25, description="share of examples that are read backwards")

    @hookimpl
    def corrupt_decoder_input(self, x, noise):
        import torch

        chosen = noise.uniform((len(x),), torch.empty(0, device=x.device)) < self.rate
        return torch.where(chosen.reshape(-1, *[1] * (x.ndim - 1)), x.flip(1), x)


@hookimpl
def collapsebench_components():
    return [Backwards]

"""The encoder is frozen at first."""

from typing import Annotated, ClassVar

from pydantic import Field

from collapsebench import Method, hookimpl


class DecoderFirst(Method):
    """In the first part of training only the decoder is updated."""

    name: ClassVar[str] = "decoder-first"
    share: Annotated[float, Field(ge=0, le=1)] = Field(0.2, description="share of the budget with a frozen encoder")

    @hookimpl
    def modules_to_update(self, vae, progress):
        return [vae.decoder] if progress.fraction < self.share else None


@hookimpl
def collapsebench_components():
    return [DecoderFirst]

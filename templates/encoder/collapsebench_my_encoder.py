"""The encoder my-encoder."""

from typing import ClassVar

from pydantic import Field, PositiveInt

from collapsebench import Encoder, ImageSpec, UsageError, hookimpl


class MyEncoder(Encoder):
    """One hidden layer over the pixels: say here in one line what your encoder is."""

    name: ClassVar[str] = "my-encoder"

    hidden: PositiveInt = Field(64, description="units of the hidden layer")

    def build(self, data):
        """Build the module x (B, C, H, W) -> features (B, F). Its `width` is F. Raises UsageError for other data."""
        from torch import nn

        if not isinstance(data, ImageSpec):
            raise UsageError(f"encoder 'my-encoder' reads binary images, got {data}")
        channels, height, breadth = data.shape
        module = nn.Sequential(nn.Flatten(), nn.Linear(channels * height * breadth, self.hidden), nn.ReLU())
        module.width = self.hidden
        return module


@hookimpl
def collapsebench_components():
    """Name what this plugin adds."""
    return [MyEncoder]

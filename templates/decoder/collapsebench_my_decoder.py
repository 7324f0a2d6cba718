"""The decoder my-decoder."""

from typing import ClassVar

from pydantic import Field, PositiveInt
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from collapsebench import Decoder, ImageSpec, Sampling, Site, SiteKind, UsageError, hookimpl


class MyDecoder(Decoder):
    """One hidden layer over z, and independent pixels: say here in one line what your decoder is."""

    name: ClassVar[str] = "my-decoder"

    hidden: PositiveInt = Field(64, description="units of the hidden layer")

    def build(self, data, latent_dim, connect):
        """Build the module (x, z, dropout) -> log p(x|z). Raises UsageError for other data than binary images."""
        if not isinstance(data, ImageSpec):
            raise UsageError(f"decoder 'my-decoder' models binary images, got {data}")
        channels, height, breadth = data.shape
        return Pixels(channels * height * breadth, latent_dim, self.hidden, connect)


class Pixels(nn.Module):
    """z (S, B, D) -> log p(x|z) in nats, (S, B). Without latent units (D = 0) all examples have one distribution."""

    def __init__(self, pixels, latent_dim, hidden, connect):
        super().__init__()
        self.width = hidden
        self.first = nn.Linear(latent_dim, hidden) if latent_dim else None
        self.hidden = nn.Linear(hidden, hidden)
        # A method may let z in here, as skip does. None: nobody does.
        self.connection = connect(Site(SiteKind.VECTOR, 0, hidden, latent_dim)) if latent_dim else None
        self.output = nn.Linear(hidden, pixels)

    def forward(self, x, z, dropout=None):
        """Score the examples x, (B, C, H, W). Masks of dropout would be drawn from the noise `dropout`."""
        logits = self.logits(z)
        pixels = x.flatten(1).expand_as(logits)
        return -binary_cross_entropy_with_logits(logits, pixels, reduction="none").sum(-1)

    def sample(self, z, shape, noise, sampling=Sampling.RANDOM):
        """Make an image for each z, (S, B, *shape). `collapsebench samples` shows them."""
        probability = self.logits(z).sigmoid().view(*z.shape[:2], *shape)
        if sampling is Sampling.EXPECTED:
            return probability
        return (noise.uniform(probability.shape, probability) < probability).to(probability)

    def logits(self, z):
        """Map z, (S, B, D), to the logits of all pixels, (S, B, pixels)."""
        rows = z.flatten(0, 1)  # (S·B, D)
        h = self.hidden(rows.new_zeros(len(rows), self.width) if self.first is None else self.first(rows))
        h = h if self.connection is None else self.connection(h, rows)
        return self.output(h.relu()).view(*z.shape[:2], -1)


@hookimpl
def collapsebench_components():
    """Name what this plugin adds."""
    return [MyDecoder]

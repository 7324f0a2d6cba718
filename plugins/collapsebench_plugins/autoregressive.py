"""Inverse autoregressive flows: masked networks, and the posterior that they make of a diagonal Gaussian."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from collapsebench import DiagonalGaussian, Draw, PosteriorDistribution, SeededNoise, in_type_of, normals
from collapsebench_plugins.iaf import Form

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collapsebench import Noise

MEAN_DRAWS = 16
"""The mean is over so many draws and their mirror images."""

OPEN = 2.0
"""The gates start at sigmoid(2) = 0.88 where the networks give zero: the paper takes one or two."""


class MaskedLinear(nn.Linear):
    """A linear layer in which an output sees some of the inputs alone."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.mask: Tensor
        self.register_buffer("mask", mask.to(self.weight))

    def forward(self, h: Tensor) -> Tensor:
        """Apply the layer."""
        return nn.functional.linear(h, self.weight * self.mask, self.bias)


class MADE(nn.Module):
    """(z, context) -> (m, s), where both of unit j depend on the units before j and on the context (Germain 2015)."""

    def __init__(self, latent_dim: int, width: int, layers: int, *, context: bool) -> None:
        super().__init__()
        units = torch.arange(latent_dim)
        hidden = torch.arange(width) % max(1, latent_dim - 1)
        degrees = [units, *[hidden] * layers]
        inner = [MaskedLinear(after[:, None] >= before) for before, after in pairwise(degrees)]
        self.layers = nn.ModuleList([*inner, MaskedLinear(units.repeat(2)[:, None] > degrees[-1])])
        self.context = nn.Linear(latent_dim, width, bias=False) if context else None

    def forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Give m and s, each of the shape of z."""
        first, *further = self.layers
        h = first(z)
        if self.context is not None and context is not None:
            h = h + self.context(context)
        for layer in further:
            h = layer(h.relu())
        m, s = h.chunk(2, -1)
        return m, s


class Flow(nn.Module):
    """The steps of a flow: z0 -> z, each with the order of the units reversed before it."""

    def __init__(self, networks: Iterable[MADE], form: Form) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.form = form

    def forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Give the code after all steps, and the logarithm of the volume that they make of a unit volume, (…,)."""
        volume = z.new_zeros(z.shape[:-1])
        for network in self.networks:
            z = z.flip(-1)
            scale, shift, log_scale = self._map(*network(z, context))
            z, volume = scale * z + shift, volume + log_scale.sum(-1)
        return z, volume

    def inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Give the code before all steps, and the same volume. Each step finds one unit after the other."""
        volume = z.new_zeros(z.shape[:-1])
        for network in reversed(self.networks):
            before = torch.zeros_like(z)
            for unit in range(z.shape[-1]):
                scale, shift, _ = self._map(*network(before, context))
                found = (z[..., unit] - shift[..., unit]) / scale[..., unit]
                before = torch.cat((before[..., :unit], found[..., None], before[..., unit + 1 :]), -1)
            volume = volume + self._map(*network(before, context))[2].sum(-1)
            z = before.flip(-1)
        return z, volume

    def _map(self, m: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give scale, shift and the logarithm of the scale of one step."""
        if self.form is Form.AFFINE:
            return s.exp(), m, s
        s = s + OPEN
        gate = s.sigmoid()
        return gate, (1 - gate) * m, nn.functional.logsigmoid(s)


class FlowPosterior(PosteriorDistribution):
    r"""\(z = f(z_0; h)\), \(z_0 \sim N(\mu, e^\ell)\). Its parameters are \(\mu\), \(\ell\) and, if there is one, h."""

    def __init__(self, parameters: Tensor, flow: Flow) -> None:
        self._parameters, self.flow = parameters, flow
        self.start = DiagonalGaussian(parameters[0], parameters[1])
        self.context = parameters[2] if len(parameters) == 3 else None

    @property
    def parameters(self) -> Tensor:
        """Mean, log-variance and context, (P, B, D)."""
        return self._parameters

    def at(self, parameters: Tensor) -> FlowPosterior:
        """Give the flow from another start, and with another context."""
        return FlowPosterior(parameters, in_type_of(self.flow, parameters))

    def draw(self, noise: Noise) -> Draw:
        """Draw one code for each example."""
        drawn = self.draws((noise,))
        return Draw(drawn.z[0], lambda: drawn.log_q()[0])

    def draws(self, noises: Sequence[Noise]) -> Draw:
        """Draw a code from each source of noise. The density of a draw needs no inversion."""
        start = self.start.sample(normals(noises, self.start.mean))
        z, volume = self.flow(start, self.context)
        return Draw(z, lambda: self.start.log_prob(start) - volume)

    def log_prob(self, z: Tensor) -> Tensor:
        """Give log q(z|x), through the inverse of the flow."""
        start, volume = self.flow.inverse(z, self.context)
        return self.start.log_prob(start) - volume

    @cached_property
    def mean(self) -> Tensor:
        """The mean of 32 draws from noise that all examples share, so that an unused unit has the same for all."""
        with torch.no_grad():
            mean = self.start.mean
            noise = SeededNoise(0).normal((MEAN_DRAWS, 1, mean.shape[1]), mean).expand(-1, len(mean), -1)
            drawn = self.start.sample(torch.cat((noise, -noise)))
            found: Tensor = self.flow(drawn, self.context)[0].mean(0)
            return found

    def same_information(self, z: Tensor) -> tuple[PosteriorDistribution, Tensor]:
        """Give the start and its codes, unless the map differs between examples."""
        return (self, z) if self.context is not None else (self.start, self.flow.inverse(z, None)[0])

    def pair_cost(self) -> int:
        """Give the multiplications of an inversion by those of a Gaussian, which has four for each unit."""
        if self.context is None:
            return 1
        return max(1, sum(each.numel() for each in self.flow.parameters()) // 2)


class FlowHead(nn.Module):
    """(q, features) -> the posterior of a flow that starts from q."""

    def __init__(self, flow: Flow, latent_dim: int, width: int | None) -> None:
        super().__init__()
        self.flow = flow
        self.context = None if width is None else nn.Linear(width, latent_dim)

    def forward(self, posterior: DiagonalGaussian, features: Tensor) -> PosteriorDistribution:
        """Give the posterior. Without steps it is q itself."""
        if not len(self.flow.networks):
            return posterior
        parameters = posterior.parameters
        if self.context is not None:
            parameters = torch.cat((parameters, self.context(features)[None]))
        return FlowPosterior(parameters, self.flow)

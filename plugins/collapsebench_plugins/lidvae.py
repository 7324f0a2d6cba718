"""LIDVAE: the decoder ends in Brenier maps of its state and z, which are injective in z."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from collapsebench import Component, Decoder, Family, Method, Site, SiteKind, UsageError, hookimpl

if TYPE_CHECKING:
    from torch import nn


class LIDVAE(Method):
    r"""LIDVAE: the decoder ends in Brenier maps of its state and z, which are injective in z.

    \(\mathrm{logits}_t = \nabla f_2(A\, \nabla f_1([h_t, z]) + b)\), in place of the map to the vocabulary (Wang, Blei
    and Cunningham 2021). \(f_1\) and \(f_2\) are input-convex networks: \(h_0 = \ell(U_0 y + b_0)^2\), \(h_l =
    \ell(W_l h_{l-1} + U_l y + b_l)\) for l = 1 … L, and \(f = h_L\) is a number. z enters nowhere else. The first state
    of an LSTM is a map of ones in place of z, and its layers read the words alone.

    - Defaults are the authors' (yixinwang/lidvae-public, sequential_pytorch): `width` and `layers` in
      src/config/config_yahoo.py, the others in src/modules/decoders/dec_lstm.py.
    - `floor`: in the forward pass no entry of \(W_l\) is below it, so that f is convex. Entries below have no gradient.
    - `low`, `high`: the singular values of the weight of A, with `low` added to its diagonal, are moved into these
      bounds in the forward pass. The gradient is that of the moved matrix, without quotients of near singular values.
    - Left of the release: its layers stand in plain lists, which no checkpoint keeps, and the weight of A is made by
      `Parameter(…).cuda()`, which is no parameter: on a GPU it is never trained, saved or initialised. Its \(W_l\)
      start far below the floor, so that they stay at it. Here all are trained from the track's first values, as the
      equation says. Its log on Yahoo diverges after five epochs.
    - The biases \(b_l\) of the layers behind \(h_0\) have no gradient, here as there: they only say where slopes
      change. A warning tells of them.
    - Injective in z is \(\nabla f_1\), if the columns of \(U_0\) for z are independent, and A, if the vocabulary is no
      smaller than state and z together. \(\nabla f_2\) is so for certain if `width` is no smaller than the vocabulary,
      which it is not at the authors' sizes. A softmax does not see a constant in all logits.
    - The decoder must have an output site: `lstm`, or `transformer`, which is ours. Their models of images, mixtures in
      TensorFlow, are not shipped. It cannot be combined with another method that connects z.
    - What is trained and shown is the ELBO.
    - Cost of a step: with n predicted words, width W, state H, vocabulary V and I = H + D, about \(n W [(8L + 4)(I + V)
      + 16 (L - 1) W] + 6 n I V\) FLOPs in place of \(6 n H V\), and a singular value decomposition of V x I with its
      gradient in each step, and one in each other pass. At the authors' sizes the maps cost 4.7 times as much as the
      plain map to the vocabulary, and the decomposition with its gradient as much as that map for 5,600 words.
    - Neutral: none.
    """

    name: ClassVar[str] = "lidvae"
    family: ClassVar[Family] = Family.DECODER
    without_gradient: ClassVar[tuple[str, ...]] = ("direct.0.bias", "direct.1.bias")
    citation: ClassVar[str] = (
        "Wang, Blei and Cunningham, Posterior Collapse and Latent Variable Non-identifiability, NeurIPS 2021"
    )

    width: PositiveInt = Field(1024, description="units W of every hidden layer of both convex networks")
    layers: PositiveInt = Field(2, description="layers L behind the first one")
    slope: PositiveFloat = Field(0.2, le=1, description="slope of the leaky rectifiers below 0")
    floor: NonNegativeFloat = Field(0.01, description="the smallest entry of the matrices between layers")
    low: PositiveFloat = Field(1e-5, description="the smallest singular value of A, and what is added to its diagonal")
    high: PositiveFloat = Field(10.0, description="the largest singular value of A")

    @model_validator(mode="after")
    def _in_order(self) -> LIDVAE:
        if self.low > self.high:
            raise ValueError(f"the smallest singular value, {self.low:g}, is above the largest, {self.high:g}")
        return self

    @hookimpl
    def check_fit(self, decoder: Decoder) -> None:
        """Raise UsageError if the decoder has no output site."""
        if not decoder.output_site:
            raise UsageError(
                f"method 'lidvae' gives the logits of a vocabulary, but decoder '{decoder.name}' has no output site"
            )

    @hookimpl
    def connect_latent(self, site: Site) -> nn.Module | None:
        """Give the maps at the output site."""
        if site.kind is not SiteKind.OUTPUT:
            return None
        from collapsebench_plugins.brenier import BrenierMap, FullRankLinear, InjectiveOutput

        inputs, outputs = site.width + site.latent_dim, site.outputs
        first, second = (
            BrenierMap(size, self.width, self.layers, slope=self.slope, floor=self.floor) for size in (inputs, outputs)
        )
        between = FullRankLinear(inputs, outputs, shift=self.low, low=self.low, high=self.high)
        return InjectiveOutput(first, between, second)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [LIDVAE]

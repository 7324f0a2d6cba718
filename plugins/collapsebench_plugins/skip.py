"""Skip connections from z to every layer of the decoder (Skip-VAE)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from collapsebench import Component, Family, Method, Site, SiteKind, hookimpl

if TYPE_CHECKING:
    from torch import nn


class Skip(Method):
    r"""Skip-VAE: every layer of the decoder reads z.

    Layer l gives \(h_l = f_l(g_l(h_{l-1}, z))\). The connection g is that of the paper for each kind of decoder.
    After a recurrent layer it concatenates z to every output. Before a convolution it concatenates a linear map of
    z as one more feature map. In a perceptron it is \(\sigma(W_l h_{l-1} + U_l z)\). The paper has no Transformer:
    there g concatenates z to what a layer gives to the next one or to the vocabulary, and leaves embeddings and
    memory as they are.

    - There is no hyperparameter. Of two paths of a gated convolution both get the map of z.
    - The released program (yoonkim/skip-vae) leaves its last map of z out of the decoder's gradient where SA-VAE is on
      (models_img_skip.py:172-186), and its baseline carries maps that it never uses. Its PixelCNN has 8 gated layers,
      the paper 9. Here all maps are trained, a baseline has none, and the depth is the track's.
    - What is trained and shown is the ELBO.
    - Cost of a step: that of the plain VAE, and the weights that read z: D columns more for each gate or word.
    - Neutral: none. It has more parameters than the plain VAE.
    """

    name: ClassVar[str] = "skip"
    family: ClassVar[Family] = Family.DECODER
    citation: ClassVar[str] = (
        "Dieng, Kim, Rush and Blei, Avoiding Latent Variable Collapse with Generative Skip Models, AISTATS 2019"
    )

    @hookimpl
    def connect_latent(self, site: Site) -> nn.Module | None:
        """Give every site a connection of its own, but for embeddings, memory and the output."""
        from collapsebench.networks.connections import AddLinear, Concatenate, ConcatenateMap

        match site.kind:
            case SiteKind.SEQUENCE:
                return Concatenate(site.width, site.latent_dim)
            case SiteKind.FEATURE_MAP:
                return ConcatenateMap(site.width, site.latent_dim, site.area)
            case SiteKind.VECTOR:
                return AddLinear(site.width, site.latent_dim)
            case SiteKind.MEMORY | SiteKind.EMBEDDING | SiteKind.OUTPUT:
                return None


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [Skip]

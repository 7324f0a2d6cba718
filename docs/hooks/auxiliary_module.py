"""A module of the method's own: a linear map that reads the mean of an example from z."""

from typing import ClassVar

from collapsebench import Method, hookimpl


class MassFromCode(Method):
    """A linear map of z has to predict the mean of x. Its squared error is added to the loss."""

    name: ClassVar[str] = "mass-from-code"

    @hookimpl
    def auxiliary_module(self, latent_dim, data):
        from torch import nn

        return nn.Linear(latent_dim, 1)

    @hookimpl
    def extra_loss(self, sample):
        found = sample.vae.auxiliary[self.name](sample.z)[:, 0]  # (B,)
        wanted = sample.x.to(found.dtype).flatten(1).mean(1)
        return (found - wanted).square().mean()  # a scalar, nats per example


@hookimpl
def collapsebench_components():
    return [MassFromCode]

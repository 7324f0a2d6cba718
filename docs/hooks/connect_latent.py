"""A gate: z decides how much of every activation passes."""

from typing import ClassVar

from collapsebench import Method, SiteKind, hookimpl


class Gate(Method):
    """h' = h * sigmoid(Uz + b) at vector sites and sequence sites."""

    name: ClassVar[str] = "gate"

    @hookimpl
    def connect_latent(self, site):
        import torch
        from torch import nn

        class GateModule(nn.Module):
            def __init__(self):
                super().__init__()
                self.width = site.width  # the width of h'
                self.linear = nn.Linear(site.latent_dim, site.width)

            def forward(self, h, z):
                gate = torch.sigmoid(self.linear(z))  # (N, width)
                return h * (gate[:, None] if site.kind is SiteKind.SEQUENCE else gate)

        return GateModule() if site.kind in {SiteKind.VECTOR, SiteKind.SEQUENCE} else None


@hookimpl
def collapsebench_components():
    return [Gate]

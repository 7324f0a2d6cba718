r"""`python -m bench.sampled_kl`: does a sampled KL collapse where the one in closed form does not?

A VAE of 8x8 digits in plain torch, as an oracle beside the harness. It prints the validation -ELBO and the KL of the
posterior, both in closed form, in nats per example after 1,000 steps, for three seeds and three ways of training: with
the KL in closed form; with \(\log q(z|x) - \log p(z)\) at the sample; and with the same value, but with its gradient
through z alone (Roeder, Wu and Duvenaud 2017, "Sticking the landing", equation 7). Networks, batches and optimizer are
those of the track `quick` of `digits`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

Estimator = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""A KL of noise, codes, means and log-variances, (B, D) each, in nats: (B,)."""
UNITS, STEPS, BATCH, TRAINED = 16, 1000, 50, 1000


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers with a rectifier between each two."""
    layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def sampled(noise: Tensor, z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """Give log q(z|x) - log p(z) at the sample: (B,)."""
    del mean
    return 0.5 * (z.square() - noise.square() - logvar).sum(1)


def path(noise: Tensor, z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """Give the same value with the gradient through z alone: (B,)."""
    del noise
    mean, logvar = mean.detach(), logvar.detach()
    return 0.5 * (z.square() - (z - mean).square() / logvar.exp() - logvar).sum(1)


def closed(noise: Tensor, z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """Give KL(q(z|x) || N(0, I)): (B,)."""
    del noise, z
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1)


def trained(estimator: Estimator, images: Tensor, seed: int) -> tuple[float, float]:
    """Train with an estimator of the KL, and return the validation -ELBO and KL, both with the KL in closed form."""
    torch.manual_seed(seed)
    encoder, decoder = mlp(64, 256, 256, 2 * UNITS), mlp(UNITS, 256, 256, 256, 256, 64)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, 1e-3)

    def terms(x: Tensor, kl: Estimator) -> tuple[Tensor, Tensor]:
        mean, logvar = encoder(x).chunk(2, 1)
        noise = torch.randn_like(mean)
        z = mean + noise * (0.5 * logvar).exp()
        reconstruction = functional.binary_cross_entropy_with_logits(decoder(z), x, reduction="none").sum(1)
        return reconstruction, kl(noise, z, mean, logvar)

    epochs = (torch.split(torch.randperm(TRAINED), BATCH) for _ in range(STEPS * BATCH // TRAINED))
    for batch in (batch for epoch in epochs for batch in epoch):
        optimizer.zero_grad()
        reconstruction, kl = terms(images[batch], estimator)
        torch.autograd.backward((reconstruction + kl).mean())
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
    with torch.no_grad():
        reconstruction, kl = terms(images[TRAINED : TRAINED + 400], closed)
    return (reconstruction + kl).mean().item(), kl.mean().item()


def main() -> None:
    """Print a line for each estimator and seed."""
    torch.set_num_threads(1)
    images = (torch.tensor(load_digits().data) >= 8).float()
    images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
    for name, estimator in {"closed": closed, "sampled": sampled, "path": path}.items():
        for seed in (1, 2, 3):
            bound, kl = trained(estimator, images, seed)
            print(f"{name:8} seed {seed}: -ELBO {bound:.2f}, KL {kl:.2f}", flush=True)


if __name__ == "__main__":
    main()

"""Numbers of released programs of methods against collapse, and the harness with them in the place of data and noise.

`vectors/README.md` describes the files. Another folder of the same form is given by `COLLAPSEBENCH_GOLDEN_ZOO`: same
names, other sizes. So sizes and hyperparameters come from a file's `meta` and shapes. A missing file fails its tests.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from golden import vectors
from golden.vectors import Case
from torch import Tensor, nn

from collapsebench.components.composition import compose
from collapsebench.components.interfaces import Method
from collapsebench.experiment.assembly import objective_at
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench.model.progress import Progress
from collapsebench.model.vae import VAE, Networks, Objective, Terms

FOLDER = Path(os.environ.get("COLLAPSEBENCH_GOLDEN_ZOO") or Path(__file__).with_name("vectors"))

START = Progress(0.0, 0)


def load(name: str) -> Case:
    """Read one file; fails if there is none."""
    return vectors.load(name, FOLDER)


def unread(name: str, compared: Sequence[str], listed: Mapping[str, str]) -> set[str]:
    """The outputs of a file that no prefix covers, and the prefixes that cover none of them, or cover them twice."""
    outputs = {key for key in load(name).arrays if key.startswith("out/")}
    prefixes = (*compared, *listed)
    found = {key: [prefix for prefix in prefixes if key.startswith(prefix)] for key in outputs}
    used = {prefix for covering in found.values() for prefix in covering}
    return {key for key, covering in found.items() if len(covering) != 1} | (set(prefixes) - used)


@dataclass(frozen=True)
class GivenNoise:
    """The arrays of a file in the place of noise, by the last label that leads to them."""

    arrays: dict[str, Tensor]
    label: str = ""

    def child(self, *labels: str | int) -> GivenNoise:
        return GivenNoise(self.arrays, str(labels[-1]))

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return self.arrays[self.label].reshape(shape).to(like)

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        raise AssertionError(f"nothing draws masks in these cases: {shape}, {like}")


class GivenReconstruction(nn.Module):
    """A decoder whose negative log-likelihoods are given, whatever z is."""

    def __init__(self, reconstruction: Tensor) -> None:
        super().__init__()
        self.reconstruction = reconstruction

    def forward(self, x: Tensor, z: Tensor, dropout: object) -> Tensor:
        return -self.reconstruction[None].expand(z.shape[:2])


class Leaf:
    """Variational parameters that are given, and the gradients of an objective by them."""

    def __init__(self, case: Case, reconstruction: Tensor | None = None, **noise: Tensor) -> None:
        self.mean, self.logvar = (case[f"in/{name}"].requires_grad_() for name in ("mean", "logvar"))
        self.reconstruction = torch.zeros(len(self.mean)).double() if reconstruction is None else reconstruction
        self.noise = GivenNoise({"z": torch.zeros_like(self.mean)} | noise)

    def terms(self, *methods: Method) -> Terms:
        """The terms of a contender's objective; its gradients are in `mean` and `logvar`."""
        self.mean.grad = self.logvar.grad = None
        vae = VAE(Networks(None, None, GivenReconstruction(self.reconstruction)), StandardNormal(self.mean.shape[1]))
        objective = objective_at(compose(methods), START, self.noise)
        return objective(vae, torch.zeros(len(self.mean), 1), DiagonalGaussian(self.mean, self.logvar)).backward()

    def gradients(self, prefix: str = "grad") -> dict[str, Tensor]:
        return {f"{prefix}_mean": gradient(self.mean), f"{prefix}_logvar": gradient(self.logvar)}


def gradient(leaf: Tensor) -> Tensor:
    """The gradient of a leaf, zeros where there is none."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


class _Encoder(nn.Module):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.l1 = nn.Linear(inputs, hidden)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.l1(x)
        return found.tanh()


class _Head(nn.Module):
    def __init__(self, hidden: int, latent: int) -> None:
        super().__init__()
        self.mu, self.lv = nn.Linear(hidden, latent), nn.Linear(hidden, latent)

    def forward(self, features: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(self.mu(features), self.lv(features))


class Decoder(nn.Module):
    """The decoder of the files `pythae_*`, whose entries of x are binary."""

    def __init__(self, latent: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.l1, self.out = nn.Linear(latent, hidden), nn.Linear(hidden, outputs)

    def forward(self, x: Tensor, z: Tensor, dropout: object) -> Tensor:
        return -self.error(self.out(self.l1(z).tanh()), x).sum(-1)

    def error(self, logits: Tensor, x: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")


class Squares(Decoder):
    """The same for x of unit variance, without the constant."""

    def error(self, logits: Tensor, x: Tensor) -> Tensor:
        return (x - logits.sigmoid()).square() / 2


OURS = {"encoder.l1": "encoder.l1", "encoder.mu": "posterior.mu", "encoder.lv": "posterior.lv"}


class Pythae:
    """The tiny VAE of the files `pythae_*`, and the objective of a contender on it."""

    def __init__(
        self,
        case: Case,
        heads: Mapping[str, nn.Module] | None = None,
        further: Callable[[str], str | None] = lambda theirs: None,
        decoder: type[Decoder] = Decoder,
    ) -> None:
        """Take the parameters of a file. `further` gives our name of one that is not of the tiny VAE."""
        self.case, self.further, meta = case, further, case.meta
        networks = Networks(
            _Encoder(meta["P"], meta["H"]), _Head(meta["H"], meta["D"]), decoder(meta["D"], meta["H"], meta["P"])
        )
        self.vae = VAE(networks, StandardNormal(meta["D"]))
        self.vae.heads.update(heads or {})
        self.vae.double()
        self.names = {theirs: self._ours(theirs) for theirs in case.group("param/")}
        self.vae.load_state_dict({ours: case[f"param/{theirs}"] for theirs, ours in self.names.items()})

    def _ours(self, theirs: str) -> str:
        found = self.further(theirs)
        if found is not None:
            return found
        module, _, kind = theirs.rpartition(".")
        return f"{OURS.get(module, module)}.{kind}"

    def values(self, methods: Sequence[Method], progress: Progress = START) -> dict[str, Tensor]:
        """Loss and gradients, by the names of the file. Its KL has no weight."""
        self.vae.zero_grad()
        noise = GivenNoise({"z": self.case["in/eps"]})
        objective: Objective = objective_at(compose(methods), progress, noise)
        posterior = self.vae.encode(self.case["in/x"])
        terms = objective(self.vae, self.case["in/x"], posterior).backward()
        found = {f"grad/{theirs}": gradient(ours) for theirs, ours in self._parameters()}
        found |= {"loss": terms.loss, "recon_loss": terms.reconstruction.mean()}
        return found | {"reg_loss": terms.kl.sum(-1).mean(), "z": posterior.draw(noise.child("z")).z}

    def _parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        known = dict(self.vae.named_parameters())
        return ((theirs, known[ours]) for theirs, ours in self.names.items() if ours in known)

    def expected(self, name: str) -> dict[str, Tensor]:
        """The same of one case of the file."""
        found = self.case.group(f"out/{name}/")
        names = {"loss", "recon_loss", "reg_loss", "z"}
        return {key: value for key, value in found.items() if key in names or key.startswith("grad/")}

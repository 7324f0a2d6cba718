"""The posteriors of Dieng et al.'s own MNIST models.

The paper prints KL 7.14, MI 6.55 and 8 active units for the VAE, as here. For Skip it prints KL 9.33 (or 9.34), MI 7.80
and 13 units, so that its stored posteriors are perhaps those of a sibling run.

10,000 test images, 20 latent units, as the authors stored them (yoonkim/skip-vae, commit 80f0366). The repository keeps
the checksums of the arrays and not the arrays.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from collapsebench.metrics.estimators import (
    active_units,
    aggregate_density,
    mean_variance,
    mutual_information_bracket,
)
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal

FILE = Path(__file__).parents[2] / "shared" / "fixtures" / "skip_vae_mnist_posteriors.npz"

CHECKSUMS = {
    "vae/labels": "e8b3176fe5769a1ddcebde4f2b129fc6a6b2f3ea901e6f3c3fcdbea0d188fcef",
    "vae/z": "2d9beae22458264ea4818cada98f0b7e00b1e6c450550985fa06ced2eebefea4",
    "vae/mean": "d316f8d1dab87b02c50ad1715cc2bbaafb534ea68ca801367835a6a51d838057",
    "vae/logvar": "81ddced914ce66c7c609218ac5d2ba297fecc1c8936915041fb42aece9039d72",
    "skip/labels": "e8b3176fe5769a1ddcebde4f2b129fc6a6b2f3ea901e6f3c3fcdbea0d188fcef",
    "skip/z": "83a5fb84260931bee2291b758959cea916dd16bc97348446cb1038cfb50a4d11",
    "skip/mean": "2e583f5d019febcea9ea9e8ed04167177a16a4a566b61a8e2cb8e4602a3d6bd9",
    "skip/logvar": "f1b95299ce648d435fd90e28760b845057862ceee0b5b4ff0818bdf63ea61830",
}
"""SHA-256 of the bytes of every array, little-endian, in C order."""

MODELS = {
    # KL, MI lower, leave-one-out with the analytic entropy, active units at 0.01
    "vae": (7.141, 6.546, 7.00, 8),
    "skip": (9.395, 7.787, 9.49, 15),
}


@pytest.fixture(scope="module")
def arrays():
    if not FILE.is_file():
        pytest.skip(
            f"the paper's posteriors are not here: {FILE.name} belongs into shared/fixtures beside the repository"
        )
    with np.load(FILE, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_the_arrays_are_the_authors(arrays):
    assert {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()} == CHECKSUMS


@pytest.mark.parametrize("model", MODELS)
def test_the_known_numbers(arrays, model):
    kl, lower, leave_one_out, units = MODELS[model]
    posterior = DiagonalGaussian(*(torch.tensor(arrays[f"{model}/{name}"]).double() for name in ("mean", "logvar")))
    z = torch.tensor(arrays[f"{model}/z"]).double()
    prior = StandardNormal(20)
    bracket = mutual_information_bracket(z, posterior, prior)
    mean_kl = float(prior.kl(posterior).sum(-1).mean())
    assert mean_kl == pytest.approx(kl, abs=5e-4)
    assert bracket.lower.value == pytest.approx(lower, abs=5e-4)
    assert bracket.lower.value < bracket.upper.value <= mean_kl
    assert not bracket.saturated
    assert active_units(mean_variance(posterior.mean), 0.01) == units
    negative_entropy = -0.5 * float((math.log(2 * math.pi) + 1 + posterior.logvar).sum(-1).mean())
    others = float(aggregate_density(z, posterior).others.mean())
    assert negative_entropy - others == pytest.approx(leave_one_out, abs=5e-3)

"""Numbers of the authors' released programs, our models with the authors' parameters, and how the two are compared.

`vectors/README.md` describes the files. Another folder of the same form is given by `COLLAPSEBENCH_GOLDEN`: same names,
other sizes. So sizes come from a file's `meta` and shapes, and a missing file fails its tests.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tiny
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from collapsebench.components.interfaces import Connect
from collapsebench.examples import ImageSpec, TextSpec
from collapsebench.model.distributions import StandardNormal
from collapsebench.model.vae import VAE, Networks
from collapsebench.networks.decoders import LSTMDecoder, MLPDecoder, PixelCNNDecoder
from collapsebench.networks.encoders import LSTMEncoder, MLPEncoder, ResNetEncoder
from collapsebench.networks.posteriors import GaussianPosterior
from collapsebench_plugins.skip import Skip

FOLDER = Path(os.environ.get("COLLAPSEBENCH_GOLDEN") or Path(__file__).with_suffix(""))

CASES = {
    "text": ("text_vae_L1", "text_skip_L1", "text_vae_L2", "text_skip_L2", "text_lm"),
    "images": ("img_pixelcnn_vae", "img_pixelcnn_skip", "img_mlp_vae", "img_mlp_skip"),
    "losses": ("utils_losses",),
    "lagging": ("lagging_text",),
    "svi": (
        "savae_text_clip0",
        "savae_text_clip5",
        "savae_text_skip_clip0",
        "savae_text_skip_clip5",
        "savae_text_lr_clip0",
        "savae_img_clip0",
        "savae_img_clip5",
        "savae_img_skip_clip0",
        "savae_img_skip_clip5",
        "svi_text_kl1",
        "svi_text_kl0",
        "svi_text_free",
        "text_eval",
    ),
    "metrics": ("mi", "lagging_text"),
    "preprocess": ("preprocess",),
}
"""The cases of every test module `test_golden_NAME.py`."""

TOLERANCE = 1e-9
"""Of forward values and plain gradients, relative to the largest entry of an array (README)."""


@dataclass(frozen=True)
class Case:
    """One file: arrays by name, and its meta data."""

    name: str
    arrays: dict[str, NDArray[np.generic]]
    meta: dict[str, Any]

    def __getitem__(self, key: str) -> Tensor:  # a case is read like the file it comes from
        return torch.from_numpy(self.arrays[key].copy())

    def __contains__(self, key: object) -> bool:
        return key in self.arrays

    def group(self, prefix: str) -> dict[str, Tensor]:
        """The arrays whose names start with the prefix, named by what follows it."""
        return {key.removeprefix(prefix): self[key] for key in self.arrays if key.startswith(prefix)}


def load(name: str, folder: Path = FOLDER) -> Case:
    """Read one case of a folder; fails if there is none."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    meta = arrays.pop("meta", None)
    return Case(name, arrays, {} if meta is None else json.loads(str(meta)))


class Model(NamedTuple):
    """Our model with the authors' parameters, and how theirs are called here.

    One of theirs may be several of ours, stacked; those of theirs that their model never uses are none of ours.
    """

    vae: VAE
    case: Case
    names: dict[str, tuple[str, ...]]

    def gradients(self) -> dict[str, Tensor]:
        """The gradient of every parameter by the authors' name; zeros where there is none."""
        ours = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in self.vae.named_parameters()}
        gradients = {}
        for theirs, parts in self.names.items():
            if theirs not in self.case.meta["buffers"]:
                unused = torch.zeros_like(self.case[f"param/{theirs}"])
                gradients[theirs] = torch.cat([ours[part] for part in parts]) if parts else unused
        return gradients

    def buffers(self) -> dict[str, Tensor]:
        """The running statistics by the authors' name."""
        ours = dict(self.vae.named_buffers())
        return {theirs: ours[names[0]] for theirs, names in self.names.items() if names and names[0] in ours}


def build(case: Case) -> Model:
    """The case's model in float64, in training mode, its parameters translated one for one."""
    networks, latent_dim, prefixes = FAMILIES[case.meta["model"]](case)
    vae = VAE(networks, StandardNormal(latent_dim)).double()
    names = {theirs: _translate(theirs, prefixes) for theirs in case.group("param/")}
    state: dict[str, Tensor] = {}
    for theirs, ours in names.items():
        parts = case[f"param/{theirs}"].chunk(len(ours)) if len(ours) > 1 else [case[f"param/{theirs}"]] * len(ours)
        state |= dict(zip(ours, parts, strict=True))
    vae.load_state_dict(state)
    return Model(vae, case, names)


def _translate(theirs: str, prefixes: Mapping[str, str]) -> tuple[str, ...]:
    for prefix, ours in prefixes.items():
        if theirs.startswith(prefix):
            return tuple(each + theirs.removeprefix(prefix) for each in ours.split())
    return ()


HEADS = {"latent_linear_mean.": "posterior.mean.", "latent_linear_logvar.": "posterior.logvar."}
LSTM_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

Family = tuple[Networks, int, dict[str, str]]


def _text(case: Case) -> Family:
    sizes, connect = case.meta["sizes"], _connect(case)
    data, latent_dim, layers = TextSpec(sizes["vocab"]), sizes["latent"], sizes["dec_layers"]
    encoder = posterior = None
    if "param/enc_word_vecs.weight" in case:
        encoder = LSTMEncoder(embedding=sizes["emb"], hidden=sizes["hidden"]).build(data)
        posterior = _posterior(encoder, latent_dim)
    settings = LSTMDecoder(embedding=sizes["emb"], hidden=sizes["hidden"], layers=layers)
    prefixes = HEADS | {
        "enc_word_vecs.": "encoder.embedding.",
        "enc_rnn.": "encoder.lstm.",
        "dec_word_vecs.": "decoder.embedding.",
        "dec_linear.": "decoder.output.",
        "latent_hidden_linear.": "decoder.first.",
    }
    for i in range(layers):
        prefixes |= {f"dec_rnn.{name}_l{i}": f"decoder.layers.{i}.{name}_l0" for name in LSTM_WEIGHTS}
        prefixes[f"dec_rnn.{i}."] = f"decoder.layers.{i}."
    return Networks(encoder, posterior, settings.build(data, latent_dim, connect)), latent_dim, prefixes


def _lagging(case: Case) -> Family:
    sizes = case.meta["sizes"]
    data, latent_dim = TextSpec(sizes["vocab"]), sizes["nz"]
    encoder = LSTMEncoder(embedding=sizes["ni"], hidden=sizes["enc_nh"]).build(data)
    posterior = _posterior(encoder, latent_dim, bias=False)
    settings = LSTMDecoder(embedding=sizes["ni"], hidden=sizes["dec_nh"], start="cell", output_bias=False)
    prefixes = {
        "encoder.embed.": "encoder.embedding.",
        "encoder.lstm.": "encoder.lstm.",
        "encoder.linear.": "posterior.mean. posterior.logvar.",
        "decoder.embed.": "decoder.embedding.",
        "decoder.lstm.": "decoder.layers.0.",
        "decoder.trans_linear.": "decoder.first.",
        "decoder.pred_linear.": "decoder.output.",
    }
    return Networks(encoder, posterior, settings.build(data, latent_dim, tiny.unconnected)), latent_dim, prefixes


def _pixelcnn(case: Case) -> Family:
    sizes, connect = case.meta["sizes"], _connect(case)
    data, latent_dim, layers = ImageSpec(tuple(sizes["img"])), sizes["latent"], len(sizes["dec_layers"])
    encoder = ResNetEncoder(channels=sizes["enc_layers"]).build(data)
    settings = PixelCNNDecoder(layers=layers, maps=sizes["dec_layers"], kernel_size=sizes["dec_kernel_size"])
    prefixes = HEADS | {"dec_cnn.z_linears.0.": "decoder.first.linear.", "dec_linear.": "decoder.output."}
    for i in range(len(sizes["enc_layers"])):
        block, ours = f"enc_cnn.{2 * i}", f"encoder.stages.{i}"
        prefixes |= {f"{block}.conv1.": f"{ours}.0.first.", f"{block}.bn1.": f"{ours}.0.first_norm."}
        prefixes |= {f"{block}.conv2.": f"{ours}.0.second.", f"{block}.bn2.": f"{ours}.0.second_norm."}
        prefixes |= {f"{block}.proj.": f"{ours}.0.shortcut.", f"enc_cnn.{2 * i + 1}.": f"{ours}.1."}
    for i in range(layers):
        gated, ours = f"dec_cnn.modules.{i}", f"decoder.layers.{i}"
        prefixes |= {f"{gated}.v_conv.": f"{ours}.vertical.", f"{gated}.vh_conv.": f"{ours}.link."}
        prefixes |= {f"{gated}.h_conv.": f"{ours}.horizontal.", f"{gated}.h_conv_res.": f"{ours}.output."}
        if i > 0:
            prefixes[f"{gated}.h_res."] = f"{ours}.residual."
    if case.meta["hyper"]["skip"]:
        prefixes |= {f"dec_cnn.z_linears.{i + 1}.": f"decoder.sites.{i}.connection.linear." for i in range(layers - 1)}
        prefixes["z_linear."] = f"decoder.sites.{layers - 1}.connection.linear."
    posterior = _posterior(encoder, latent_dim)
    return Networks(encoder, posterior, settings.build(data, latent_dim, connect)), latent_dim, prefixes


def _mlp(case: Case) -> Family:
    sizes, connect = case.meta["sizes"], _connect(case)
    data, latent_dim = ImageSpec(tuple(sizes["img"])), sizes["latent"]
    encoder = MLPEncoder(hidden=sizes["width"], layers=sizes["enc_hidden_layers"]).build(data)
    settings = MLPDecoder(hidden=sizes["width"], layers=sizes["dec_hidden_layers"])
    prefixes = HEADS | {"dec_init.": "decoder.first.", "dec_last.": "decoder.output."}
    prefixes |= {f"enc_mlp.{2 * i}.": f"encoder.layers.{i}." for i in range(sizes["enc_hidden_layers"])}
    for i in range(sizes["dec_hidden_layers"]):
        prefixes[f"dec_linears.{i}."] = f"decoder.layers.{i}."
        if case.meta["hyper"]["skip"]:
            prefixes[f"z_linears.{i}."] = f"decoder.sites.{i}.connection.linear."
    posterior = _posterior(encoder, latent_dim)
    return Networks(encoder, posterior, settings.build(data, latent_dim, connect)), latent_dim, prefixes


def _posterior(encoder: nn.Module, latent_dim: int, *, bias: bool = True) -> nn.Module:
    assert isinstance(encoder.width, int)
    return GaussianPosterior(bias=bias).build(encoder.width, latent_dim)


def _connect(case: Case) -> Connect:
    return Skip().connect_latent if case.meta["hyper"]["skip"] else tiny.unconnected


FAMILIES = {"RNNVAE": _text, "CNNVAE": _pixelcnn, "MLPVAE": _mlp, "VAE(LSTMEncoder, LSTMDecoder)": _lagging}


def mismatch(got: Tensor, expected: Tensor, tolerance: float = TOLERANCE, scale: float | None = None) -> str:
    """What differs by more than the tolerance times the largest expected entry (or a given scale); "" if nothing."""
    if got.shape != expected.shape:
        return f"shape {tuple(got.shape)} instead of {tuple(expected.shape)}"
    if not expected.is_floating_point():
        return "" if torch.equal(got, expected) else "not equal"
    error = (got - expected).abs().max()
    scale = expected.abs().max().item() if scale is None else scale
    return "" if error <= tolerance * scale else f"off by {error:.2e} where the largest entry is {scale:.2e}"


def assert_equal(
    got: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    tolerance: float = TOLERANCE,
    absolute: Collection[str] = (),
) -> None:
    """All expected arrays are there, none is left over, and they agree; those in `absolute` are round-off around 0."""
    assert set(got) == set(expected)
    found = {
        name: mismatch(got[name].detach(), expected[name], tolerance, scale=1.0 if name in absolute else None)
        for name in expected
    }
    assert not (wrong := {name: text for name, text in found.items() if text}), wrong


def prefixed(prefix: str, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same arrays under longer names."""
    return {prefix + name: array for name, array in arrays.items()}


def names(modules: Iterable[str] = CASES) -> set[str]:
    """The cases of some test modules."""
    return {name for module in modules for name in CASES[module]}

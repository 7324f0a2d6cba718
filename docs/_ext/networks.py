"""The tables of docs/network.md that are computed. cog writes them, as those of docs/paper.md (see `paper`)."""

from collections import Counter

import torch
from paper import table

from collapsebench import (
    Component,
    CountSpec,
    DataSpec,
    Decoder,
    Encoder,
    ImageSpec,
    LevelImageSpec,
    Site,
    TextSpec,
    VectorSpec,
)
from collapsebench.networks import collapsebench_components
from collapsebench.networks.fitting import NETWORKS_FOR
from collapsebench.syntax import print_value

DATA: dict[str, DataSpec] = {
    "text": TextSpec(50),
    "binary images": ImageSpec((1, 28, 28)),
    "images of several levels": LevelImageSpec((3, 32, 32)),
    "vectors": VectorSpec(10),
    "counts": CountSpec(10),
}


def encoders() -> str:
    """The encoders of the harness: what they read, their parameters with the defaults, the width of the features."""
    found = [component() for component in collapsebench_components() if issubclass(component, Encoder)]
    rows = ([f"`{each.name}`", ", ".join(fitting(each)), parameters(each)] for each in found)
    return table(["encoder", "reads", "parameters"], rows)


def decoders() -> str:
    """The decoders of the harness: what they model, their parameters with the defaults, their latent sites."""
    rows = []
    for decoder in (component() for component in collapsebench_components() if issubclass(component, Decoder)):
        kinds = fitting(decoder)
        rows.append([f"`{decoder.name}`", ", ".join(kinds), parameters(decoder), sites(decoder, DATA[kinds[0]])])
    return table(["decoder", "models", "parameters", "sites"], rows)


def fitting(component: Encoder | Decoder) -> list[str]:
    """The kinds of data that a network is made for."""
    return [
        kind for kind, data in DATA.items() if component.name in NETWORKS_FOR[type(data)][component.kind].split(", ")
    ]


def parameters(component: Component) -> str:
    """The parameters of a component with their defaults."""
    values = component.model_dump(mode="json").items()
    return ", ".join(f"`{name}={print_value(value)}`" for name, value in values)


def sites(decoder: Decoder, data: DataSpec) -> str:
    """How many sites of each kind a decoder of default parameters has."""
    asked: list[Site] = []
    with torch.device("meta"):
        decoder.build(data, 2, asked.append)
    return ", ".join(f"{number} {kind}" for kind, number in Counter(site.kind.value for site in asked).items())

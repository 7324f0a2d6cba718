"""The checks that a network fits the data, and that its parts fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from collapsebench.components.interfaces import Decoder, Encoder
from collapsebench.errors import UsageError
from collapsebench.examples import CountSpec, ImageSpec, LevelImageSpec, TextSpec, VectorSpec

if TYPE_CHECKING:
    from collapsebench.examples import DataSpec


Spec = TypeVar("Spec", TextSpec, ImageSpec, LevelImageSpec, VectorSpec, CountSpec)


NETWORKS_FOR: dict[type[DataSpec], dict[str, str]] = {
    TextSpec: {"encoder": "lstm, gru, transformer", "decoder": "lstm, transformer"},
    ImageSpec: {"encoder": "mlp, resnet", "decoder": "mlp, conv, pixelcnn"},
    LevelImageSpec: {"encoder": "mlp, resnet", "decoder": "conv"},
    VectorSpec: {"encoder": "linear, mlp", "decoder": "linear"},
    CountSpec: {"encoder": "mlp", "decoder": "negative-binomial"},
}
"""The built-in networks for each kind of data. The error message names them."""


def require_whole_heads(width: int, heads: int) -> None:
    """Raise ValueError unless every head of attention has the same number of units."""
    if width % heads:
        raise ValueError(f"a width of {width} is no multiple of {heads} heads")


def require_spec(component: Encoder | Decoder, data: DataSpec, kind: type[Spec]) -> Spec:
    """Give the description of the data if the network is made for their kind. Raises UsageError if it is not."""
    if isinstance(data, kind):
        return data
    choices = NETWORKS_FOR[type(data)][component.kind]
    raise UsageError(f"{component.kind} '{component.name}' does not fit {data}; {component.kind}s that do: {choices}")

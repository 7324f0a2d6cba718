"""Which network fits which data."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from collapsebench.components.interfaces import Decoder, Encoder
from collapsebench.errors import UsageError
from collapsebench.examples import ImageSpec, TextSpec, VectorSpec

if TYPE_CHECKING:
    from collapsebench.examples import DataSpec


Spec = TypeVar("Spec", TextSpec, ImageSpec, VectorSpec)


FITTING: dict[type[DataSpec], dict[str, str]] = {
    TextSpec: {"encoder": "lstm", "decoder": "lstm"},
    ImageSpec: {"encoder": "mlp, resnet", "decoder": "mlp, pixelcnn"},
    VectorSpec: {"encoder": "linear, mlp", "decoder": "linear"},
}
"""Which of these networks fit which data, for the message to those who choose another."""


def fitting(component: Encoder | Decoder, data: DataSpec, kind: type[Spec]) -> Spec:
    """The data's description if the network is made for its kind; raises UsageError if not."""
    if isinstance(data, kind):
        return data
    choices = FITTING[type(data)][component.kind]
    raise UsageError(f"{component.kind} '{component.name}' does not fit {data}; {component.kind}s that do: {choices}")

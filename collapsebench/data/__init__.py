"""Datasets: fixed, checksummed splits. The classes describe them; other modules read, parse and generate the data."""

from __future__ import annotations

from collapsebench.components.hookspecs import hookimpl
from collapsebench.components.interfaces import Component
from collapsebench.data.generated import LinearGaussian, SyntheticText
from collapsebench.data.pictures import Digits, Images, Mnist, MnistLarochelle, MnistStatic, Omniglot, OmniglotBurda
from collapsebench.data.texts import PennTreebank, Text, Yahoo, Yahoo9k

__all__ = ["Images", "Text", "collapsebench_components"]


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Return the shipped datasets."""
    return [
        SyntheticText,
        LinearGaussian,
        Digits,
        Mnist,
        MnistStatic,
        MnistLarochelle,
        Omniglot,
        OmniglotBurda,
        PennTreebank,
        Yahoo,
        Yahoo9k,
    ]

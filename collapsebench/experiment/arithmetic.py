"""How a GPU computes a run: products in full float32, by algorithms that give the same bits again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from collapsebench.components.footprint import Trait

DETERMINISTIC = 1
"""Deterministic algorithms alone, with a warning where torch has none."""

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""The variable that tells cuBLAS how much memory its products may use. Two values of it make them deterministic."""


@contextmanager
def reproducible(device: str) -> Iterator[None]:
    """Let a GPU compute without TF32, and by deterministic algorithms where torch has them; put all back in the end.

    By default torch lets cuDNN round the inputs of convolutions and recurrent layers to TF32, ten bits of precision,
    and sums in an order that changes from run to run. On other devices than `cuda` nothing changes.
    """
    with ExitStack() as stack:
        for trait, value in _settings() if device.startswith("cuda") else ():
            stack.enter_context(changed(trait, value))
        yield


@contextmanager
def changed(trait: Trait, value: Any) -> Iterator[None]:
    """Give a trait of the process another value within the block."""
    before = trait.read()
    trait.write(value)
    try:
        yield
    finally:
        trait.write(before)


def arithmetic() -> dict[str, Any]:
    """Return how a GPU computes in this process: the precision of products, and whether their bits come again."""
    import torch

    rounded = torch.backends.cudnn.allow_tf32 or torch.get_float32_matmul_precision() != "highest"
    return {"float32": "tf32" if rounded else "ieee", "deterministic": torch.are_deterministic_algorithms_enabled()}


def algorithms() -> Trait:
    """Return torch's choice of algorithms: 0 for any, `DETERMINISTIC`, or 2 for an error where there is none such.

    `use_deterministic_algorithms` sets the same, and imports torch's compiler for that.
    """
    import torch

    return Trait("algorithms", torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode)


def filling() -> Trait:
    """Return whether torch fills new memory with NaN, where algorithms are deterministic."""
    from torch.utils import deterministic

    return Trait(
        "filling",
        lambda: deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        lambda filled: setattr(deterministic, "fill_uninitialized_memory", filled),
    )


def _settings() -> tuple[tuple[Trait, Any], ...]:
    """Return what is set, and to what value. Filling memory would double the operations of a step."""
    import torch

    products = Trait("products", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision)
    cudnn = torch.backends.cudnn
    rounding = Trait("rounding", lambda: cudnn.allow_tf32, lambda allowed: setattr(cudnn, "allow_tf32", allowed))
    workspace = Trait("workspace", lambda: os.environ.get(WORKSPACE), _set_workspace)
    return (
        (products, "highest"),
        (rounding, False),
        (algorithms(), DETERMINISTIC),
        (filling(), False),
        (workspace, os.environ.get(WORKSPACE, ":4096:8")),
    )


def _set_workspace(value: str | None) -> None:
    if value is None:
        os.environ.pop(WORKSPACE, None)
    else:
        os.environ[WORKSPACE] = value

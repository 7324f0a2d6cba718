"""The gradients that autograd needs while it runs a backward pass."""

from __future__ import annotations

from typing import Any

import torch


def needed_gradients(node: Any) -> tuple[bool, ...]:
    """Say for each input of an operation whether autograd will use its gradient. Its backward must be running.

    `node` is the node of that operation. In a `torch.autograd.Function` it is `ctx`. `ctx.needs_input_grad` says too
    little: many inputs may require a gradient while `torch.autograd.grad` wants only one of them.
    """
    return tuple(edge is not None and _used(edge) for edge, _ in node.next_functions)


def _used(node: Any) -> bool:
    try:
        return torch._C._will_engine_execute_node(node)  # noqa: SLF001 - there is no public function for it
    except RuntimeError:
        return True  # torch raises it for a leaf whose gradient `autograd.grad` will return

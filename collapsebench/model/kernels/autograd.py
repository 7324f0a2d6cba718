"""What autograd asks for while it runs a backward."""

from __future__ import annotations

from typing import Any

import torch


def asked_for(node: Any) -> tuple[bool, ...]:
    """For every tensor that the operation whose backward is running read, whether its gradient will be used.

    `node` is the node of that operation, which in a `torch.autograd.Function` is `ctx`. There `ctx.needs_input_grad`
    only says which inputs require a gradient: of all that, `torch.autograd.grad` may want one.
    """
    return tuple(edge is not None and _used(edge) for edge, _ in node.next_functions)


def _used(node: Any) -> bool:
    try:
        return torch._C._will_engine_execute_node(node)  # noqa: SLF001 - no public function tells it
    except RuntimeError:
        return True  # torch does not say it of a leaf whose gradient `autograd.grad` was asked for

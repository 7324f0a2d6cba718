"""A method that does what no plugin should, in one of many ways."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from collapsebench import Component, Method, Progress, hookimpl


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise SystemExit(7)


class Other(BaseException):
    pass


def change_everything() -> None:
    import numpy as np
    import torch

    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002 - the global generator
    random.seed(7)
    os.environ["RUDE"] = "yes"
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.alarm(3600)
    sys.stdout = None
    sys.path.insert(0, "/nowhere")


def patch(how: str) -> None:
    """Change what torch does everywhere."""
    import torch as known
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode

    torch: Any = known
    function_mode: Any = TorchFunctionMode
    dispatch_mode: Any = TorchDispatchMode
    match how:
        case "autocast":
            torch.autocast("cpu", dtype=torch.bfloat16).__enter__()
        case "function-mode":
            function_mode().__enter__()
        case "dispatch-mode":
            dispatch_mode().__enter__()
        case "saved":
            torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: 2 * x).__enter__()
        case "module-hook":
            torch.nn.modules.module.register_module_forward_hook(lambda module, inputs, output: output)
        case "layer":
            torch.nn.Linear.forward = lambda module, x: 2 * torch.nn.functional.linear(x, module.weight, module.bias)
        case "optimizer":
            torch.optim.Adam.step = lambda optimizer, closure=None: None


def act(how: str) -> None:  # noqa: C901, PLR0912 - one line each
    import torch

    match how:
        case "exit":
            sys.exit(0)
        case "os-exit":
            os._exit(3)
        case "keyboard":
            raise KeyboardInterrupt
        case "generator":
            raise GeneratorExit
        case "base":
            raise Other("base")
        case "unspeakable":
            raise UnspeakableError
        case "odd":
            raise ValueError("lone \ud800, zero \0, \x1b[2J escape\nline")
        case "huge":
            raise ValueError("x" * 10**7)
        case "folder":
            os.chdir("/")
        case "dtype":
            torch.set_default_dtype(torch.float64)
        case "grad":
            torch.set_grad_enabled(False)
        case "threads":
            torch.set_num_threads(torch.get_num_threads() + 1)
        case "everything":
            change_everything()
        case "autocast" | "function-mode" | "dispatch-mode" | "saved" | "module-hook" | "layer" | "optimizer":
            patch(how)
        case "swallow":
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                raise ValueError("swallowed") from None
        case "print":
            print("\N{MINUS SIGN}" * 10_000, flush=True)
        case "hang":
            time.sleep(600)
        case "orphan":
            for descriptor in Path("/proc/self/fd").iterdir():  # as a library written in C may leave them
                with suppress(OSError):
                    os.set_inheritable(int(descriptor.name), True)
            nothing = subprocess.DEVNULL
            subprocess.Popen(["sleep", "600"], stdin=nothing, stdout=nothing, stderr=nothing, close_fds=False)
            os.kill(os.getpid(), signal.SIGKILL)


class Rude(Method):
    """It acts at one of its steps."""

    name: ClassVar[str] = "rude"
    how: str = Field(description="what it does")
    at: int = Field(3, description="the step")

    @hookimpl
    def kl_weight(self, progress: Progress) -> float:
        if progress.step == self.at:
            act(self.how)
        return 1.0


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    return [Rude]

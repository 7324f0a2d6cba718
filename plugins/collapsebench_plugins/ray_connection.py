"""The connection of this process to a Ray cluster: quiet, and without traces when it is over."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from types import ModuleType
from typing import Any

from collapsebench.errors import CollapsebenchError, UsageError, error_line
from collapsebench.experiment.processors import cores

PATIENCE = 10.0
"""Nobody waits more seconds for an answer of the cluster. Ray itself would wait for two minutes."""
MEMORY = 100 * 2**20
"""The bytes for objects of an own cluster, which are small here."""


@contextmanager
def connected(address: str, retries: int) -> Iterator[None]:
    """Be connected to the cluster at an address, or to one that is started and listens on the loopback alone.

    A run that its machine has no memory for is tried again so many times: Ray itself would do that for ever. A process
    that its user has connected already stays as it is. Raises UsageError if there is no cluster.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    with _set(RAY_task_oom_retries=str(retries), RAY_USAGE_STATS_ENABLED="0", RAY_BACKEND_LOG_LEVEL="fatal"), _silent():
        with _mute():
            _join(address) if address else _start()
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _set(**settings: str) -> Iterator[None]:
    """Set environment variables, and put back in the end what Ray makes of all of them."""
    from ray._raylet import AuthenticationTokenLoader, Config

    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _silent() -> Iterator[None]:
    """Keep Ray from writing to the terminal."""
    from ray._private import worker

    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with _replaced(worker, "print_to_stdstream", _ignored):  # deaths of workers, whatever its options say
            yield
    finally:
        logger.setLevel(level)


def _ignored(*_: object, **__: object) -> None:
    pass


@contextmanager
def _replaced(module: ModuleType, name: str, value: object) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def _join(address: str) -> None:
    """Connect to a running cluster. Raises UsageError if there is none, or none of this version."""
    from ray._private.services import canonicalize_bootstrap_address_or_die as found

    try:
        host, _, port = found(address).rpartition(":")
        socket.create_connection((host, int(port)), PATIENCE).close()
        _connect(address=address)
    except (OSError, RuntimeError) as error:
        reason = "none runs on this machine" if address == "auto" else error_line(error)
        raise UsageError(f"no Ray cluster at '{address}': {reason}") from error


def _start() -> None:
    """Start a cluster on this machine. Raises CollapsebenchError if the system refuses."""
    from ray._private import ray_constants

    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # Ray would put one into the home of the user
    try:
        with _replaced(ray_constants, "ENABLE_RAY_CLUSTER", value=False):  # on the loopback alone
            _connect(address="local", num_cpus=cores(), include_dashboard=False, object_store_memory=MEMORY)
    except (OSError, RuntimeError) as error:
        raise CollapsebenchError(f"cannot start Ray: {error_line(error)}") from error


def _connect(**options: Any) -> None:
    """Connect, and leave the handlers of signals as they are."""
    import ray

    handler = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(configure_logging=False, log_to_driver=False, **options)
    if current_thread() is main_thread():
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def _mute() -> Iterator[None]:
    """Throw away what is written to standard error, by whatever language."""
    before = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)

"""A Ray of two nodes on this machine, each of one processor, in a network namespace that has nothing but loopback.

    python tests/cluster/ray_bed.py COMMAND …

runs a command there, beside them. It wants Linux and root, `ip` (of Debian's package `iproute2`) and the package `ray`.
Ray listens on every address that it finds: in the namespace there is none that another machine could reach.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from beds import kill, processes, uninterrupted, wait_until

ADDRESS = "127.0.0.1:6379"
"""Of the head, for every command in the namespace."""
HEAD, SECOND = "127.0.0.1", "127.0.0.2"
"""The addresses of the nodes."""
STORE_BYTES = 80_000_000
"""The memory of a node for objects, about the least that Ray takes."""


@dataclass(frozen=True)
class Ray:
    """A Ray that runs."""

    namespace: str
    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """The environment variables of everything in the namespace: no statistics are sent, no token is asked for."""
        return {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}

    def within(self, *words: str) -> list[str]:
        """Return the words of a command that runs another one in the namespace."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def start_head(self) -> None:
        """Start the first node."""
        options = ("--head", f"--port={ADDRESS.rpartition(':')[2]}", "--include-dashboard=false")
        self._start_node(HEAD, *options, f"--temp-dir={self.folder}")

    def start_second(self) -> None:
        """Start the second node."""
        self._start_node(SECOND, f"--address={ADDRESS}")

    def _start_node(self, address: str, *options: str) -> None:
        program = Path(sys.executable).with_name("ray")
        size = ("--num-cpus=1", f"--object-store-memory={STORE_BYTES}", f"--node-ip-address={address}")
        done = subprocess.run(
            self.within(str(program), "start", *options, *size, "--disable-usage-stats"),
            env=os.environ | self.env,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise OSError(f"ray start ended with {done.returncode}: {done.stdout}{done.stderr}")

    def pids(self) -> set[int]:
        """Return the ids of all processes in the namespace."""
        listed = subprocess.run(
            ["ip", "netns", "pids", self.namespace], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        return {int(line) for line in listed.split()}

    def workers(self) -> list[int]:
        """Return the ids of the processes that are at a task."""
        inside = self.pids()
        return [pid for pid, words, _ in processes() if pid in inside and _at_task(words[0])]

    def raylet(self, address: str) -> int:
        """Return the id of the process that serves a node."""
        inside, option = self.pids(), f"--node_ip_address={address}"
        (pid,) = (
            pid for pid, words, _ in processes() if pid in inside and words[0].endswith("/raylet") and option in words
        )
        return pid


def _at_task(title: str) -> bool:
    """Say whether a process has the title of a worker of Ray that is at a task: `ray::` and a name, as of no actor."""
    others = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnv", "ray::Mailbox")
    return title.startswith("ray::") and not title.startswith(others)


@contextmanager
def ray() -> Iterator[Ray]:
    """Run a Ray of two nodes, and yield it when both take tasks. Its processes, files and namespace go with it."""
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, _namespace(f"ray-{os.getpid()}") as name:
        bed = Ray(name, Path(folder))
        try:
            bed.start_head()
            bed.start_second()
            yield bed
        finally:
            with uninterrupted():
                wait_until(lambda: not _killed(bed), "no process is in the namespace")


def _killed(bed: Ray) -> set[int]:
    """Kill what is in the namespace, and return what that was."""
    found = bed.pids()
    kill(found)
    return found


@contextmanager
def _namespace(name: str) -> Iterator[str]:
    """Make a network namespace that has loopback only."""
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "netns", "exec", name, "ip", "link", "set", "lo", "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


if __name__ == "__main__":
    with ray() as running:
        code = subprocess.run(running.within(*sys.argv[1:]), env=os.environ | running.env, check=False).returncode
    sys.exit(code)

"""`python .ci/postgres.py COMMAND …` runs a command beside a PostgreSQL server of its own, which ends with it.

The server is that of the system (`initdb` and `pg_ctl`, on the PATH or where Debian puts them). It listens on
127.0.0.1 only, with a password. The superuser may not run a server: root runs it as the user postgres. The command
finds the server in COLLAPSEBENCH_TEST_POSTGRES (a URL), and how to restart it in COLLAPSEBENCH_TEST_POSTGRES_RESTART.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PASSWORD = "not-to-be-printed"  # noqa: S105 - of a server that nobody else can reach, for minutes
SETTINGS = "-c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=40"


def program(name: str) -> str:
    """Return the path of a program of PostgreSQL; of several versions, the newest."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    path = str(found[-1]) if found else shutil.which(name)
    return path or sys.exit(f"there is no {name}: install Debian's package postgresql, or put it on the PATH")


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """Run a server, and yield the environment variables by which tests find it."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as temporary:
        folder, port = Path(temporary), free_port()
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres", "postgres")
        data = folder / "data"
        auth = ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--username=collapsebench", "--no-sync"]
        _call(program("initdb"), f"--pgdata={data}", "--encoding=UTF8", "--locale=C.UTF-8", *auth)
        options = f"-p {port} -c unix_socket_directories={folder} {SETTINGS}"
        control = [program("pg_ctl"), f"--pgdata={data}", "--wait", f"--log={folder / 'log'}", f"--options={options}"]
        _call(*control, "start")
        try:
            yield {
                "COLLAPSEBENCH_TEST_POSTGRES": f"postgresql://collapsebench:{PASSWORD}@127.0.0.1:{port}/postgres",
                "COLLAPSEBENCH_TEST_POSTGRES_RESTART": shlex.join([*control, "--mode=fast", "restart"]),
            }
        finally:
            _call(*control, "--mode=immediate", "stop")


def _call(*words: str) -> None:
    """Run a program of PostgreSQL. The server must not keep our output open, so that goes nowhere."""
    user = "postgres" if os.geteuid() == 0 else None
    done = subprocess.run(words, user=user, group=user, cwd="/", stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(f"{words[0]} ended with {done.returncode}")


if __name__ == "__main__":
    with server() as variables:
        code = subprocess.run(sys.argv[1:], env=os.environ | variables, check=False).returncode
    sys.exit(code)

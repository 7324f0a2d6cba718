"""`python .ci/cluster.py` installs what the tests on Slurm and Ray need of the system, as far as it is missing.

That takes root and Debian's `apt-get`. Anybody else is told what to install. No daemon of the system is needed: the
tests start their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = {
    "ip": "iproute2",
    "munged": "munge",
    "sbatch": "slurm-client",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "initdb": "postgresql",
}
"""By program: the package of Debian that has it."""

FOLDERS = [os.environ["PATH"], "/usr/sbin", "/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
"""Debian puts some of them where only the administrator's path leads, or no path."""


def main() -> None:
    missing = [name for program, name in PACKAGES.items() if not shutil.which(program, path=os.pathsep.join(FOLDERS))]
    if not missing:
        return
    apt = shutil.which("apt-get")
    if os.geteuid() != 0 or not apt:
        sys.exit(f"install Debian's packages {' '.join(missing)}, or run this as root on Debian")
    subprocess.run([apt, "update"], check=True)
    subprocess.run([apt, "install", "--yes", "--no-install-recommends", *missing], check=True)


main()

"""`python -m bench.kill`: kill real runs at random moments, and compare what they leave with runs that were let be."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tabulate import tabulate


def main() -> None:
    """Print how many processes died where. Raises AssertionError at the first store that is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many processes to kill")
    parser.add_argument("--seed", type=int, default=1, help="seed of the moments")
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import killing

    begun, deaths, rows = time.perf_counter(), Counter[str](), []
    for name, arguments in killing.GRIDS.items():
        with tempfile.TemporaryDirectory() as folder:
            killer = killing.Killer(arguments, Path(folder), given.seed)
            killer.kill(-(-given.kills // len(killing.GRIDS)))
        deaths += killer.killed
        rows.append((name, killer.grids, killer.killed.total(), *(killer.killed[m] for m in (*killing.MOMENTS, "any"))))
    print(tabulate(rows, headers=("grid", "grids finished", "kills", *killing.MOMENTS, "any moment")))
    print(f"{deaths.total()} kills, {time.perf_counter() - begun:.0f} s: every store whole, every result the same bits")


if __name__ == "__main__":
    main()

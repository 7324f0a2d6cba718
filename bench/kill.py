"""`python -m bench.kill`: kill real runs at random moments, and compare what they leave with runs that were let be."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tabulate import tabulate


def main() -> None:
    """Print how many processes died where. Raises AssertionError at the first store that is not as it should be."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import killing

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=400, help="how many processes to kill, over all grids")
    parser.add_argument("--seed", type=int, default=1, help="seed of the moments")
    parser.add_argument("--grid", action="append", choices=list(killing.GRIDS), help="this grid; may be repeated")
    given = parser.parse_args()
    grids = given.grid or list(killing.GRIDS)

    begun, deaths, rows = time.perf_counter(), 0, []
    for name in grids:
        with tempfile.TemporaryDirectory() as folder:
            killer = killing.Killer(killing.GRIDS[name], Path(folder), given.seed)
            killer.kill(-(-given.kills // len(grids)))
        killed = killer.killed
        deaths += killed.total()
        rows.append((name, killer.grids, killed.total(), *(killed[m] for m in (*killing.MOMENTS, "any", "command"))))
        print(f"{name}: {killed.total()} kills, {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    headers = ("grid", "grids finished", "kills", *killing.MOMENTS, "any moment", "command with workers")
    print(tabulate(rows, headers=headers, tablefmt="github"))
    print(f"{deaths} kills, {time.perf_counter() - begun:.0f} s: every store whole, every result the same bits")


if __name__ == "__main__":
    main()

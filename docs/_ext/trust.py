"""The tables of docs/trust.md that are computed. cog writes them, as those of docs/paper.md (see `paper`)."""

import tempfile
from pathlib import Path

from collapsebench.reporting.queries import SuiteQuery
from collapsebench.reporting.trials import trial_results, trials_text
from collapsebench.store import Store
from collapsebench.store.interchange import import_runs
from collapsebench.verification.comparison import MEASURED, NumberRole, tolerance

ROOT = Path(__file__).parents[2]
TRIALS = ROOT / "results" / "trust" / "unfair.jsonl"
"""An export of the runs of `collapsebench suite run trust/unfair --seeds 1`."""

NOT_RUN = "No runs of the suite are stored in this repository yet."


def trials() -> str:
    """What the guards did about each contender of the suite `trust/unfair`, by its stored runs."""
    if not TRIALS.is_file():
        return f"\n{NOT_RUN}\n\n"
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "unfair.sqlite"
        import_runs(store, {TRIALS.name: TRIALS})
        with Store.reading(store) as opened:
            results = trial_results(opened, SuiteQuery("trust/unfair"))
    return f"\n{trials_text(results, 'pipe')}\n\n"


def tolerances() -> str:
    """How far numbers may be apart that were computed in different environments."""
    rows = [f"| {role.value} | {MEASURED[role]:.1e} | {tolerance(role):.1e} |" for role in NumberRole]
    return "\n".join(["", "| numbers | largest measured distance | allowed |", "|---|---|---|", *rows, "", ""])

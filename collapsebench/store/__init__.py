"""The store of runs: SQLite by default, or a PostgreSQL database by its URL. This package does not load torch."""

from collapsebench.store.filters import Filters
from collapsebench.store.rows import RunSummary
from collapsebench.store.store import Added, Artifact, ProtocolSummary, Store, Written

__all__ = [
    "Added",
    "Artifact",
    "Filters",
    "ProtocolSummary",
    "RunSummary",
    "Store",
    "Written",
]

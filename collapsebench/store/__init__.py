"""The store of runs: SQLite by default, or any database of SQLAlchemy by URL. This package does not load torch."""

from collapsebench.store.store import Added, Artifact, Filters, ProtocolSummary, RunSummary, Store, Written

__all__ = ["Added", "Artifact", "Filters", "ProtocolSummary", "RunSummary", "Store", "Written"]

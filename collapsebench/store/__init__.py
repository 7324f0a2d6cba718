"""Where runs are kept: SQLite by default, any database of SQLAlchemy by URL. Loads no torch."""

from collapsebench.store.store import Added, Artifact, Filters, ProtocolSummary, RunSummary, Store

__all__ = ["Added", "Artifact", "Filters", "ProtocolSummary", "RunSummary", "Store"]

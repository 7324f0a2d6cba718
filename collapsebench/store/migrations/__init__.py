"""Alembic migrations: one module a schema version, in `versions/`."""

"""Say which vectors are compared."""

from __future__ import annotations

from golden.vectors import FOLDER


def pytest_report_header() -> str:
    return f"golden vectors: {FOLDER}"

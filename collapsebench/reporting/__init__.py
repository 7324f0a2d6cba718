"""Selects stored runs, and reports them as boards and figures."""

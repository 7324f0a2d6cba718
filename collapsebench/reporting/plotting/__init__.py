"""Figures, one a module: pure functions say what is drawn of the runs, and `draw` draws it."""

"""Figures, one in each module. Pure functions compute what is drawn, and `draw` draws it."""

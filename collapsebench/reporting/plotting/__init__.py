"""Figures: what is drawn, pure functions over what is read of runs, and the drawing. One module a figure."""

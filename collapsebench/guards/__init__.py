"""The guards: what a run is checked for, beside that it runs. Each says what it catches, and what it cannot.

A guard refuses a run with an error of one line, or gives findings, which mark the row of a board.
"""

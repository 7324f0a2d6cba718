"""Verification: how a reader checks a board that somebody else made.

What can be computed again from records is computed again, and one run of a row is computed again as a whole. A record
is data: nothing that it names is imported. What runs is the code of installed plugins and of files that the user names.
"""

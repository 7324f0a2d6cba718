"""docs/network.md lists the networks that are there."""

from pathlib import Path

import pytest
from cogapp import Cog

ROOT = Path(__file__).parents[1]


@pytest.mark.torch
def test_the_tables_of_networks_are_those_of_the_page():
    """If not: `tox run -e docs -- -r` writes them anew."""
    assert (
        Cog().main(["cog", "--check", "--diff", "-I", str(ROOT / "docs" / "_ext"), str(ROOT / "docs/network.md")]) == 0
    )

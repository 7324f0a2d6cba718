"""Puts the page together: its parts lie beside this module, and end up in one file that asks for nothing else.

A policy in the page says so to the browser. It allows the script and the style with these hashes, images that stand in
the page itself, and no request at all.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from importlib import resources
from string import Template
from typing import Any

SCRIPTS = ("dom.js", "table.js", "plot.js", "figures.js", "evidence.js", "specimens.js", "main.js")
"""The parts of the script, in their order. They are one module."""


def render(content: Mapping[str, Any]) -> str:
    """Return the page that shows a content. Raises ValueError for a number that is not finite."""
    style, script = _part("style.css"), "\n".join(map(_part, SCRIPTS))
    return Template(_part("page.html")).substitute(
        policy=f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        title=html.escape(str(content["title"])),
        style=style,
        data=embedded(content),
        script=script,
    )


def embedded(content: Mapping[str, Any]) -> str:
    """Write JSON that can stand in an element `script`: no text in it can end the element, or begin a comment.

    >>> "<" in embedded({"label": "</script>"})
    False
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _part(name: str) -> str:
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the source expression of a policy for an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

"""The directive `boards`: links to the boards in `results/leaderboards`, by the names of their files."""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

FOLDER = Path("results") / "leaderboards"


class Boards(SphinxDirective):
    """All boards."""

    def run(self) -> list[nodes.Node]:
        """A table of contents; titles of boards are too long for one."""
        names = sorted(path.stem for path in (Path(self.env.srcdir) / FOLDER).glob("*.md") if path.stem != "README")
        lines = "\n".join(f"{name} </{FOLDER.as_posix()}/{name}>" for name in names)
        return self.parse_text_to_nodes(f"```{{toctree}}\n:maxdepth: 1\n\n{lines}\n```")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("boards", Boards)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

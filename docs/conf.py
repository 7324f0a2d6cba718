"""How the site is built: `tox run -e docs` writes it from the pages of this folder, the boards and the code."""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "collapsebench"
author = "the collapsebench maintainers"
project_copyright = f"2026, {author}"
release = metadata.version("collapsebench")

# The source folder is that of the repository, so that every link between its Markdown files is checked.
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "results/leaderboards/*.md",
    "results/league/README.md",
    "results/league/details.md",
    "tests/golden/vectors/README.md",
    "bench/README.md",
]
include_patterns += ["CONTRIBUTING.md", "CHANGELOG.md"]
exclude_patterns = [".*", "build", "dist"]

extensions = ["myst_parser", "sphinx.ext.autodoc"]
extensions += ["mathml", "docstrings", "commands", "hooks", "reference", "boards", "guards"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
smartquotes = False  # h' is a prime
suppress_warnings = ["myst.header"]  # rendered boards begin at the second level

autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "show-inheritance": True,
    "exclude-members": "model_config, model_post_init",
}
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
python_display_short_literal_types = True
# No other project's index is downloaded: names of this package must lead somewhere, others are text.
nitpick_ignore_regex = [(r"py:.*", r"(?!collapsebench\b).*")]
nitpick_ignore = [("py:class", "collapsebench.model.posterior.Shared")]  # a type variable, which has no page

html_theme = "furo"
html_title = f"collapsebench {release}"
html_math_renderer = "mathml"
html_extra_path = ["_root"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False

"""How the documentation becomes pages: `make site` (Sphinx, with MyST for Markdown).

The sources are the very files that are read on the way, README.md first, so that links between them lead where they do
there. No page loads anything from elsewhere.
"""

from __future__ import annotations

from typing import Final

from sphinx.application import Sphinx

from lineal import __version__

project = "Lineal"
copyright = "the Lineal maintainers, Apache-2.0"
release = __version__
extensions = ["myst_parser"]
include_patterns = ["README.md", "CHANGELOG.md", "docs/*.md", "docs/adr/*.md", "examples/frontend/README.md"]
root_doc = "README"
nitpicky = True

html_theme = "furo"
html_title = f"Lineal {__version__}"
html_copy_source = False

# Anchors are those that forges give to headings.
myst_heading_anchors = 4
# Diagrams stay as they are written: drawing them would need a script from elsewhere. Nor is all of GraphQL known.
suppress_warnings = ["misc.highlighting_failure"]

BELOW: Final = {
    root_doc: ("docs/*", "docs/adr/README", "examples/frontend/README", "CHANGELOG"),
    "docs/adr/README": ("0*",),
}
"""Which pages hang below which; nothing of that shows where these are read as files."""


def hang(_app: Sphinx, page: str, source: list[str]) -> None:
    """Say so in the way of Sphinx."""
    if page in BELOW:
        source[0] += "\n\n```{toctree}\n:hidden:\n:glob:\n\n" + "\n".join(BELOW[page]) + "\n```\n"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", hang)

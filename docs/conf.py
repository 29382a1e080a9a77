"""How Sphinx builds the Markdown of the whole repository, and the API page from docstrings. Run: make docs.

The source folder is the repository's root, so that links between README.md, docs/ and experiments/ work here as on a code forge.
"""

import pt_cascade

project = "pt_cascade"
author = "The pt_cascade authors"
release = pt_cascade.__version__
html_title = f"pt_cascade {release}"
html_theme = "furo"
root_doc = "docs/index"
include_patterns = [
    "*.md",
    "docs/*.md",
    "experiments/*.md",
    "notebooks/*.md",
    "pt_cascade/pt_docs/*.rst",
]
exclude_patterns = [".*", "build", "docs/_build", "tests"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3  # the anchors that code forges give to headings

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

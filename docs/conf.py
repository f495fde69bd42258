"""The documentation site: Sphinx with the theme furo, built by `make docs`; no page fetches anything."""

from __future__ import annotations

from importlib.metadata import version as installed
from typing import Any

from sphinx.application import Sphinx

project = "Affineur"
author = "the Affineur maintainers"
version = release = installed("affineur")
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build", "_static"]
root_doc = "index"

myst_enable_extensions = ["deflist", "attrs_inline"]
myst_heading_anchors = 3
myst_fence_as_directive = ["toctree", "include"]
suppress_warnings = ["misc.highlighting_failure"]

# One signature per line where it is long; the types are said once, in the signature.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "Affineur"
html_static_path = ["_static"]
html_css_files = ["affineur.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
html_permalinks_icon = "#"
html_theme_options = {"footer_icons": [], "navigation_with_keys": True}
pygments_style = "tango"
pygments_dark_style = "monokai"

copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .gp"


def speak_the_pages_language(*given: Any) -> None:
    """Tell browsers the language of a page that is not in English (`language` in its front matter)."""
    context = given[3]
    context["language"] = (context.get("meta") or {}).get("language", language)


def setup(app: Sphinx) -> None:
    """Connect what is said above."""
    app.connect("html-page-context", speak_the_pages_language)

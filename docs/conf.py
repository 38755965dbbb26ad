"""Sphinx: `make docs` builds the guide into site/, offline, and a warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
# The package and the code of the guide, from this checkout whatever is installed.
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

project = "attention-lab"
copyright = "attention-lab, Apache-2.0"  # noqa: A001 - Sphinx's own name
extensions = ["myst_parser", "guide"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["measured", "guide", "static", "figures"]
nitpicky = True
keep_warnings = False

html_theme = "furo"
html_title = "attention-lab"
html_static_path = ["static"]
html_css_files = ["guide.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"top_of_page_buttons": []}

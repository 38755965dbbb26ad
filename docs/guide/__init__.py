"""Extensions of Sphinx that build the guide: formulas, figures, measured results, and the pages of the catalogue.

mathematics.py   LaTeX → MathML, when the site is built: formulas need no script and no font
figures.py       weights and curves → SVG
measured.py      docs/measured/*.json → tables
catalogue.py     the catalogue → a page for each row, in docs/catalogue (generated, not in git)
notebook.py      the notebook → a page, in docs/notebook (generated, not in git)
telling.py       the directives and roles that the pages use
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from guide import catalogue, mathematics, notebook, telling


def setup(app: Sphinx) -> dict[str, Any]:
    mathematics.setup(app)
    telling.setup(app)
    catalogue.setup(app)
    notebook.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

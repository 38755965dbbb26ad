"""Run the notebook and write it with its outputs: `python -m notebooks.execute`.

The text to edit is the .py file beside the .ipynb (jupytext's percent format). The same source gives the same bytes:
cells are numbered, times are not recorded, and what goes to the error stream, progress bars, is left out. Pictures
have 256 colours, so that the file stays small.
"""

from __future__ import annotations

import base64
import io
import os
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

SOURCE = Path(__file__).parent / "attention_from_theory_to_implementation.py"
NOTEBOOK = SOURCE.with_suffix(".ipynb")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def read() -> Any:
    """The notebook without outputs, as its source says."""
    notebook = jupytext.read(SOURCE)
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    return notebook


def execute(notebook: Any) -> dict[str, float]:
    """Run all cells in place.

    Returns:
        Seconds by section.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises.
    """
    seconds: dict[str, float] = {}
    section, started = "start", time.perf_counter()

    def begin(cell: Any, cell_index: int) -> None:
        nonlocal section, started
        lines = "\n".join(c.source for c in notebook.cells[:cell_index] if c.cell_type == "markdown").splitlines()
        section = [line.removeprefix("## ") for line in lines if line.startswith("## ")][-1]
        started = time.perf_counter()

    def end(cell: Any, cell_index: int, execute_reply: Any) -> None:
        seconds[section] = seconds.get(section, 0.0) + time.perf_counter() - started

    NotebookClient(
        notebook,
        timeout=600,
        record_timing=False,
        coalesce_streams=True,  # how a cell's text came in pieces is chance
        resources={"metadata": {"path": str(SOURCE.parent)}},
        on_cell_execute=begin,
        on_cell_executed=end,
    ).execute()
    return seconds


def smaller(picture: str) -> str:
    """A PNG in base64 with its 256 most useful colours: a third of the bytes, and the eye sees no difference."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    written = io.BytesIO()
    image.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(written, "PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


def main() -> None:
    os.environ.pop("ATTENTION_LAB_NOTEBOOK", None)
    notebook = read()
    seconds = execute(notebook)
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = smaller(output.data["image/png"])
    nbformat.write(notebook, NOTEBOOK)
    for section, took in seconds.items():
        print(f"{took:6.1f} s  {section}")
    print(f"{sum(seconds.values()):6.1f} s  in all")


if __name__ == "__main__":
    main()

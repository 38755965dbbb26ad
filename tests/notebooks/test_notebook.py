"""The notebook: in step with its source and with the code, whole, without errors; and its exercises can be solved."""

from __future__ import annotations

import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from torch import Tensor

from attention_lab import params
from attention_lab.errors import InputError
from attention_lab.exercises import EXERCISES, check
from notebooks import execute, solutions

ROOT = execute.SOURCE.parent.parent
SECTIONS = [
    "Introduction and applications",
    "Notebook structure",
    "Set-up",
    "Device configuration",
    "Data loading",
    "Preprocessing",
    "Vocabulary creation",
    "Data splitting",
    "Label encoding",
    "Tokenizer",
    "Padding",
    "Datasets",
    "Attention mechanisms",
    "Model architecture",
    "Trainer",
    "Training",
    "Evaluation",
    "Inference",
    "Interpretability",
    "Conclusion",
]


@pytest.fixture(scope="module")
def committed() -> Any:
    return nbformat.read(execute.NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed() -> Any:
    """The notebook as its source and the code are now, run with few steps."""
    notebook = execute.read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATTENTION_LAB_NOTEBOOK", "quick")
        execute.execute(notebook)
    return notebook


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tagged(cell: Any, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def texts(cell: Any) -> list[str]:
    """What a cell prints and returns as text; of a picture, that it is one."""
    found = []
    for output in cell.outputs:
        if output.output_type == "stream":
            found += [output.text] if output.name == "stdout" else []
        else:
            found.append("picture" if "image/png" in output.data else output.data["text/plain"])
    return found


def test_the_committed_notebook_is_what_its_source_says(committed: Any) -> None:
    source = execute.read()
    assert [(c.id, c.cell_type, c.source, c.metadata) for c in committed.cells] == [
        (c.id, c.cell_type, c.source, c.metadata) for c in source.cells
    ]


def test_its_sections_stand_in_their_order(committed: Any) -> None:
    prose = "\n".join(cell.source for cell in committed.cells if cell.cell_type == "markdown")
    assert re.findall(r"^## (.*)$", prose, re.MULTILINE) == SECTIONS


def test_each_section_has_code(committed: Any) -> None:
    section, found = "", set()
    for cell in committed.cells:
        if cell.cell_type == "markdown":
            section = (re.findall(r"^## (.*)$", cell.source, re.MULTILINE) or [section])[-1]
        else:
            found.add(section)
    assert found == set(SECTIONS)


def test_it_is_small() -> None:
    assert execute.NOTEBOOK.stat().st_size < 800_000


def test_each_section_begins_with_its_question(committed: Any) -> None:
    prose = "\n".join(cell.source for cell in committed.cells if cell.cell_type == "markdown")
    for section in SECTIONS:
        assert re.search(rf"^## {re.escape(section)}\n\n\*.*\?\*$", prose, re.MULTILINE), section


def test_links_within_it_lead_somewhere(committed: Any) -> None:
    prose = "\n".join(cell.source for cell in committed.cells if cell.cell_type == "markdown")
    found = re.findall(r"\]\(#([^)]*)\)", prose)
    assert len(found) > 10
    assert set(found) <= {section.replace(" ", "-") for section in SECTIONS}


def test_it_was_run_from_top_to_bottom_without_errors(committed: Any) -> None:
    cells = code(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 15


@pytest.mark.slow
def test_it_runs_with_the_code_as_it_is_and_shows_what_was_committed(committed: Any, executed: Any) -> None:
    """What comes before training does not depend on how long that is, so it has to be the same to the letter."""
    for now, then in zip(code(executed), code(committed), strict=True):
        if tagged(now, "varies"):
            assert len(texts(now)) == len(texts(then)), now.source
        else:
            assert texts(now) == texts(then), now.source


@pytest.mark.slow
def test_nothing_warns(executed: Any) -> None:
    said = [o.text for cell in code(executed) for o in cell.outputs if o.get("name") == "stderr"]
    assert not [text for text in said if "Warning" in text]


@pytest.mark.parametrize("task", ["sentiment", "translation"])
def test_parameters_that_an_experiment_has_left_are_refused(committed: Any, task: str, tmp_path: Path) -> None:
    """README has a reader copy an example over params.yaml before it comes to the notebook."""
    (set_up,) = (cell.source for cell in code(committed) if "params.load(" in cell.source)
    shutil.copy(ROOT / "examples" / f"{task}.yaml", tmp_path / "params.yaml")
    names = {"params": params, "ROOT": tmp_path, "InputError": InputError}
    with pytest.raises(InputError, match="`git checkout HEAD"):
        exec(set_up[set_up.index("options = params.load(") :], names)


def test_only_what_training_and_the_machine_decide_may_vary(committed: Any) -> None:
    section, varying = "", set()
    for cell in committed.cells:
        if cell.cell_type == "markdown":
            section = (re.findall(r"^## (.*)$", cell.source, re.MULTILINE) or [section])[-1]
        elif tagged(cell, "varies"):
            varying.add(section)
    assert varying == {
        "Device configuration",
        "Trainer",
        "Training",
        "Evaluation",
        "Inference",
        "Interpretability",
        "Conclusion",
    }


def exercises(notebook: Any) -> dict[str, Any]:
    return {name: c for c in code(notebook) if tagged(c, "exercise") for name in re.findall(r"^def (\w+)", c.source)}


def test_all_exercises_are_there(committed: Any) -> None:
    assert set(exercises(committed)) == set(EXERCISES)


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_waits_for_its_answer_and_accepts_the_solution(committed: Any, name: str) -> None:
    cell = exercises(committed)[name]
    assert "not written yet" in texts(cell)[0]
    solution = inspect.getsource(getattr(solutions, name))
    task, _, call = cell.source.partition("    raise NotImplementedError\n")
    assert solution.splitlines()[0] == task.splitlines()[0]  # the same signature
    names = {**vars(solutions), "Tensor": Tensor, "torch": torch, "check": check}
    exec(solution, names)
    assert eval(call.strip(), names) == f"{name}: right."

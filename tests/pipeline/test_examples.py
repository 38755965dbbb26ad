"""Parameter files for data of one's own: params.yaml but for what they name, and their data passes every gate."""

from __future__ import annotations

import contextlib
import importlib
import re
import shutil
from pathlib import Path
from typing import get_args

import pytest
import yaml
from conftest import ROOT, STAGES

from attention_lab import encoding, records
from attention_lab.params import TaskName, load

EXAMPLES = ROOT / "examples"
TASKS = get_args(TaskName)


def content(path: Path) -> tuple[str, list[str]]:
    """The comment at the head as one line, and the lines after it."""
    head, lines = path.read_text(encoding="utf-8").split("\n\n", 1)
    return head.replace("\n# ", " "), lines.splitlines()


def leaves(path: Path) -> dict[str, object]:
    """Every value by its full name; data.columns and attention.options are values."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = {}
    for name, section in values.items():
        inside = section if isinstance(section, dict) else {"": section}
        found |= {f"{name}.{key}".rstrip("."): value for key, value in inside.items()}
    return found


def changed(head: str) -> set[str]:
    """The parameters that the comment at the head of an example names."""
    return set(re.search(r"It is params\.yaml but for: ([\w., ]+?)\.(?: |$)", head)[1].split(", "))


def test_every_task_has_one() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_it_differs_from_params_in_what_its_head_names(task: str) -> None:
    ours, theirs = ROOT / "params.yaml", EXAMPLES / f"{task}.yaml"
    head, lines = content(theirs)
    before, after = leaves(ours), leaves(theirs)
    assert before.keys() == after.keys()
    assert {name for name in after if after[name] != before[name]} == changed(head)
    # Comments and order are those of params.yaml as well.
    pairs = zip(content(ours)[1], lines, strict=True)
    differing = [new.split(":")[0].strip() for old, new in pairs if old != new]
    assert sorted(differing) == sorted(name.split(".")[-1] for name in changed(head))


@pytest.mark.parametrize("task", TASKS)
def test_its_data_passes_the_gates(task: str, tmp_path: Path) -> None:
    """All rows are kept: they are examples of what a file looks like."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    shutil.copy(EXAMPLES / f"{task}.yaml", tmp_path / "params.yaml")
    with contextlib.chdir(tmp_path):
        for stage in STAGES[:5]:
            importlib.import_module(f"pipeline.{stage}").app([], standalone_mode=False)
        kept = records.read(Path("data/clean/kept.parquet"))
        encoded = [encoding.read(Path(f"data/encoded/{split}.arrow")) for split in records.SPLITS]
        options = load(Path("params.yaml"))
    assert options.task == task
    assert 20 <= len(kept) <= 40
    assert sum(rows["row"].nunique() for rows in encoded) == len(kept)
    assert len(encoded[0]) > len(kept) / 2


def test_files_show_what_a_format_can_say() -> None:
    """No answer, no label, several labels, quoted fields: what people ask how to write."""
    data = {path.name: path.read_text(encoding="utf-8") for path in (EXAMPLES / "data").iterdir()}
    assert {Path(name).suffix for name in data} == {".tsv", ".jsonl", ".json", ".txt", ".csv"}
    assert '"is_impossible": true' in data["questions.json"]
    assert re.search(r",$", data["tickets.csv"], re.MULTILINE)
    assert " | " in data["tickets.csv"]
    assert '""' in data["reviews.csv"]
    assert "\n\n" in data["stories.txt"]

"""Files are whole, and read by others."""

from __future__ import annotations

import json
import math
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from attention_lab import records
from attention_lab.errors import InputError

ROOT = Path(__file__).parents[2]


def strict(text: str) -> Any:
    """JSON by its standard, which has no NaN."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    return json.loads(text, parse_constant=refuse)


def test_lines_are_json_for_everyone(tmp_path: Path) -> None:
    frame = pd.DataFrame({"row": ["a", "b"], "true_nats": [math.nan, 1.5], "rest": [[math.inf, 1], {"x": math.nan}]})
    records.write_lines(frame, tmp_path / "x.jsonl")
    lines = [strict(line) for line in (tmp_path / "x.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == [
        {"row": "a", "true_nats": None, "rest": [None, 1]},
        {"row": "b", "true_nats": 1.5, "rest": {"x": None}},
    ]


@pytest.mark.parametrize("folder", ["", ".", "..", "/"])
def test_a_folder_is_no_file_to_write(folder: str) -> None:
    with pytest.raises(InputError, match="is a folder; name a file in it"):
        records.write_bytes(b"", Path(folder))


def test_marks_of_a_merge_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "evaluate.json").write_text("{\n<<<<<<< HEAD\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"evaluate\.json is not valid JSON \(.*\); remove it and run `dvc repro`"):
        records.read_json(tmp_path / "evaluate.json")


def test_the_digest_of_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model: there is no such file; `dvc repro` makes it"):
        records.digest(tmp_path / "model")


def test_git_ignores_what_a_killed_process_was_writing() -> None:
    left = records.replaced(Path("metrics/validation/clean.json")).temporary
    patterns = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert any(fnmatch(left.name, pattern) for pattern in patterns)

"""Parameter files for data of one's own: params.yaml but for what they name; their data passes every gate, what is
learned from it holds for rows that were not trained on, and there is a report, though nobody knows what matters."""

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

from attention_lab import encoding, evaluation, interpretation, records, training
from attention_lab.explanation import page
from attention_lab.params import TaskName, load
from examples.renew import named, renewed

EXAMPLES = ROOT / "examples"
TASKS = get_args(TaskName)
QUICK = {
    "evaluate": {"beams": 1, "max_tokens": 8, "bootstrap": 100},
    "interpret": {"explained_rows": 1, "checked_rows": 1, "examples": 2, "steps": 2, "bootstrap": 100},
}


def leaves(path: Path) -> dict[str, object]:
    """Every value by its full name; data.columns and attention.options are values."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = {}
    for name, section in values.items():
        inside = section if isinstance(section, dict) else {"": section}
        found |= {f"{name}.{key}".rstrip("."): value for key, value in inside.items()}
    return found


def test_every_task_has_one() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_it_differs_from_params_in_what_its_head_names(task: str) -> None:
    ours, theirs = ROOT / "params.yaml", EXAMPLES / f"{task}.yaml"
    before, after, text = leaves(ours), leaves(theirs), theirs.read_text(encoding="utf-8")
    assert before.keys() == after.keys(), "run `python examples/renew.py`"
    assert {name for name in after if after[name] != before[name]} == set(named(text))
    assert text == renewed(text, ours.read_text(encoding="utf-8")), "run `python examples/renew.py`"


def test_what_params_has_anew_comes_into_an_example() -> None:
    params = "# ours\n\na:\n  x: 1          # size\n  y: 5\n  z: 7\nb:\n  x: 1\n"
    example = "# theirs\n# It is params.yaml but for: a.x, b.x.\n\na:\n  x: 2\n  y: 3\nb:\n  x: 4\n"
    assert renewed(example, params) == (
        "# theirs\n# It is params.yaml but for: a.x, b.x.\n\n"
        "a:\n  x: 2                       # size\n  y: 5\n  z: 7\nb:\n  x: 4\n"
    )


@pytest.mark.parametrize("task", TASKS)
def test_its_data_passes_the_gates_and_can_be_learned(task: str, tmp_path: Path) -> None:
    """All rows are kept: they are examples of what a file looks like. The training ends in an error where it has
    learned nothing that holds for the valid rows."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    shutil.copy(EXAMPLES / f"{task}.yaml", tmp_path / "params.yaml")
    with contextlib.chdir(tmp_path):
        for stage in STAGES[:5]:
            importlib.import_module(f"pipeline.{stage}").app([], standalone_mode=False)
        raw, kept = (records.read(Path(name)) for name in ("data/raw/records.parquet", "data/clean/kept.parquet"))
        encoded = [encoding.read(Path(f"data/encoded/{split}.arrow")) for split in records.SPLITS]
        options = load(Path("params.yaml"))
        config = training.configure(options, Path("data/vocab"))
        model, encoded_at, split_at = Path("model"), Path("data/encoded"), Path("data/split")
        training.fit(config, options, encoded_at, Path("data/vocab"), model, Path("unfinished"))
        # Evaluated and shown as by the last two stages, but for MLflow and the size.
        shape, trained = records.SHAPES[task], evaluation.Trained(model)
        parts = {name: records.read(split_at / f"{name}.parquet") for name in ("train", "test")}
        quick = options.model_copy(
            update={section: getattr(options, section).model_copy(update=values) for section, values in QUICK.items()}
        )
        predictions = evaluation.predict(trained, encoded_at, parts["test"], shape, quick.evaluate)
        measured = evaluation.measure(trained, predictions, parts["train"], quick.evaluate, options.seed)
        records.write(predictions, Path("predictions/predictions.parquet"))
        found, shown = interpretation.run(quick, model, encoded_at, split_at, Path("predictions"))
        assert page.report(shown, measured, model, None).count("</html>") == 1
    assert len(shown.examples) == 2
    assert found.plots
    assert measured["score_low"] <= measured["score"] <= measured["score_high"]
    assert options.task == task
    assert 20 <= len(kept) == len(raw) <= 80
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

"""What tasks decide where params.yaml leaves it to them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from attention_lab import params, training
from attention_lab.tasks import TASKS, Task
from attention_lab.vocabulary import save, save_labels, train

PARAMS = Path(__file__).parents[3] / "params.yaml"


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("name", ["layers", "width", "word_dropout"])
def test_they_decide_what_params_yaml_says(task: Task, name: str) -> None:
    """ "null: 2, in question_answering 4", or "null: 0.05 in translation, sentiment": 0 elsewhere."""
    (note,) = re.findall(rf"^  {name}: null .*null: (.*)$", PARAMS.read_text(encoding="utf-8"), re.MULTILINE)
    everywhere = re.match(r"[\d.]+(?=$|,)", note)
    said = dict.fromkeys(TASKS, float(everywhere[0]) if everywhere else 0.0)
    for before, names, behind in re.findall(r"([\d.]+)? ?in ([a-z_, ]+?)(?: ([\d.]+)|$)", note):
        said |= dict.fromkeys(names.split(", "), float(behind or before))
    assert set(said) == set(TASKS)
    assert getattr(task, name) == said[task.name]


@pytest.mark.parametrize(
    ("task", "asked", "found"),
    [
        ("question_answering", {}, (4, 64, "rotary")),
        ("sentiment", {}, (2, 128, "rotary")),
        ("translation", {}, (2, 128, "sinusoidal_rotary")),
        ("question_answering", {"layers": 3, "width": 32}, (3, 32, "rotary")),
        ("translation", {"position": "rotary"}, (2, 128, "rotary")),
    ],
)
def test_a_model_has_what_its_task_decides(
    task: str, asked: dict[str, Any], found: tuple[int, int, str], tmp_path: Path
) -> None:
    given = params.load(PARAMS)
    save(train(["a story of a ball"] * 2, given.vocab, None), tmp_path)
    save_labels(["bad", "good"], tmp_path)
    changed = given.model_copy(update={"task": task, "model": given.model.model_copy(update=asked)})
    config = training.configure(changed, tmp_path)
    assert (config.layers, config.width, config.position) == found


@pytest.mark.parametrize("task", ["sentiment", "multi_label", "summarization", "translation"])
def test_texts_without_a_word_have_no_classical_baseline(task: str) -> None:
    texts = ["😀 🎉", "😢 💩"]
    rows = {"text": texts, "label": ["good", "bad"], "labels": [["good"], ["bad"]], "document": texts, "summary": texts}
    rows |= {"source": texts, "target": texts}
    found = TASKS[task].baselines(pd.DataFrame(rows), pd.DataFrame(rows), params.load(PARAMS).evaluate, 1)
    assert list(found) == ["baseline"]

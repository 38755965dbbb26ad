"""Bad input is normal input: exit code 1 and one sentence with file, row and remedy."""

from __future__ import annotations

import pytest
from conftest import Project

GOOD = "text,label\n" + "".join(f"this is text number {n},{'good' if n % 2 else 'bad'}\n" for n in range(60))

CASES = {
    "a missing file": (None, "reviews.csv: there is no such file; correct its name"),
    "a missing column": (
        "words,label\na,b\nc,d\n",
        "reviews.csv: there is no column 'text' among words, label.*data.columns: {text: words}",
    ),
    "an empty file": ("", "reviews.csv is empty; name a file with rows"),
    "a header alone": ("text,label\n", "reviews.csv holds no rows"),
    "bytes that are not UTF-8": (
        b"text,label\ngut,a\nsch\xf6n,b\n",
        "reviews.csv:3: the byte 0xf6 is not UTF-8.*iconv",
    ),
    "one class only": ("text,label\na,good\nb,good\n", "only one class, 'good'.*data.columns.label"),
    "a row with too many fields": ("text,label\na,b\nc,d,e\n", "reviews.csv:3"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_file(case: str, project: Project) -> None:
    content, sentence = CASES[case]
    if content is not None:
        project.write("inputs/reviews.csv", content)
    project.set(**{"task": "sentiment", "data.source": "file", "data.path": "inputs/reviews.csv"})
    assert_matches(sentence, project.refusal())


def test_broken_json_names_its_line(project: Project) -> None:
    project.write("inputs/rows.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n{"text": oops}\n')
    project.set(**{"task": "sentiment", "data.source": "file", "data.path": "inputs/rows.jsonl"})
    assert_matches("inputs/rows.jsonl:3", project.refusal())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"train.epochs": 0}, "train.epochs should be greater than or equal to 1, not 0"),
        ({"train.epoch": 3}, "unknown parameter train.epoch; known here: epochs"),
        (
            {"task": "parsing"},
            "task should be 'translation', 'summarization', 'question_answering', 'generation', 'sentiment' or ",
        ),
    ],
)
def test_a_parameter(change: dict[str, object], sentence: str, project: Project) -> None:
    assert_matches(sentence, project.set(**change).refusal())


def test_a_test_set_that_overlaps_the_training_set(project: Project) -> None:
    project.write("inputs/train.csv", GOOD)
    project.write("inputs/test.csv", "text,label\nsomething new,good\nthis is text number 7,good\n")
    project.set(**{"task": "sentiment", "data.source": "file"})
    project.set(**{"data.train": "inputs/train.csv", "data.test": "inputs/test.csv"})
    project.stages(["ingest"])
    assert_matches("inputs/test.csv:3 = inputs/train.csv:9.*clean.overlap=drop", project.refusal("clean"))
    project.set(**{"clean.overlap": "drop"}).stages(["clean"])


def test_an_unknown_mechanism_lists_the_valid_ones(project: Project) -> None:
    project.stages(("ingest", "clean", "vocab"))
    project.set(**{"attention.mechanism": "softmax_attention"})
    expected = "no mechanism 'softmax_attention'.*; choose one of scaled_dot_product, dot, general, additive, concat"
    assert_matches(expected, project.refusal("train"))


def test_a_stage_before_its_inputs(project: Project) -> None:
    sentence = "data/raw/records.parquet: there is no such file; `dvc repro` makes it"
    assert_matches(sentence, project.refusal("clean"))
    done = project.stage("clean", fails=True)  # the same from outside
    assert done.returncode == 1
    assert done.stderr.strip() == f"clean: {sentence}"


def test_a_stage_behind_stages_of_another_task(project: Project) -> None:
    project.stages(("ingest", "clean", "vocab", "split", "encode"))
    for task, column in {"summarization": "document", "sentiment": "text", "generation": "text"}.items():
        project.set(task=task)
        sentence = f"{{}} is of another task, for it has no column '{column}'; run `dvc repro`"
        for stage, file in {
            "clean": "data/raw/records.parquet",
            "vocab": "data/clean/kept.parquet",
            "split": "data/clean/kept.parquet",
            "encode": "data/split/train.parquet",
            "evaluate": "data/split/train.parquet",
        }.items():
            assert_matches(sentence.format(file), project.refusal(stage))
    for task in ("question_answering", "sentiment", "multi_label", "generation"):
        expected = "data/encoded/train.arrow holds rows of another task; run `dvc repro encode`"
        assert_matches(expected, project.set(task=task).refusal("train"))


def assert_matches(pattern: str, text: str) -> None:
    import re

    assert re.search(pattern, text), f"{pattern!r} is not in {text!r}"

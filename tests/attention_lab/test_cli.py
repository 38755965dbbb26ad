"""The command line, in this process: what it prints, and what it does not take together."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_demo import TEXT, folder
from typer.testing import CliRunner

from attention_lab.cli import commands
from attention_lab.errors import InputError
from attention_lab.explanation import explain
from attention_lab.inference import Predictor


def said(model: Path, *arguments: str) -> str:
    found = CliRunner().invoke(commands, ["predict", "--model", str(model), *arguments])
    if found.exception is not None:
        raise found.exception
    return found.stdout


@pytest.mark.parametrize(("task", "score"), [("translation", "log_probability"), ("sentiment", "probability")])
def test_the_best_are_lines_with_their_scores_and_in_json_a_list(tmp_path: Path, task: str, score: str) -> None:
    model = folder(tmp_path, task)
    wanted = Predictor(model).predict([TEXT, "a cat"], best=2, max_tokens=7)
    lines = said(model, "--best", "2", "--max-tokens", "7", TEXT, "a cat").splitlines()
    assert lines == [f"{one[score]:.4f}\t{one['prediction']}" for answer in wanted for one in answer["candidates"]]
    written = said(model, "--best", "2", "--max-tokens", "7", "--json", TEXT, "a cat").splitlines()
    assert [json.loads(line)["candidates"] for line in written] == [answer["candidates"] for answer in wanted]


@pytest.mark.parametrize("task", ["translation", "generation"])
def test_a_stream_prints_what_is_printed_without_it(tmp_path: Path, task: str) -> None:
    model = folder(tmp_path, task)
    texts = ("--max-tokens", "7", TEXT, "a cat")
    assert said(model, "--stream", *texts) == said(model, *texts)


@pytest.mark.parametrize("option", [("--json",), ("--best", "2"), ("--beams", "3"), ("--output", "x.jsonl")])
def test_a_stream_is_plain_text(tmp_path: Path, option: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="--stream prints one plain text, word by word; leave out"):
        said(tmp_path, "--stream", *option, TEXT)


@pytest.mark.parametrize("task", ["translation", "sentiment", "multi_label", "generation", "question_answering"])
def test_attention_comes_with_json_as_the_maps_have_it(tmp_path: Path, task: str) -> None:
    model, texts, about = folder(tmp_path, task), (TEXT, "a cat"), ()
    predictor, inputs = Predictor(model), [{"text": text, "source": text} for text in texts]
    if task == "question_answering":
        about = ("--context", "the dog sees the cat")
        inputs = [{"question": text, "context": about[1]} for text in texts]
    lines = [*map(json.loads, said(model, "--json", "--attention", "--max-tokens", "7", *about, *texts).splitlines())]
    for given, line in zip(inputs, lines, strict=True):
        maps = explain(predictor, given, line)
        assert [one["name"] for one in line["attention"]] == [one.name for one in maps]
        for one, wanted in zip(line["attention"], maps, strict=True):
            assert (one["queries"], one["keys"]) == (wanted.queries, wanted.keys)
            assert np.abs(np.array(one["weights"]).reshape(wanted.weights.shape) - wanted.weights).max() < 1e-4
    assert "attention" not in json.loads(said(model, "--json", "--max-tokens", "7", *about, TEXT))


def test_attention_needs_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--attention needs JSON lines: add --json or --output, "):
        said(tmp_path, "--attention", TEXT)


def test_rows_keep_what_they_have_and_blank_lines_are_counted(tmp_path: Path) -> None:
    model, file = folder(tmp_path, "sentiment"), tmp_path / "rows.JSONL"
    file.write_text('\ufeff{"id": 7, "text": "a cat"}\n\n{"id": 8, "source": "the dog", "tags": ["x"]}\n')
    found = CliRunner().invoke(commands, ["predict", "--model", str(model), "--input", str(file), "--json"])
    first, second = map(json.loads, found.stdout.splitlines())
    assert (first["id"], first["text"]) == (7, "a cat")
    assert (second["id"], second["text"], second["tags"]) == (8, "the dog", ["x"])
    assert "that were skipped: 1" in found.stderr
    assert "prediction" in first


TABLE = pd.DataFrame({"id": [7, 8], "text": ["a cat", 'the "dog", sees'], "day": ["1", "2"]})


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "tsv", "json", "jsonl", "ndjson.gz", "parquet"])
def test_a_table_in_any_format_of_data_has_the_same_predictions(tmp_path: Path, suffix: str) -> None:
    model, file = folder(tmp_path, "sentiment"), tmp_path / f"rows.{suffix}"
    write = {
        "csv": lambda: TABLE.to_csv(file, index=False),
        "tsv": lambda: TABLE.to_csv(file, index=False, sep="\t"),
        "json": lambda: TABLE.to_json(file, orient="records"),
        "jsonl": lambda: TABLE.to_json(file, orient="records", lines=True),
        "ndjson": lambda: TABLE.to_json(file, orient="records", lines=True),
        "parquet": lambda: TABLE.assign(day=pd.Timestamp("2026-01-01")).to_parquet(file),
    }
    write[suffix.removesuffix(".gz")]()
    found = [*map(json.loads, said(model, "--input", str(file), "--json").splitlines())]
    assert [one["text"] for one in found] == TABLE["text"].tolist()
    assert [int(one["id"]) for one in found] == [7, 8]
    wanted = Predictor(model).predict(TABLE["text"].tolist())
    assert [one["prediction"] for one in found] == [one["prediction"] for one in wanted]


def test_a_column_of_another_name_is_named_or_known(tmp_path: Path) -> None:
    model, file = folder(tmp_path, "sentiment"), tmp_path / "rows.csv"
    for header, option in (("review", ()), ("opinion", ("--column", "opinion"))):
        file.write_text(f"id,{header}\n7,a cat\n")
        assert json.loads(said(model, "--input", str(file), "--json", *option))["text"] == "a cat"
    with pytest.raises(InputError, match=r"rows\.csv:2 has no text under text, sentence, .*, only id, opinion; name"):
        said(model, "--input", str(file))
    with pytest.raises(InputError, match=r"rows\.csv:2 has no text under day, only id, opinion; name the column"):
        said(model, "--input", str(file), "--column", "day")
    with pytest.raises(InputError, match="--column names a column of a table; give that with --input"):
        said(model, "--column", "day", TEXT)


def test_predictions_are_a_table_if_the_output_is_called_so(tmp_path: Path) -> None:
    file = tmp_path / "told.csv"
    said(folder(tmp_path, "multi_label"), "--threshold", "0", "--output", str(file), 'a "cat", a dog')
    (found,) = pd.read_csv(file).to_dict("records")
    assert found["text"] == 'a "cat", a dog'
    assert found["prediction"] == "no | perhaps | yes"
    assert sorted(json.loads(found["probabilities"])) == ["no", "perhaps", "yes"]


def test_a_context_is_for_the_questions_of_a_file_that_have_none(tmp_path: Path) -> None:
    model, file = folder(tmp_path, "question_answering"), tmp_path / "q.jsonl"
    file.write_text('{"question": "the dog"}\n{"question": "the dog", "context": "a cat sees"}\n')
    told = said(model, "--input", str(file), "--context", TEXT, "--json").splitlines()
    assert [json.loads(line)["context"] for line in told] == [TEXT, "a cat sees"]
    file.write_text('{"text": "the dog", "passage": "a cat sees"}\n')
    (line,) = said(model, "--input", str(file), "--json").splitlines()
    assert (json.loads(line)["question"], json.loads(line)["context"]) == ("the dog", "a cat sees")


def test_what_is_cut_is_said(tmp_path: Path) -> None:
    model = folder(tmp_path, "sentiment")
    found = CliRunner().invoke(commands, ["predict", "--model", str(model), " ".join([TEXT] * 100), TEXT])
    assert "longer than the model reads at once: 1 of 2 texts" in found.stderr


@pytest.mark.parametrize("place", ["model", "file.txt/x.jsonl"])
def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, place: str) -> None:
    model = folder(tmp_path, "sentiment")
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(InputError, match=r"name a file in it|name another place"):
        said(model, "--output", str(tmp_path / place), TEXT)


def test_several_labels_stand_between_bars(tmp_path: Path) -> None:
    model = folder(tmp_path, "multi_label")
    assert said(model, "--threshold", "0", TEXT) == "no | perhaps | yes\n"
    assert said(model, "--threshold", "1", TEXT) == "\n"


@pytest.mark.parametrize("option", [(), ("--stream",)])
def test_a_context_is_refused_where_no_question_is_answered(tmp_path: Path, option: tuple[str, ...]) -> None:
    model = folder(tmp_path, "translation")
    with pytest.raises(InputError, match="--context is for models that answer questions"):
        said(model, *option, "--context", TEXT, "a cat")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"source": "a cat"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="--context is for models that answer questions"):
        said(model, *option, "--context", TEXT, "--input", str(rows))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.jsonl", '{"text": "a cat"}\n\n{"text": " "}', r"x\.jsonl:3: the text is empty or missing; give at"),
        ("x.ndjson", '{"id": 1}', r"x\.ndjson:1 has no text under text, .*, only id; name the column with --column"),
        ("x.csv", "text\na cat\n\n ,\n", r"x\.csv:4: the row has 2 fields, the header 1 \(text\); quote fields"),
        ("x.csv", "text,n\n,1\n", r"x\.csv:2: the text is empty or missing; give at"),
        ("x.csv", "text\n", r"x\.csv holds no rows \(a header at most\); add some"),
        ("x.xlsx", "PK\x03\x04", r"x\.xlsx is an archive or an Excel file; unpack it or save its table as CSV"),
        ("x.txt", " \n", r"x\.txt is empty; name a file with rows"),
        ("x.jsonl", '{"text": "\\ud83d"}', r"x\.jsonl:1 is not UTF-8 at character 11"),
        ("x.jsonl", '{"text": "a cat", "n": ' + "1" * 5000 + "}", r"x\.jsonl:1: this JSON cannot be read"),
        ("x.jsonl", "[" * 100_000, r"x\.jsonl:1"),
        ("x.txt", '{"text": "a cat"}', r"x\.txt:1 is JSON, not plain text; put it into a file whose name ends"),
        ("x.tsv.gz", "a", r"x\.tsv\.gz is not a complete gzip file"),
    ],
)
def test_a_mistake_in_a_file_names_its_line(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=sentence):
        said(folder(tmp_path, "sentiment"), "--input", str(tmp_path / name))


@pytest.mark.parametrize("arguments", [(), ("-",), ("--input", "-")])
def test_a_dash_is_standard_input(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    model = folder(tmp_path, "sentiment")
    found = CliRunner().invoke(commands, ["predict", "--model", str(model), "--json", *arguments], input=f"{TEXT}\n")
    assert json.loads(found.stdout)["text"] == TEXT


def test_what_is_drawn_for_a_text_depends_on_its_place_among_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = folder(tmp_path, "generation")
    texts = ["a cat"] * 5
    together = said(model, "--max-tokens", "7", *texts)
    monkeypatch.setattr("attention_lab.cli.AT_ONCE", 2)
    assert said(model, "--max-tokens", "7", *texts) == together == said(model, "--max-tokens", "7", "--stream", *texts)
    assert len(set(together.splitlines())) > 1


@pytest.mark.parametrize("option", ["--temperature", "--length-penalty", "--repetition-penalty"])
def test_a_number_that_is_none_is_refused(tmp_path: Path, option: str) -> None:
    with pytest.raises(InputError, match=f"{option} must be a finite number, not"):
        said(tmp_path, option, "inf", TEXT)


def test_the_package_is_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["attention_lab", "mechanisms", "sparsmax"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("attention_lab", run_name="__main__")
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith("attention-lab: attention.mechanism: there is no mechanism 'sparsmax'")

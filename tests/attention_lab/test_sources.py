"""Every format gives the same records; every mistake one sentence that names the file, the row and the remedy."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from attention_lab import params, records, sources
from attention_lab.corpora import CORPORA, Corpus
from attention_lab.errors import InputError

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
DATA = params.load(ROOT / "params.yaml").data.model_copy(
    update=dict.fromkeys(("path", "train", "valid", "test", "name", "config")) | {"columns": {}, "size": 100}
)
SENTIMENT = records.SHAPES["sentiment"]
TRANSLATION = records.SHAPES["translation"]
ROWS = [("good film", "1"), ('a "bad", bad film', "0"), ("tab\u00a0and\u2028line\u0085separators", "1")]


def load(task: str = "sentiment", source: str = "file", **given: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    data = DATA.model_copy(update={"source": source, **given})
    return sources.load(data, records.SHAPES[task], 7, task)


def refusal(task: str = "sentiment", source: str = "file", **given: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(task, source, **given)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)


def put(name: str, content: str | bytes) -> str:
    raw = content.encode() if isinstance(content, str) else content
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(gzip.compress(raw) if name.lower().endswith(".gz") else raw)
    return name


def as_csv(rows: list[tuple[str, str]]) -> str:
    return "text,label\n" + "".join('"{}",{}\n'.format(t.replace('"', '""'), label) for t, label in rows)


def as_jsonl(rows: list[tuple[str, str]]) -> str:
    return "".join(json.dumps({"text": t, "label": label}, ensure_ascii=False) + "\n" for t, label in rows)


def as_parquet(rows: list[tuple[str, str]]) -> bytes:
    return pd.DataFrame(rows, columns=["text", "label"]).to_parquet()


WRITERS: dict[str, Callable[[list[tuple[str, str]]], str | bytes]] = {
    "x.csv": as_csv,
    "x.tsv": lambda rows: "text\tlabel\n" + "".join(f"{t}\t{label}\n" for t, label in rows),
    "x.json": lambda rows: json.dumps([{"text": t, "label": label} for t, label in rows]),
    "x.jsonl": as_jsonl,
    "x.ndjson": as_jsonl,
    "x.parquet": as_parquet,
}
FIRST_ROW = {"x.csv": 2, "x.tsv": 2, "x.json": 1, "x.jsonl": 1, "x.ndjson": 1, "x.parquet": 1}


@pytest.mark.parametrize("packed", ["", ".gz", ".GZ"])
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_records(name: str, packed: str) -> None:
    path = put(name + packed, WRITERS[name](ROWS))
    frame, manifest = load(path=path)
    assert list(frame.columns) == records.columns(SENTIMENT)
    assert list(zip(frame["text"], frame["label"], strict=True)) == ROWS
    assert list(frame["row"]) == [f"{path}:{FIRST_ROW[name] + i}" for i in range(3)]
    assert frame["split"].isna().all()
    assert frame["rationale"].isna().all()
    stored = Path(path).read_bytes()
    file = {"path": path, "bytes": len(stored), "sha256": hashlib.sha256(stored).hexdigest(), "rows": 3, "split": None}
    assert manifest == {
        "source": "file",
        "files": [file],
        "rows": 3,
        "refused": {},
        "columns": {"text": "text", "label": "label"},
    }


def test_what_is_read_survives_the_disk(tmp_path: Path) -> None:
    frame, _ = load(path=put("x.csv", as_csv(ROWS)))
    records.write(frame, tmp_path / "raw.parquet")
    again = records.read(tmp_path / "raw.parquet")
    assert again.astype(object).where(again.notna(), None).equals(frame)


@pytest.mark.parametrize("task", ["translation", "sentiment", "multi_label"])
def test_embedded_corpora_pass_through(task: str) -> None:
    frame, manifest = load(task, "embedded", size=100)
    assert list(frame.columns) == records.columns(records.SHAPES[task])
    assert frame["row"].tolist() == CORPORA[task].generate(100, 7)["row"].tolist()
    assert manifest["rows"] == len(frame) > 0
    assert manifest["files"] == []


def test_an_embedded_corpus_has_a_size_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Corpus(CORPORA["sentiment"].generate, 110)
    monkeypatch.setitem(CORPORA, "sentiment", small)
    assert len(load("sentiment", "embedded", size=None)[0]) == 110
    assert len(load("sentiment", "embedded", size=130)[0]) == 130


# ------------------------------------------------------------------------------------------------ files


def test_given_files_set_the_split() -> None:
    given = {s: put(f"{s}.csv", f"text,label,split\n{s} one,1,test\n{s} two,0,test\n") for s in records.SPLITS}
    frame, manifest = load(**given)
    assert frame["split"].tolist() == [s for s in records.SPLITS for _ in range(2)]
    assert frame["row"].tolist()[:3] == ["train.csv:2", "train.csv:3", "valid.csv:2"]
    assert [(f["path"], f["split"]) for f in manifest["files"]] == [(f"{s}.csv", s) for s in records.SPLITS]


def test_a_split_column_is_honoured_and_another_of_that_name_is_not() -> None:
    names = ["train", "Validation", "dev", "test", ""]
    rows = "".join(f"t{i},{i % 2},{n}\n" for i, n in enumerate(names))
    frame, manifest = load(path=put("x.csv", "text,label,split\n" + rows))
    assert frame["split"].tolist() == ["train", "valid", "valid", "test", None]
    assert manifest["columns"]["split"] == "split"
    frame, _ = load(path=put("y.csv", "text,label,split\na,1,fold 1\nb,0,fold 2\n"))
    assert frame["split"].isna().all()
    assert refusal(path=put("z.csv", "text,label,split\na,1,train\nb,0,fold 2\n")).startswith(
        "z.csv:3: the split 'fold 2' is not one of train, valid, test"
    )


def test_a_split_column_that_is_named_is_meant() -> None:
    path = put("x.csv", "text,label,part\na,1,learn\nb,0,exam\n")
    said = refusal(path=path, columns={"split": "part"})
    assert said.startswith("x.csv:2: the split 'learn' is not one of train, valid, test")


def test_files_of_one_name_in_two_folders(tmp_path: Path) -> None:
    given = {}
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "data.csv").write_text(f"text,label\n{split} a,1\n{split} b,0\n")
        given[split] = str(tmp_path / split / "data.csv")
    frame, _ = load(**given)
    assert frame["row"].tolist() == [f"{s}/data.csv:{n}" for s in ("train", "test") for n in (2, 3)]
    assert "is named for two splits" in refusal(train=given["train"], test=given["train"])


def test_a_row_of_a_tsv_is_one_line() -> None:
    said = refusal(path=put("x.tsv", 'text\tlabel\n"one\nmore"\t1\n'))
    assert said.endswith("(text, label); a row is one line here; in a .csv quoted fields may hold tabs and newlines")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_csv_of_excel(separator: str) -> None:
    lines = [["text", "label", '"one, or another"'], ['"one, and; more"', "1", ""], ["two", "0", ""]]
    frame, _ = load(path=put("x.csv", "\ufeff" + "".join(separator.join(line) + "\r\n" for line in lines)))
    assert frame["text"].tolist() == ["one, and; more", "two"]
    assert frame["label"].tolist() == ["1", "0"]


@pytest.mark.parametrize("broken", ["9" * 5000, "[" * 100_000])
def test_json_that_python_cannot_read_is_one_sentence(broken: str) -> None:
    assert "cannot be read" in refusal(path=put("x.json", f'[{{"text": {broken}, "label": 1}}]'))


def test_columns_are_mapped() -> None:
    path = put("x.csv", "stars,review,part\n1,good,train\n0,bad,test\n")
    frame, manifest = load(path=path, columns={"text": "review", "label": "stars", "split": "part"})
    assert frame.iloc[1].tolist() == ["x.csv:3", "test", "bad", "0", None]
    assert manifest["columns"] == {"split": "part", "text": "review", "label": "stars"}


def test_csv_quotes_newlines_bom_and_line_numbers() -> None:
    content = '\ufefftext, label\r\n"one\nline ""more""",1\r\n\r\ntwo,0\r\n"a,b",1\r\n'
    frame, _ = load(path=put("x.csv", content))
    assert frame["text"].tolist() == ['one\nline "more"', "two", "a,b"]
    assert frame["row"].tolist() == ["x.csv:2", "x.csv:5", "x.csv:6"]


def test_csv_fields_may_be_long() -> None:
    frame, _ = load(path=put("x.csv", f"text,label\n{'long ' * 50_000},1\nb,0\n"))
    assert len(frame["text"][0]) == 250_000


def test_tsv_quotes_are_quotes_only_if_all_lines_agree() -> None:
    frame, _ = load(path=put("x.tsv", 'text\tlabel\n"a ""b"" c"\t1\nd\t0\n'))
    assert frame["text"].tolist() == ['a "b" c', "d"]
    frame, _ = load(path=put("y.tsv", 'text\tlabel\n"open\t1\nclosed"\t0\n'))
    assert frame["text"].tolist() == ['"open', 'closed"']


def test_values_become_text_and_missing_ones_stay_visible() -> None:
    values = [{"text": 5, "label": 1}, {"text": None, "label": 1.0}, {"label": True}, {"text": "x", "label": 0.5}]
    frame, _ = load(path=put("x.json", json.dumps([*values, {"text": "", "label": None}, {"text": "y", "label": ""}])))
    assert frame["text"].tolist() == ["5", "", "", "x", "", "y"]
    assert frame["label"].tolist() == ["1", "1", "true", "0.5", None, None]


def test_parquet_integers_with_gaps_stay_integers() -> None:
    table = pd.DataFrame({"text": ["a", "b", None], "label": [1.0, 0.0, float("nan")]})
    frame, _ = load(path=put("x.parquet", table.to_parquet()))
    assert frame["label"].tolist() == ["1", "0", None]
    assert frame["text"].tolist() == ["a", "b", ""]


def test_json_object_with_one_array_and_nested_columns() -> None:
    data = {"version": "1", "data": [{"translation": {"en": "a b", "de": "c"}, "alignment": [[0, 0], [1, 0]]}]}
    columns = {"source": "translation.en", "target": "translation.de"}
    frame, manifest = load("translation", path=put("x.json", json.dumps(data)), columns=columns)
    assert frame.iloc[0].tolist() == ["x.json:1", None, "a b", "c", None, [[0, 0], [1, 0]]]
    assert manifest["columns"] == {**columns, "alignment": "alignment"}


SEVERAL = [("a b", ["x", "y z"]), ("c", []), ("d", ["7"]), ("e", None)]


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet", "x.csv"])
def test_any_number_of_labels_comes_from_every_format(name: str) -> None:
    content: dict[str, str | bytes] = {
        "x.jsonl": "\n".join(json.dumps({"text": text, "labels": labels}) for text, labels in SEVERAL),
        "x.parquet": pd.DataFrame(SEVERAL, columns=["text", "labels"]).to_parquet(),
        "x.csv": 'text,labels\na b,"[""x"", ""y z""]"\nc,[]\nd,[7]\n',
    }
    frame, _ = load("multi_label", path=put(name, content[name]))
    assert frame["labels"].tolist() == [labels for _, labels in SEVERAL[: len(frame)]]
    assert list(frame.columns) == ["row", "split", "text", "labels", "rationale"]


def test_labels_between_bars_none_and_one() -> None:
    frame, manifest = load("multi_label", path=put("x.csv", "text,tags\na,x | y z|\nb,\nc,x\nd,5\n"))
    assert frame["labels"].tolist() == [["x ", " y z"], [], ["x"], ["5"]]
    assert manifest["columns"] == {"text": "text", "labels": "tags"}
    mixed = [{"text": "a", "label": ["x", 2, 3.0]}, {"text": "b", "label": "y|x"}, {"text": "c", "label": 4}]
    frame, _ = load("multi_label", path=put("x.json", json.dumps(mixed)))
    assert frame["labels"].tolist() == [["x", "2", "3"], ["y", "x"], ["4"]]


@pytest.mark.parametrize("wrong", ['{"a": 1}', '["a", null]', '[["a"]]', '"[a, b]"'])
def test_labels_that_are_no_list_of_names(wrong: str) -> None:
    message = refusal("multi_label", path=put("x.jsonl", f'{{"text": "a", "labels": {wrong}}}\n'))
    assert message.startswith("x.jsonl:1: labels should be a list of labels, or labels separated by bars (a | b), not ")
    assert "fix the row or name another column in data.columns" in message


def test_one_label_in_all_rows_is_none_to_learn() -> None:
    message = refusal("multi_label", path=put("x.csv", "text,labels\na,x\nb,\nc,x\n"))
    assert "there is only one class, 'x', in 3 rows, but a classifier needs two" in message


def test_half_a_character_in_a_label_is_refused() -> None:
    rows = '{"text": "a", "labels": ["x", "\\ud83d"]}\n{"text": "b", "labels": ["x", "y"]}\n'
    frame, manifest = load("multi_label", path=put("x.jsonl", rows))
    assert frame["row"].tolist() == ["x.jsonl:2"]
    assert manifest["refused"] == {"half_character": 1}


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet", "x.csv"])
def test_gold_is_taken_over(name: str) -> None:
    rows = [{"text": "a b", "label": "1", "rationale": [1]}, {"text": "c", "label": "0", "rationale": None}]
    content: dict[str, str | bytes] = {
        "x.jsonl": "\n".join(map(json.dumps, rows)),
        "x.parquet": pd.DataFrame(rows).to_parquet(),
        "x.csv": "text,label,rationale\na b,1,[1]\nc,0,\n",
    }
    frame, _ = load(path=put(name, content[name]))
    assert frame["rationale"].tolist() == [[1], None]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([0, 1, 1], [1, 2]),
        ([False, True, False], [1]),
        ([0, 0, 0], []),
        ([2, 0], [2, 0]),
        ([1, 0], [1, 0]),
        ("[0, 1, 0]", [1]),
        ([0, -1, 1], [1, 2]),
        (None, None),
    ],
)
def test_a_0_or_1_for_each_word_says_which_words_are_gold(given: object, words: list[int] | None) -> None:
    rows = [{"text": "a b c", "label": "1", "rationale": given}, {"text": "c", "label": "0", "rationale": [0]}]
    frame, _ = load(path=put("x.jsonl", "\n".join(map(json.dumps, rows))))
    assert frame["rationale"].tolist() == [words, [0]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", "source,target,alignment,possible\na b,c d e,0-0 1-2,1-1\nf,g,,\n"),
        (
            "x.jsonl",
            '{"source": "a b", "target": "c d e", "sure": [[0, 0], [1, 2]], "possible": [[1, 1]]}\n'
            '{"source": "f", "target": "g", "sure": null}\n',
        ),
    ],
)
def test_sure_and_possible_links(name: str, content: str) -> None:
    frame, _ = load("translation", path=put(name, content))
    assert frame["alignment"].tolist() == [[[0, 0], [1, 2]], None]
    assert frame["possible"].tolist() == [[[1, 1]], None]
    records.write(frame, Path("x.parquet"))
    assert records.read(Path("x.parquet"))["possible"].tolist() == [[[1, 1]], None]


def test_possible_links_are_a_column_only_where_there_are_some_and_name_words() -> None:
    frame, _ = load("translation", path=put("x.csv", "source,target,alignment\na b,c,0-0 1-0\nd,e,0-0\n"))
    assert "possible" not in frame
    both = [put("y.csv", "source,target,alignment,possible\na b,c,0-0,1-0\n"), put("z.csv", "source,target\nd,e\n")]
    frame, _ = load("translation", train=both[0], test=both[1])
    assert frame["possible"].tolist() == [[[1, 0]], None]
    wrong = put("w.csv", "source,target,alignment,possible\na b,c,0-0,2-0\n")
    assert "w.csv:2: possible names word 2 of source" in refusal("translation", path=wrong)
    assert "links like 0-0 1-2" in refusal("translation", path=put("v.csv", "source,target,alignment\na b,c,0:0\n"))


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_parallel_text_divides_at_newlines_only(packed: str) -> None:
    names = [put(f"x.en{packed}", "one\u2028two\r\n\nthree\u0085\n"), put(f"x.de{packed}", "eins\nzwei\ndrei")]
    frame, manifest = load("translation", path=names)
    assert frame["source"].tolist() == ["one\u2028two", "", "three\u0085"]
    assert frame["target"].tolist() == ["eins", "zwei", "drei"]
    assert frame["row"].tolist() == [f"x.en{packed}:{i}" for i in (1, 2, 3)]
    assert [f["path"] for f in manifest["files"]] == names
    assert [f["rows"] for f in manifest["files"]] == [3, 3]


@pytest.mark.parametrize("unit", ["line", "paragraph", "file"])
def test_plain_text_whose_lines_end_in_cr_alone(unit: str) -> None:
    message = refusal("generation", path=put("x.txt", "one\rtwo\r"), unit=unit)
    assert message.startswith("x.txt: its lines end in CR alone, so it would be one line; convert its line endings")
    assert message.endswith(r"`tr '\r' '\n' < x.txt > converted.txt`")


def test_half_a_character_in_a_further_answer_is_refused() -> None:
    rows = [{"source": "a", "target": "b", "references": ["c", "\ud83d"]}, {"source": "a", "target": "b"}]
    frame, manifest = load("translation", path=put("x.jsonl", "\n".join(map(json.dumps, rows))))
    assert frame["row"].tolist() == ["x.jsonl:2"]
    assert manifest["refused"] == {"half_character": 1}


def test_half_characters_are_refused_and_counted() -> None:
    path = put("x.jsonl", '{"text": "a \\ud83d", "label": 1}\n{"text": "b", "label": 1}\n{"text": "c", "label": 0}\n')
    frame, manifest = load(path=path)
    assert frame["row"].tolist() == ["x.jsonl:2", "x.jsonl:3"]
    assert manifest["refused"] == {"half_character": 1}
    assert manifest["rows"] == 2


def test_untracked_files_are_found_in_the_main_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("main/data.csv", as_csv(ROWS))
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "temporary")
    assert "no such file" in refusal(path="data.csv")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))
    frame, manifest = load(path="data.csv")
    assert frame["row"][0] == manifest["files"][0]["path"] + ":2" == "data.csv:2"
    put("data.csv", as_csv(ROWS[:2]))
    assert len(load(path="data.csv")[0]) == 2, "the working directory goes first"


def test_no_folder_of_this_machine_in_what_is_written(tmp_path: Path) -> None:
    frame, manifest = load(path=str(tmp_path / put("deep/x.csv", as_csv(ROWS))))
    assert str(tmp_path) not in frame.to_json() + json.dumps(manifest)


# ------------------------------------------------------------------------------------------------ mistakes

OBJECT = '{"text": "a", "label": 1}'
MISTAKES: list[tuple[str, str | bytes, list[str]]] = [
    (
        "a.csv",
        "opinion,stars\na,1\n",
        ["a.csv: there is no column 'text' among opinion, stars", "data.columns: {text: "],
    ),
    ("a2.json", "[{}]", ["a2.json: there is no column 'text' among none at all"]),
    ("b.csv", "", ["b.csv is empty", "name a file with rows"]),
    ("b2.csv.gz", b"\xef\xbb\xbf \n", ["b2.csv.gz is empty"]),
    ("c.csv", "text,label\n", ["c.csv holds no rows (a header at most)"]),
    ("c2.json", "[]", ["c2.json holds no rows"]),
    ("d.csv", "text,label\nok,1\nä,0\n".encode("latin-1"), ["d.csv:3:", "0xe4 is not UTF-8", "`iconv -f WINDOWS-1252"]),
    ("e.jsonl", (OBJECT + "\n").encode("utf-16"), ["e.jsonl:1:", "0xff", "iconv -f UTF-16 -t UTF-8 e.jsonl"]),
    ("e2.jsonl", OBJECT.encode("utf-16-le"), ["e2.jsonl:1: the byte 0x00", "iconv -f UTF-16LE -t UTF-8 e2.jsonl"]),
    ("e3.csv", "a\nä\n".encode("utf-16-be"), ["e3.csv:1: the byte 0x00", "iconv -f UTF-16BE"]),
    ("e4.csv", "text,label\nok,1\n".encode("utf-32"), ["e4.csv:1: the byte 0xff", "iconv -f UTF-32 -t UTF-8"]),
    ("e5.csv", "text,label\nok,1\n".encode("utf-32-be"), ["e5.csv:1: the byte 0x00", "iconv -f UTF-32BE -t UTF-8"]),
    ("f.jsonl", OBJECT + '\n{"text": "b",\n', ["f.jsonl:2: broken JSON at character", "fix the line"]),
    ("f2.jsonl", f"[\n  {OBJECT}\n]\n", ["f2.jsonl:1: broken JSON", "name it .json"]),
    ("g.json", f"[{OBJECT},\n{{]", ["g.json:2: broken JSON"]),
    ("h.json", f"{OBJECT}\n{OBJECT}\n", ["h.json:2: broken JSON", "name the file .jsonl"]),
    ("i.json", '"text"', ["i.json is neither a JSON array of objects nor an object with one array"]),
    ("j.json", '{"a": [], "b": []}', ["j.json is neither"]),
    ("k.json", f"[{OBJECT}, 5]", ["k.json:2: an object like", "not 5"]),
    ("l.jsonl", f"{OBJECT}\n\n[1]\n", ["l.jsonl:3: an object like", "not [1]"]),
    ("m.csv", "text,label\nok,1\nwell, well,0\n", ["m.csv:3: the row has 3 fields, the header 2", "quote fields"]),
    ("n.csv", 'text,label\n"a\nb",1\nfew\n', ["n.csv:4: the row has 1 fields, the header 2 (text, label)"]),
    (
        "o.csv",
        'text,label\na,1\n"never closed,0\n',
        ["o.csv:3: the row that starts here is not valid CSV", "double the"],
    ),
    ("p.csv", "text,label,text\na,1,b\n", ["p.csv:1: the header has the column 'text' twice", "rename one"]),
    ("q.tsv", "text\tlabel\na\t1\nb\n", ["q.tsv:3: the row has 1 fields"]),
    (
        "r.xlsx",
        "x",
        ["r.xlsx: the extension .xlsx is unknown; use .csv, .tsv, .json, .jsonl, .ndjson, .parquet, each also"],
    ),
    ("s", "x", ["s: the extension (none) is unknown"]),
    ("u.parquet", "no parquet", ["u.parquet is not a readable Parquet file", "write or fetch it again"]),
    ("v.csv", "text,label\na,1\nb,1\n", ["v.csv: there is only one class, '1', in 2 rows", "data.columns.label"]),
    ("w.csv", "text,label\na,\nb,\n", ["w.csv: there is no label in 2 rows"]),
    ("x.json", '[{"text": ["a"], "label": 1}]', ['x.json:1: text should be a text or a number, not ["a"]', "columns"]),
    ("y.jsonl", '{"text": "a b", "label": 1, "rationale": [2]}', ["y.jsonl:1: rationale names word 2", "0 to 1"]),
    ("z.jsonl", '{"text": "a", "label": 1, "rationale": [0.5]}', ["z.jsonl:1: rationale should be a list of word"]),
    (
        "z3.csv",
        "text,label\ra,1\rb,0\r",
        ["z3.csv: its lines end in CR alone", "convert its line endings, perhaps with `tr"],
    ),
    ("z4.tsv", "text\tlabel\ra\t1\r", ["z4.tsv: its lines end in CR alone"]),
    ("z5.jsonl", OBJECT + "\r" + OBJECT, ["z5.jsonl: its lines end in CR alone"]),
    ("z2.csv", "text,label,rationale\na,1,why\n", ["z2.csv:2: rationale should be a list of word numbers"]),
]


@pytest.mark.parametrize(("name", "content", "parts"), MISTAKES, ids=[name for name, *_ in MISTAKES])
def test_mistakes_are_told_in_one_sentence(name: str, content: str | bytes, parts: list[str]) -> None:
    message = refusal(path=put(name, content))
    assert [part for part in parts if part not in message] == [], message


def test_damaged_gzip() -> None:
    put("x.csv.gz", as_csv(ROWS * 100))
    whole = Path("x.csv.gz").read_bytes()
    for broken in (whole[:-20], b"text,label\n", whole[:15] + b"\xff\xff\xff" + whole[18:]):
        Path("x.csv.gz").write_bytes(broken)
        message = refusal(path="x.csv.gz")
        assert message.startswith("x.csv.gz is not a complete gzip file")
        assert message.endswith("fetch it again")


def test_an_empty_name_among_files() -> None:
    message = "data.path has an empty name among its files; fill it in or remove it"
    assert refusal("translation", path=["x.en", ""]) == message


@pytest.mark.parametrize("answers", [[{"text": ["a"]}, {"text": ["b"]}], [[1], [2]]])
def test_answers_that_are_no_texts_name_their_row(answers: Any) -> None:
    rows = [{"context": "a b", "question": "q", "answers": answers}]
    message = refusal("question_answering", path=put("x.json", json.dumps(rows)))
    assert message.startswith("x.json:1: answer should be a text or a number, not [")


def test_missing_file_and_directory() -> None:
    assert refusal(path="no.csv").startswith("no.csv: there is no such file; correct its name in params.yaml")
    Path("folder.csv").mkdir()
    assert refusal(path="folder.csv").startswith("folder.csv is a directory; name a file in it")


def test_unreadable_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    put("x.csv", as_csv(ROWS))
    monkeypatch.setattr(Path, "read_bytes", denied)
    assert refusal(path="x.csv") == "x.csv cannot be read (Permission denied); check its permissions"


@pytest.mark.parametrize("name", ["x.txt", "x.MD", "x", "x.en", "x.pt-BR", "x.txt.gz", "x.en.GZ"])
def test_names_of_plain_text(name: str) -> None:
    assert load("generation", path=put(name, "a\nb\n"))[0]["text"].tolist() == ["a", "b"]


@pytest.mark.parametrize("unit", ["line", "file"])
@pytest.mark.parametrize("name", ["x.jsonl.bak", "x.xml", "x.html.gz", "x.yaml"])
def test_a_name_that_is_not_of_plain_text_is_not_read_as_such(name: str, unit: str) -> None:
    message = refusal("generation", path=put(name, '{"text": "a"}\n'), unit=unit)
    assert f"{name}: the extension {Path(name.removesuffix('.gz')).suffix} is unknown; use .csv, " in message
    assert message.endswith("or .txt for plain text")


def test_extensions_may_be_the_sides_of_parallel_text() -> None:
    assert len(load("translation", path=[put("x.src", "a\n"), put("x.tgt", "b\n")])[0]) == 1
    message = refusal("translation", path=[put("en.bak", "a\n"), put("de.bak", "b\n")])
    assert message.startswith("en.bak: the extension .bak is unknown; use ")
    assert "or parallel text, a list of one file for each of source, target" in message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv.bz2", bz2.compress(b"text,label\n")),
        ("x.csv", lzma.compress(b"text,label\n")),
        ("x.csv", gzip.compress(b"text,label\n", mtime=0)),
        ("x.txt", b"PK\x03\x04 and so on"),
        ("x.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and so on"),
        ("x.csv.gz", gzip.compress(b"text,label\n", mtime=0)),  # packed twice
        ("x.zip", b"text,label\n"),
        ("x.tar.gz", b"text,label\n"),
    ],
    ids=[
        "bzip2",
        "xz without its name",
        "gzip without its name",
        "zip without its name",
        "old Excel without its name",
        "gzip in gzip",
        "zip",
        "tar",
    ],
)
@pytest.mark.parametrize("task", ["sentiment", "generation"])
def test_archives_are_to_be_unpacked(task: str, name: str, content: bytes) -> None:
    assert refusal(task, path=put(name, content)).startswith(f"{name} is an archive or an Excel file; unpack it")


def test_parallel_text_mistakes() -> None:
    en, de, short = put("x.en", "a\nb\n"), put("x.de", "c\nd\n"), put("y.de", "c\n")
    assert "but x.en has 2, y.de has 1; fix" in refusal("translation", path=[en, short])
    assert "one file for each of source, target" in refusal("translation", path=[en, de, short])
    assert "name one file" in refusal("sentiment", path=[en, de])
    assert "name one file" in refusal("translation", path=[put("a.csv", "x"), put("b.csv", "x")])
    assert "or parallel text, a list of one file for each of source, target" in refusal("translation", path=en)


def test_alignment_must_be_pairs_within_the_words() -> None:
    def told(alignment: Any) -> str:
        row = {"source": "a b c", "target": "d e", "alignment": alignment}
        return refusal("translation", path=put("x.jsonl", json.dumps(row)))

    for wrong in ([0, 1], [[0]], [[0, -1]], [[0, "1"]], {}, [[True, 0]]):
        assert told(wrong).startswith("x.jsonl:1: alignment should be a list of [source word, target word] pairs")
    assert told([[0, 0], [3, 1]]).startswith("x.jsonl:1: alignment names word 3 of source")
    assert told([[0, 2]]).startswith("x.jsonl:1: alignment names word 2 of target")


def test_unknown_names_in_columns() -> None:
    message = refusal(path="x.csv", columns={"txt": "review"})
    assert message == "data.columns names txt, which sentiment does not have; it can name split, text, label, rationale"
    path = put("x.csv", as_csv(ROWS))
    assert "x.csv: there is no column 'why' among" in refusal(path=path, columns={"rationale": "why"})


# ------------------------------------------------------------------------------------------------ Hub

HUB = """
import json, sys
from pathlib import Path
from attention_lab import params, records, sources
from attention_lab.errors import InputError

data = params.load(Path(sys.argv[1])).data
for task, name, columns in json.loads(sys.argv[2]):
    given = data.model_copy(update={"source": "hub", "name": name, "columns": columns})
    try:
        frame, manifest = sources.load(given, records.SHAPES[task], 7, task)
        print(json.dumps({"rows": frame.values.tolist(), "manifest": manifest}))
    except InputError as error:
        print(json.dumps({"error": str(error)}))
"""


def hub(*asked: tuple[str, str, dict[str, str]]) -> list[dict[str, Any]]:
    """Ask in a process of its own: the library reads HF_HOME and HF_HUB_OFFLINE once, when it is imported."""
    env = os.environ | {"HF_HOME": str(Path("hf").absolute()), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    command = [sys.executable, "-c", HUB, str(ROOT / "params.yaml"), json.dumps(asked)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def classes(texts: list[str], labels: list[Any], column: str = "label") -> bytes:
    import io

    import datasets

    names: Any = datasets.ClassLabel(names=["neg", "pos"])
    features = datasets.Features(
        {"text": datasets.Value("string"), column: names if column == "label" else datasets.List(names)}
    )
    stream = io.BytesIO()
    datasets.Dataset.from_dict({"text": texts, column: labels}, features=features).to_parquet(stream)
    return stream.getvalue()


def test_hub_offline() -> None:
    put("films/train.parquet", classes(["a", "b"], [1, 0]))
    put("films/validation.parquet", classes(["c"], [0]))
    put("films/test.parquet", classes(["d"], [-1]))
    pair = json.dumps({"translation": {"en": "one", "de": "eins"}})
    put("pairs/train.jsonl", pair + "\n" + pair + "\n")
    put("mixed/README.md", "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: train, path: a.csv}\n"
        "  - {split: unsupervised, path: b.csv}\n---\n")  # fmt: skip
    put("mixed/a.csv", as_csv(ROWS))
    put("mixed/b.csv", as_csv(ROWS[:1]))
    nested = {"source": "translation.en", "target": "translation.de"}
    put("tags/train.parquet", classes(["e", "f"], [[1, 0], []], "labels"))
    films, pairs, column, mixed, absolute, unknown, tags = hub(
        ("sentiment", "films", {}),
        ("translation", "pairs", nested),
        ("translation", "films", {}),
        ("sentiment", "mixed", {}),
        ("sentiment", str(Path("films").absolute()), {}),
        ("sentiment", "nobody/nothing-at-all", {}),
        ("multi_label", "tags", {}),
    )
    assert tags["rows"] == [["train:1", "train", "e", ["pos", "neg"], None], ["train:2", "train", "f", [], None]]
    assert films["rows"] == [
        ["train:1", "train", "a", "pos", None],
        ["train:2", "train", "b", "neg", None],
        ["validation:1", "valid", "c", "neg", None],
        ["test:1", "test", "d", None, None],
    ]
    assert [(f["path"], f["split"], f["rows"]) for f in films["manifest"]["files"]] == [
        ("train", "train", 2),
        ("validation", "valid", 1),
        ("test", "test", 1),
    ]
    assert absolute == films
    assert pairs["rows"] == [[f"train:{n}", "train", "one", "eins", None, None] for n in (1, 2)]
    assert pairs["manifest"]["columns"] == nested
    assert column["error"].startswith("films, split train: there is no column 'source' among text, label; name yours")
    assert mixed["manifest"]["refused"] == {"split_unsupervised": 1}
    assert len(mixed["rows"]) == 3
    assert unknown["error"].startswith("nobody/nothing-at-all cannot be fetched without a network; connect, or name")


# ------------------------------------------------------------------------------------------------ real data


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
def test_real_translation() -> None:
    folder = SHARED / "translation" / "multi30k_en_de"
    names = {"train": "train.jsonl.gz", "valid": "val.jsonl", "test": "test_2016_flickr.jsonl"}
    frame, manifest = load("translation", **{split: str(folder / name) for split, name in names.items()})
    assert frame["split"].value_counts().to_dict() == {"train": 29_000, "valid": 1_014, "test": 1_000}
    assert [file["rows"] for file in manifest["files"]] == [29_000, 1_014, 1_000]
    assert frame["row"].is_unique


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
def test_real_sentiment() -> None:
    folder = SHARED / "sentiment" / "sst2"
    names = {"train": "train.csv.gz", "valid": "dev.csv", "test": "test.csv"}
    frame, _ = load(**{split: str(folder / name) for split, name in names.items()})
    assert frame["split"].value_counts().to_dict() == {"train": 6_920, "test": 1_821, "valid": 872}
    assert set(frame["label"]) == {"0", "1"}


def test_plain_text_by_line_paragraph_and_file() -> None:
    name = put("book.txt", "One\ntwo.\r\n\n \nThree.\n\nFour\n")
    lines, _ = load("generation", path=name)
    assert lines["text"].tolist() == ["One", "two.", "", " ", "Three.", "", "Four"]
    paragraphs, _ = load("generation", path=name, unit="paragraph")
    assert paragraphs["text"].tolist() == ["One\ntwo.", "Three.", "Four"]
    assert paragraphs["row"].tolist() == ["book.txt:1", "book.txt:5", "book.txt:7"]
    whole, _ = load("generation", path=name, unit="file")
    assert whole["text"].tolist() == ["One\ntwo.\n\n \nThree.\n\nFour\n"]


def test_columns_of_well_known_data_sets_need_no_names() -> None:
    name = put("news.jsonl", json.dumps({"article": "Long.", "highlights": "Short.", "id": "7"}))
    frame, manifest = load("summarization", path=name)
    assert frame.iloc[0][["document", "summary"]].tolist() == ["Long.", "Short."]
    assert manifest["columns"] == {"document": "article", "summary": "highlights"}
    both = put("both.jsonl", json.dumps({"article": "No.", "document": "Yes.", "summary": "Short."}))
    assert load("summarization", path=both)[0]["document"][0] == "Yes."
    assert load("summarization", path=both, columns={"document": "article"})[0]["document"][0] == "No."


def test_questions_from_csv_json_and_squad() -> None:
    squad = {
        "paragraphs": [{"context": "a b", "qas": [{"question": "q", "answers": [{"text": "b", "answer_start": 2}]}]}]
    }
    frame, _ = load("question_answering", path=put("x.json", json.dumps({"version": "2", "data": [squad]})))
    expected = ["x.json:1", None, "a b", "q", "b", 2, [], None]
    assert frame.iloc[0].tolist() == expected
    table = put("x.csv", 'context,question,answer,start,references\na b,q,b,2,"[""a b""]"\na b,r,,,\n')
    frame, _ = load("question_answering", path=table)
    assert frame["start"].tolist() == [2, -1]
    assert frame["references"].tolist() == [["a b"], None]
    bad = put("y.csv", "context,question,answer,start\na b,q,b,two\n")
    assert "y.csv:2: start should be a number of characters" in refusal("question_answering", path=bad)

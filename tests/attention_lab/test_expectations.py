from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attention_lab import encoding, expectations, facts, validation, vocabulary
from attention_lab.errors import InputError
from attention_lab.params import Clean, Encode, Split, Vocab
from attention_lab.records import SHAPES
from attention_lab.validation import Report, Result, publish, together

PAGE = Path("metrics/validation/index.html")
PAIRS = SHAPES["translation"]
CLASSES = SHAPES["sentiment"]
SEVERAL = SHAPES["multi_label"]
CLEAN = Clean(
    unicode="NFC", lowercase=False, remove_punctuation=False, collapse_whitespace=True, min_characters=2,
    max_characters=40, duplicates=True, near_duplicates=None, conflicting_labels=True, overlap="error",
)  # fmt: skip
SPLIT = Split(strategy="hash", valid=0.2, test=0.2)
VOCAB = Vocab(tokenizer="word", shared=True, size=300, min_frequency=1, max_unknown_share=0.1)
ENCODE = Encode(max_source_tokens=8, max_target_tokens=8, overflow="truncate", overlap=2, max_overflow_share=0.1)
SHARES = {"train": 12, "valid": 4, "test": 4}  # rows


def objects(values: list[Any]) -> pd.Series:
    return pd.Series(values, dtype=object)


def pairs() -> pd.DataFrame:
    rows = range(20)
    return pd.DataFrame(
        {
            "row": objects([f"x.csv:{i + 2}" for i in rows]),
            "split": objects([None for _ in rows]),
            "source": objects([f"tree {'abcdefghijklmnopqrstuvwxyz'[i]} stands." for i in rows]),
            "target": objects([f"Baum {'abcdefghijklmnopqrstuvwxyz'[i]} steht." for i in rows]),
            "references": objects([None for _ in rows]),
            "alignment": objects([[[0, 0], [1, 1], [2, 2]] if i % 2 else None for i in rows]),
        }
    )


def classes() -> pd.DataFrame:
    frame = pairs().rename(columns={"source": "text", "alignment": "rationale"}).drop(columns=["target", "references"])
    frame["label"] = objects(["neg" if i % 2 else "pos" for i in range(20)])
    frame["rationale"] = objects([[1] if i % 2 else None for i in range(20)])
    return frame[["row", "split", "text", "label", "rationale"]]


def several() -> pd.DataFrame:
    frame = classes().drop(columns="label")
    frame["labels"] = objects([[["x"], ["x", "y"], []][i % 3] for i in range(20)])
    return frame[["row", "split", "text", "labels", "rationale"]]


def changed(frame: pd.DataFrame, at: int, **values: Any) -> pd.DataFrame:
    frame = frame.copy()
    for column, value in values.items():
        frame.at[at, column] = value
    return frame


def divided(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    ends = np.cumsum([0, *SHARES.values()])
    return {name: frame[a:b].reset_index(drop=True) for name, a, b in zip(SHARES, ends[:-1], ends[1:], strict=True)}


@pytest.fixture(scope="module")
def tokenizer():
    frame = pairs()
    return vocabulary.train([*frame["source"], *frame["target"]], VOCAB, None)


def coded(tokenizer, shape=PAIRS, params: Encode = ENCODE):
    parts = divided(pairs() if shape is PAIRS else classes())
    both = {name: encoding.encode(part, shape, tokenizer, ["neg", "pos"], params) for name, part in parts.items()}
    return {n: e for n, (e, _) in both.items()}, {n: o for n, (_, o) in both.items()}, parts


def failed(report: Report) -> list[Result]:
    assert report.success == (not [r for r in report.results if not r.success])
    return [result for result in report.results if not result.success]


def assert_only(report: Report, meaning: str, unexpected: int, row: str | None) -> None:
    """Exactly the expectation with this meaning failed, with so many exceptions, the first of them this row."""
    results = failed(report)
    assert [result.meaning for result in results if re.search(meaning, result.meaning)], results
    assert len(results) == 1, results
    assert results[0].unexpected == unexpected
    if row is not None:
        assert results[0].examples[0]["row"] == row, results
    with pytest.raises(InputError, match=rf"^the data gate of `{report.stage}` failed: it expects that "):
        validation.enforce(report, PAGE)


# ---------------------------------------------------------------------------------------------- all is well


def linked() -> pd.DataFrame:
    """Pairs whose gold has possible links beside the sure ones."""
    return pairs().assign(possible=objects([[[0, 1]] if i % 3 == 1 else None for i in range(20)]))


def test_good_data_pass_every_gate(tokenizer) -> None:
    for shape, frame in ((PAIRS, pairs()), (PAIRS, linked()), (CLASSES, classes())):
        labels = ["neg", "pos"] if shape is CLASSES else []
        parts = divided(frame)
        rejected = frame[18:].assign(reason="too_long")
        encoded, overflowed, _ = coded(tokenizer, shape)
        texts = {name: [text for column in shape.texts for text in part[column]] for name, part in parts.items()}
        known = tokenizer if shape is PAIRS else vocabulary.train(frame["text"], VOCAB, None)
        if shape is CLASSES:
            encoded = {n: encoding.encode(p, shape, known, labels, ENCODE)[0] for n, p in parts.items()}
        everything = [text for part in texts.values() for text in part]
        for report in (
            expectations.check_ingest(frame, shape),
            expectations.check_clean(frame, frame[:18], rejected, shape, CLEAN),
            expectations.check_clean(frame, frame, frame[:0].assign(reason=None), shape, CLEAN),
            expectations.check_vocab(known, everything, texts["valid"], labels, VOCAB),
            expectations.check_split(frame, parts, shape, SPLIT),
            expectations.check_encode(encoded, overflowed, parts, known, labels, shape, ENCODE),
        ):
            assert not failed(report), (report.stage, failed(report))
            assert report.success
            assert report.rows in (20, len(everything) + len(texts["valid"]))
            validation.enforce(report, PAGE)


def gates_of_several(frame: pd.DataFrame, names: list[str]) -> dict[str, Report]:
    """What each gate says of rows with several labels."""
    parts = divided(frame)
    known = vocabulary.train(frame["text"], VOCAB, None)
    encoded = {n: encoding.encode(part, SEVERAL, known, names, ENCODE)[0] for n, part in parts.items()}
    return {
        "ingest": expectations.check_ingest(frame, SEVERAL),
        "clean": expectations.check_clean(frame, frame, frame[:0].assign(reason=None), SEVERAL, CLEAN),
        "split": expectations.check_split(frame, parts, SEVERAL, SPLIT),
        "encode": expectations.check_encode(encoded, {}, parts, known, names, SEVERAL, ENCODE),
    }


def test_several_labels_pass_every_gate() -> None:
    for report in gates_of_several(several(), ["y", "x"]).values():
        assert not failed(report), (report.stage, failed(report))


def test_every_gate_sees_wrong_sets_of_labels() -> None:
    only_valid = changed(several(), 13, labels=["x", "mixed"])
    report = gates_of_several(only_valid, ["mixed", "x", "y"])["split"]
    assert_only(report, "every label occurs in train", 1, "x.csv:15")
    text = changed(several(), 4, labels="x")
    assert_only(expectations.check_ingest(text, SEVERAL), "labels is a column of lists", 1, "x.csv:6")
    none = several()[:0].assign(reason=None)
    kept = changed(several(), 4, labels=["x", "strange"])
    assert_only(expectations.check_clean(several(), kept, none, SEVERAL, CLEAN), "one of the raw data's", 1, "x.csv:6")
    kept = changed(several(), 4, labels=None)
    assert_only(expectations.check_clean(kept, kept, none, SEVERAL, CLEAN), "every row has its labels", 1, "x.csv:6")
    parts, known = divided(several()), vocabulary.train(several()["text"], VOCAB, None)
    encoded = {n: encoding.encode(part, SEVERAL, known, ["x", "y"], ENCODE)[0] for n, part in parts.items()}
    for numbers in ([], [0], [1], [0, 2], [-1, 0]):
        bad = encoded | {"train": changed(encoded["train"], 4, labels=np.array(numbers, dtype=np.int32))}
        report = expectations.check_encode(bad, {}, parts, known, ["x", "y"], SEVERAL, ENCODE)
        assert_only(report, "the number of every label", 1, "x.csv:6")


def test_dropped_rows_within_the_bound_pass(tokenizer) -> None:
    params = Encode(max_source_tokens=8, max_target_tokens=8, overflow="drop", overlap=2, max_overflow_share=0.1)
    parts = divided(changed(pairs(), 0, source="a b c d e f g h"))
    both = {name: encoding.encode(part, PAIRS, tokenizer, [], params) for name, part in parts.items()}
    report = expectations.check_encode(
        {n: e for n, (e, _) in both.items()}, {n: o for n, (_, o) in both.items()}, parts, tokenizer, [], PAIRS, params
    )
    assert not failed(report)


# ------------------------------------------------------------------------------------------- a fault for each


def test_ingest_sees_a_missing_column() -> None:
    results = failed(expectations.check_ingest(pairs().drop(columns=["target", "references"]), PAIRS))
    assert "the columns are row, split, source, target, references, alignment" in {result.meaning for result in results}
    assert {"row": "the table", "value": "has no column target"} in [e for r in results for e in r.examples]


def test_ingest_sees_a_column_that_is_nobodys() -> None:
    for frame, shape in ((pairs().assign(links=None), PAIRS), (classes().assign(possible=None), CLASSES)):
        (result,) = failed(expectations.check_ingest(frame, shape))
        assert result.meaning.startswith("the columns are row, split, ")


def test_ingest_sees_an_empty_table() -> None:
    results = failed(expectations.check_ingest(pairs()[:0], PAIRS))
    assert [result.meaning for result in results] == ["there is at least one row"]
    with pytest.raises(
        InputError, match="it expects that there is at least one row, but that is not the case: found '0'"
    ):
        validation.enforce(expectations.check_ingest(pairs()[:0], PAIRS), PAGE)


@pytest.mark.parametrize(
    ("fault", "meaning", "unexpected", "row"),
    [
        ({"row": "x.csv:9"}, "same name", 2, "x.csv:9"),
        ({"split": "dev"}, "a split, where", 1, "x.csv:5"),
        ({"source": None}, "every row has a source", 1, "x.csv:5"),
        ({"source": 7}, "source is a column of text", 1, "x.csv:5"),
        ({"target": "K\ufffdse"}, "wrong encoding", 1, "x.csv:5"),
    ],
)
def test_ingest_sees_a_bad_value(fault: dict[str, Any], meaning: str, unexpected: int, row: str) -> None:
    assert_only(expectations.check_ingest(changed(pairs(), 3, **fault), PAIRS), meaning, unexpected, row)


@pytest.mark.parametrize(
    ("fault", "meaning", "unexpected"),
    [
        ({"target": "   "}, "no target is empty", 1),
        ({"source": "x" * 41, "alignment": None}, "every source has 2 to 40 characters", 1),
        ({"source": "tree a stands.", "target": "Baum a steht."}, "the same source and target", 2),
        ({"alignment": [[0, 0], [3, 1]]}, "alignment names words that source has", 1),
        ({"alignment": [[0, 0], [1, 9]]}, "alignment names words that target has", 1),
    ],
)
def test_clean_sees_a_bad_value(fault: dict[str, Any], meaning: str, unexpected: int) -> None:
    kept = changed(pairs(), 3, **fault)
    assert_only(
        expectations.check_clean(pairs(), kept, kept[:0].assign(reason=None), PAIRS, CLEAN),
        meaning, unexpected, "x.csv:2" if unexpected == 2 else "x.csv:5",
    )  # fmt: skip


def test_clean_sees_rows_that_got_lost_twice_or_from_nowhere() -> None:
    raw = pairs()
    none = raw[:0].assign(reason=None)
    lost = expectations.check_clean(raw, raw[1:], none, PAIRS, CLEAN)
    assert_only(lost, "either kept or rejected", 1, "x.csv:2")
    twice = expectations.check_clean(raw, raw, raw[4:5].assign(reason="too_long"), PAIRS, CLEAN)
    assert_only(twice, "either kept or rejected", 1, "x.csv:6")
    strange = expectations.check_clean(raw[1:], raw, none, PAIRS, CLEAN)
    assert_only(strange, "either kept or rejected", 1, "x.csv:2")


def test_clean_sees_a_rejected_row_without_a_reason() -> None:
    raw = pairs()
    report = expectations.check_clean(raw, raw[1:], raw[:1].assign(reason=None), PAIRS, CLEAN)
    assert_only(report, "every rejected row has a reason", 1, "x.csv:2")


def test_clean_sees_bad_labels() -> None:
    raw = classes()
    none = raw[:0].assign(reason=None)
    report = expectations.check_clean(raw, changed(raw, 3, label="mixed"), none, CLASSES, CLEAN)
    assert_only(report, "is one of the raw data's", 1, "x.csv:5")
    report = expectations.check_clean(raw, changed(raw, 3, label=None), none, CLASSES, CLEAN)
    assert_only(report, "every row has its label", 1, "x.csv:5")
    report = expectations.check_clean(raw, raw.assign(label=objects(["pos"] * 20)), none, CLASSES, CLEAN)
    assert_only(report, "at least two classes", 0, "found")
    report = expectations.check_clean(raw, changed(raw, 3, rationale=[3]), none, CLASSES, CLEAN)
    assert_only(report, "rationale names words that text has", 1, "x.csv:5")


def test_vocab_sees_entries_from_elsewhere_than_training(tokenizer) -> None:
    texts = [text for text in [*pairs()["source"], *pairs()["target"]] if "steht" not in text]
    report = expectations.check_vocab(tokenizer, texts, [], [], VOCAB)
    assert_only(report, "occurs in the training texts", 2, None)
    found = {example["row"].split(": ")[1] for result in failed(report) for example in result.examples}
    assert found == {"' Baum'", "' steht'"}


def test_vocab_sees_a_word_that_training_has_only_inside_others() -> None:
    learned = vocabulary.train(["a tree", "a tree"], VOCAB, None)
    report = expectations.check_vocab(learned, ["a treehouse"], [], [], VOCAB)
    assert_only(report, "occurs in the training texts", 1, None)
    assert [example["row"].split(": ")[1] for result in failed(report) for example in result.examples] == ["' tree'"]


@pytest.mark.parametrize("kind", list(vocabulary.KINDS))
def test_vocab_finds_every_kinds_entries_in_training(kind: str) -> None:
    params = VOCAB.model_copy(update={"tokenizer": kind, "size": 120})
    texts = [*pairs()["source"], *pairs()["target"]]
    learned = vocabulary.train(texts, params, None)
    assert not failed(expectations.check_vocab(learned, texts, texts, [], params))
    # Something from other texts is found out as well.
    foreign = vocabulary.train([*texts, "Ωψ"], params, None)
    assert [r.meaning for r in failed(expectations.check_vocab(foreign, texts, texts, [], params))] == [
        "every entry of the vocabulary occurs in the training texts"
    ]


def test_vocab_sees_too_many_unknown_tokens_and_names_them(tokenizer) -> None:
    texts = [*pairs()["source"], *pairs()["target"]]
    report = expectations.check_vocab(tokenizer, texts, ["tree house house garden"], [], VOCAB)
    assert_only(report, "at most 10 % of the tokens of valid are unknown", 1, "valid, mostly house garden,")
    with pytest.raises(InputError, match=r"0\.75.*vocab\.max_unknown_share; see metrics/validation/index\.html"):
        validation.enforce(report, PAGE)


def test_vocab_sees_a_size_that_is_exceeded_misplaced_special_tokens_and_bad_labels(tokenizer) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    texts = [*pairs()["source"], *pairs()["target"]]
    small = VOCAB.model_copy(update={"size": 12})
    assert_only(expectations.check_vocab(tokenizer, texts, [], [], small), "at most 12", 0, "found")
    assert_only(expectations.check_vocab(tokenizer, texts, [], ["a", "b", "a"], VOCAB), "listed twice", 2, "a")
    assert_only(expectations.check_vocab(tokenizer, texts, [], ["a"], VOCAB), "at least two labels", 0, "found")
    other = models.WordLevel({"<unk>": 0, " tree": 1, "<s>": 2}, unk_token="<unk>")
    foreign = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(other), unk_token="<unk>")
    assert_only(expectations.check_vocab(foreign, texts, [], [], VOCAB), "have the ids 0 to 4", 4, "<pad>")


def test_each_side_has_its_gates() -> None:
    """A fault of the target is told as one of the target, and passes nowhere for one of the source."""
    texts = {side: pairs()[side].tolist() for side in ("source", "target")}
    of = {side: vocabulary.train(texts[side], VOCAB, None) for side in texts}

    def asked(**valid: list[str]) -> Report:
        return together(
            [expectations.check_vocab(of[s], texts[s], valid.get(s, texts[s]), [], VOCAB, s) for s in texts],
            2 * len(pairs()),
        )

    assert not failed(asked())
    assert asked().rows == 2 * len(pairs())  # read for either side
    assert_only(asked(target=texts["source"]), "^for the target, at most 10 % of the tokens", 1, None)
    assert_only(asked(source=texts["target"]), "^for the source, at most 10 % of the tokens", 1, None)
    swapped = [expectations.check_vocab(of["target"], texts["source"], [], [], VOCAB, "target")]
    assert "for the target, every entry of the vocabulary" in failed(together(swapped, len(texts["source"])))[0].meaning

    parts = divided(pairs())
    coded = {n: encoding.encode(p, PAIRS, of["source"], [], ENCODE, of["target"])[0] for n, p in parts.items()}
    assert not failed(expectations.check_encode(coded, {}, parts, of["source"], [], PAIRS, ENCODE, of["target"]))
    for one, other, column in (("source", "source", "target"), ("target", "target", "source")):
        report = expectations.check_encode(coded, {}, parts, of[one], [], PAIRS, ENCODE, of[other])
        found = [
            result for result in failed(report) if f"the ids of {column} decode back to {column}" in result.meaning
        ]
        assert found[0].unexpected > 0


def test_split_sees_lost_rows_and_empty_splits() -> None:
    frame = pairs()
    parts = divided(frame)
    lost = parts | {"valid": parts["valid"][1:]}
    assert_only(expectations.check_split(frame, lost, PAIRS, SPLIT), "in exactly one split", 1, "x.csv:14")
    none = {"train": frame, "valid": frame[:0], "test": frame[:0]}
    results = failed(expectations.check_split(frame, none, PAIRS, SPLIT))
    assert results[0].meaning == "no split is empty"
    assert [example["row"] for example in results[0].examples] == ["valid", "test"]


def test_split_sees_a_text_in_two_splits() -> None:
    frame = changed(pairs(), 13, source="tree b stands.")
    assert_only(expectations.check_split(frame, divided(frame), PAIRS, SPLIT), "no source is in two", 2, "x.csv:3")


def test_split_sees_a_given_row_that_was_moved() -> None:
    frame = pairs().assign(split=objects(["train"] * 12 + ["valid"] * 3 + ["test"] * 5))
    assert_only(expectations.check_split(frame, divided(frame), PAIRS, SPLIT), "stays there", 1, "x.csv:17")


def test_split_sees_labels_that_training_lacks() -> None:
    frame = changed(classes(), 19, label="mixed")
    report = expectations.check_split(frame, divided(frame), CLASSES, SPLIT)
    assert_only(report, "occurs in train", 1, "x.csv:21")
    assert failed(report)[0].remedy == "add training rows with it or use split.strategy=stratified"
    given = frame.assign(split=[name for name, rows in divided(frame).items() for _ in range(len(rows))])
    (unknown,) = failed(expectations.check_split(given, divided(given), CLASSES, SPLIT))
    assert unknown.remedy == "add training rows with it"  # no strategy moves a row out of a split that is given


def test_split_sees_shares_that_chance_does_not_explain() -> None:
    many = pd.concat([classes()] * 40, ignore_index=True)
    many["row"] = objects([f"x.csv:{i}" for i in range(len(many))])
    many["text"] = objects([f"text {i}" for i in range(len(many))])
    rng = np.random.default_rng(3).permutation(len(many))
    fair = {"train": many.iloc[rng[:480]], "valid": many.iloc[rng[480:640]], "test": many.iloc[rng[640:]]}
    assert not failed(expectations.check_split(many, fair, CLASSES, SPLIT))
    by_label = many.sort_values("label", kind="stable")
    skewed = {"train": by_label[:480], "valid": by_label[480:640], "test": by_label[640:]}
    results = failed(expectations.check_split(many, skewed, CLASSES, SPLIT))
    assert [result.unit for result in results] == ["shares", "shares"]
    assert "test, label neg" in [example["row"] for example in results[0].examples]
    small = {"train": many[:780], "valid": many[780:790], "test": many[790:]}
    rare = failed(expectations.check_split(many, small, CLASSES, SPLIT))
    assert {"valid", "test"} <= {example["row"] for example in rare[0].examples}


def test_encode_sees_rows_lost_or_in_the_wrong_split(tokenizer) -> None:
    encoded, overflowed, parts = coded(tokenizer)
    lost = encoded | {"test": encoded["test"][1:]}
    report = expectations.check_encode(lost, overflowed, parts, tokenizer, [], PAIRS, ENCODE)
    assert_only(report, "either encoded or dropped", 1, "x.csv:18")
    swapped = encoded | {"test": encoded["valid"], "valid": encoded["test"]}
    report = expectations.check_encode(swapped, overflowed, parts, tokenizer, [], PAIRS, ENCODE)
    assert_only(report, "either encoded or dropped", 16, "x.csv:14")


Spoil = Callable[[np.ndarray], np.ndarray]


@pytest.mark.parametrize(
    ("spoil", "meaning"),
    [
        (lambda ids: np.array([*ids[:2], 9999, ids[-1]], np.int32), "below .* the vocabulary's size"),
        (lambda ids: np.array([*ids[:2], -1, ids[-1]], np.int32), "no id of source is negative"),
        (lambda ids: ids[1:], "begins with <s>"),
        (lambda ids: ids[:-1], "ends with </s>"),
        (lambda ids: np.array([*ids, 0], np.int32), "begins with <s>, ends with </s>"),
        (lambda ids: ids[[0, 1, 1, 1, 1, 1, 1, 1, -1]], "every source has 2 to 8 tokens"),
        (lambda ids: ids[[0, 2, 1, *range(3, len(ids))]], "the ids of source decode back to source"),
    ],
)
def test_encode_sees_bad_ids(tokenizer, spoil: Spoil, meaning: str) -> None:
    encoded, overflowed, parts = coded(tokenizer)
    bad = encoded["valid"].copy()
    bad.at[2, "source"] = spoil(bad.at[2, "source"])
    report = expectations.check_encode(encoded | {"valid": bad}, overflowed, parts, tokenizer, [], PAIRS, ENCODE)
    found = [result for result in failed(report) if re.search(meaning, result.meaning)]
    assert [(result.unexpected, result.examples[0]["row"]) for result in found] == [(1, "x.csv:16")]


@pytest.mark.parametrize("overflow", ["truncate", "drop"])
def test_encode_sees_too_many_cut_rows(tokenizer, overflow: str) -> None:
    params = Encode(max_source_tokens=5, max_target_tokens=8, overflow=overflow, overlap=2, max_overflow_share=0.1)
    report = expectations.check_encode(*coded(tokenizer, params=params), tokenizer, [], PAIRS, params)
    if overflow == "drop":  # all of them
        every, *rest = report.results
        assert (every.meaning, every.unexpected) == ("every split has at least one encoded row", 3)
        said = r"3 of 3 splits are exceptions, e\.g\. train '0' .*; raise encode\.max_source_tokens or .* would do\)"
        with pytest.raises(InputError, match=rf"{said} or use encode\.overflow=truncate; see"):
            validation.enforce(report, PAGE)
        report = replace(report, results=rest)
    assert_only(report, "at most 10 % of rows are cut or dropped", 20, "x.csv:2")
    said = r"raise encode\.max_source_tokens, encode\.max_target_tokens \(source (\d+) would do\) or"
    with pytest.raises(InputError, match=said) as error:
        validation.enforce(report, PAGE)
    # What would do does, and one token less does not.
    tokens = int(re.search(said, str(error.value)).group(1))
    for limit, passes in ((tokens, True), (tokens - 1, False)):
        other = params.model_copy(update={"max_source_tokens": limit})
        again = expectations.check_encode(*coded(tokenizer, params=other), tokenizer, [], PAIRS, other)
        assert again.success is passes


def test_tokens_are_counted_as_encoding_counts_them(tokenizer) -> None:
    frame = pairs()
    for texts in (["source"], ["source", "target"]):
        found = encoding.sources(tokenizer, [frame[text].tolist() for text in texts], ENCODE)
        counted = facts.tokens({"train": frame[:7], "test": frame[7:]}, texts, tokenizer)
        assert counted.tolist() == [source.tokens for source in found]


def test_encode_sees_wrong_labels(tokenizer) -> None:
    encoded, overflowed, parts = coded(tokenizer, CLASSES)
    for number in (0, 7):
        bad = encoded | {"train": changed(encoded["train"], 2, label=number)}
        report = expectations.check_encode(bad, overflowed, parts, tokenizer, ["neg", "pos"], CLASSES, ENCODE)
        assert_only(report, "the number of every label", 1, "x.csv:4")


# ------------------------------------------------------------------------------------------------- the reports


def bad_report() -> Report:
    kept = changed(changed(pairs(), 3, target="   "), 5, source="</script><b>x" * 4, alignment=None)
    return expectations.check_clean(pairs(), kept, kept[:0].assign(reason=None), PAIRS, CLEAN)


def test_a_failed_gate_says_which_expectation_how_many_rows_and_where() -> None:
    with pytest.raises(InputError) as error:
        validation.enforce(bad_report(), PAGE)
    assert str(error.value) == (
        "the data gate of `clean` failed: it expects that every source has 2 to 40 characters, but 1 of 20 rows is "
        "an exception, e.g. x.csv:7 '</script><b>x</script><b>x</script><b>x…' (and 1 more expectation); "
        "check clean.min_characters and clean.max_characters; see metrics/validation/index.html"
    )


def test_reports_have_the_same_bytes_and_come_back(tmp_path: Path) -> None:
    validation.write(bad_report(), tmp_path / "one.json")
    validation.write(bad_report(), tmp_path / "two.json")
    text = (tmp_path / "one.json").read_text(encoding="utf-8")
    assert text == (tmp_path / "two.json").read_text(encoding="utf-8")
    assert validation.read(tmp_path / "one.json") == bad_report()
    content = json.loads(text)
    assert set(content) == {"stage", "success", "rows", "results"}
    assert not re.search(r"\d{4}-\d\d-\d\dT|[0-9a-f]{8}-[0-9a-f]{4}|NaN", text)


def test_at_most_five_examples_are_kept() -> None:
    report = expectations.check_clean(pairs(), pairs()[:0], pairs()[:0].assign(reason=None), PAIRS, CLEAN)
    lost = [result for result in failed(report) if result.column == "times"]
    assert lost[0].unexpected == 20
    assert [example["row"] for example in lost[0].examples] == [f"x.csv:{i}" for i in range(2, 7)]


def test_the_page_is_self_contained_escaped_and_says_the_verdict_in_words(tmp_path: Path) -> None:
    validation.write(expectations.check_ingest(pairs(), PAIRS), tmp_path / "ingest.json")
    validation.write(bad_report(), tmp_path / "clean.json")
    path = validation.page(tmp_path)
    html = path.read_text(encoding="utf-8")
    assert path == tmp_path / "index.html"
    assert "</script>" not in html
    assert "&lt;/script&gt;&lt;b&gt;x" in html
    assert not re.search(r"https?://|//cdn|<script|<link|@import|url\(|src=", html)
    assert "✓ passed" in html
    assert "✗ failed" in html
    assert "x.csv:7" in html
    assert html.index('id="ingest"') < html.index('id="clean"')
    assert validation.page(tmp_path).read_text(encoding="utf-8") == html


@pytest.mark.parametrize(("rows", "wanted"), [(1, ">0 of 1 split<"), (2, ">0 of 2 splits<")])
def test_the_page_names_what_was_counted_in_its_number(tmp_path: Path, rows: int, wanted: str) -> None:
    check = validation.Check("ExpectColumnValuesToBeBetween", {"column": "share", "max_value": 1.0}, "few are unknown")
    table = validation.Table(pd.DataFrame({"row": ["valid", "test"][:rows], "share": 0.0}), [check], "splits")
    validation.write(validation.validate("vocab", rows, [table]), tmp_path / "vocab.json")
    assert wanted in validation.page(tmp_path).read_text(encoding="utf-8")


def test_the_page_says_at_its_top_which_gate_failed_and_shows_first_what_failed(tmp_path: Path) -> None:
    validation.write(expectations.check_ingest(pairs(), PAIRS), tmp_path / "ingest.json")
    html = validation.page(tmp_path).read_text(encoding="utf-8")
    assert "✓ Every gate passed." in html
    validation.write(bad_report(), tmp_path / "clean.json")
    html = validation.page(tmp_path).read_text(encoding="utf-8")
    assert '✗ The gate of <a href="#clean">clean</a> failed.' in html
    assert "Every gate passed" not in html
    results = re.findall("✓ passed|✗ failed", html[html.index('<section id="clean">') :])[1:]
    assert results == sorted(results, reverse=True)
    assert len(set(results)) == 2


def test_what_later_stages_found_in_other_data_is_not_shown(tmp_path: Path) -> None:
    passed = expectations.check_ingest(pairs(), PAIRS)
    for stage in ("ingest", "vocab", "split", "encode"):
        validation.write(replace(passed, stage=stage), tmp_path / f"{stage}.json")
    with pytest.raises(InputError):
        publish(bad_report(), tmp_path)
    shown = re.findall(r'<section id="(\w+)">', (tmp_path / "index.html").read_text(encoding="utf-8"))
    assert shown == ["ingest", "clean"]


def test_a_cleaning_that_keeps_nothing_says_why() -> None:
    rejected = pairs().assign(reason=["too_long"] * 3 + ["empty"] * 17)
    report = expectations.check_clean(pairs(), pairs()[:0], rejected, PAIRS, CLEAN)
    with pytest.raises(InputError, match="20 of 20 rows are rejected: empty 17, too_long 3; fix them or loosen"):
        validation.enforce(report, PAGE)


def test_the_page_of_no_reports_says_so(tmp_path: Path) -> None:
    assert "No stage has been checked yet." in validation.page(tmp_path).read_text(encoding="utf-8")


def test_several_failures_are_counted() -> None:
    report = bad_report()
    first = next(result for result in report.results if not result.success)
    many = replace(report, results=[first, first, first])
    with pytest.raises(InputError, match=r"\(and 2 more expectations\)"):
        validation.enforce(many, PAGE)

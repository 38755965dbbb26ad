"""What is expected of the data: one great-expectations suite per file boundary.

An expectation sees one table. What relates several (raw = kept + rejected, no text in two splits) is said by a small
table of facts, one row per record, vocabulary entry or split (facts.py), so that the core expectations are enough and
their failing rows can be named. How they are held against the data, and reported: validation.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from attention_lab import facts, params, records
from attention_lab.facts import Frames
from attention_lab.records import SPLITS, Shape
from attention_lab.validation import Check, Report, Table, validate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Share of texts that may hold the character for lost bytes: a stray one is data, many are a wrong encoding.
DAMAGED = 0.01


def check_ingest(raw: pd.DataFrame, shape: Shape) -> Report:
    """Columns, types, encoding and number of raw records."""
    columns = [*records.columns(shape), *(name for name in shape.beside_gold if name in raw)]
    checks = [
        Check(
            "ExpectTableColumnsToMatchOrderedList", {"column_list": columns}, f"the columns are {', '.join(columns)}"
        ),
        Check("ExpectTableRowCountToBeBetween", {"min_value": 1}, "there is at least one row"),
        *_named_once(),
        _among("split", list(SPLITS), f"a split, where one is given, is one of {', '.join(SPLITS)}"),
        *(
            _is_kind(column, "list" if shape.several_labels and column == shape.label else "str")
            for column in shape.required
        ),
    ]
    for text in shape.texts:
        checks += [
            _there(text, f"every row has a {text}"),
            Check(
                "ExpectColumnValuesToNotMatchRegex",
                {"column": text, "regex": "[\ufffd\x00]", "mostly": 1.0 - DAMAGED},
                f"at most {_percent(DAMAGED)} of rows have U+FFFD or U+0000, signs of a wrong encoding, in {text}",
                "save the data as UTF-8",
            ),
        ]
    return validate("ingest", len(raw), [Table(raw, checks)])


def check_clean(
    raw: pd.DataFrame, kept: pd.DataFrame, rejected: pd.DataFrame, shape: Shape, params: params.Clean
) -> Report:
    """raw = kept + rejected; texts neither empty nor out of bounds nor twice; labels known; gold points at words.

    rejected: the raw columns and `reason`.
    """
    loosen = "the counts of rejected rows by reason show what to loosen under clean"
    if len(rejected):
        commonest = rejected["reason"].value_counts()[:3].items()
        reasons = ", ".join(f"{reason} {rows}" for reason, rows in commonest)
        loosen = (
            f"{len(rejected)} of {len(raw)} rows are rejected: {reasons}; fix them or loosen the settings under clean"
        )
    points = [
        Check(
            "ExpectColumnPairValuesAToBeGreaterThanB",
            {"column_A": f"{text}_words", "column_B": f"{text}_named"},
            f"{shape.gold} names words that {text} has",
        )
        for text in shape.gold_texts
    ]
    once = "every raw row is either kept or rejected, and no other row is"
    # Lists cannot be hashed, which expectations do.
    plain = kept.drop(columns=[shape.gold, *shape.beside_gold, "references"], errors="ignore")
    if shape.several_labels:
        plain = plain.assign(labels=plain["labels"].map(records.spelled, na_action="ignore"))
    tables = [
        Table(plain, _of_kept(shape, params, loosen)),
        Table(rejected[["row", "reason"]], [_there("reason", "every rejected row has a reason")]),
        Table(facts.times(raw, kept, rejected), [_among("times", [1], once)]),
        Table(facts.gold(kept, shape), points),
    ]
    if shape.label is not None:
        known = sorted({label.strip() for label in facts.labels(raw, shape.label)["label"]})
        classes = Check(
            "ExpectColumnUniqueValueCountToBeBetween",
            {"column": "label", "min_value": 2},
            "there are at least two classes",
            loosen,
        )
        among = _among("label", known, "every label is one of the raw data's")
        tables.append(Table(facts.labels(kept, shape.label), [among, classes], "labels"))
    if shape.answer is not None:
        stands = _equal("found", "answer", f"every {shape.answer} occurs in its {shape.source} where `start` says")
        tables.append(Table(facts.answers(kept, shape), [stands]))
    return validate("clean", len(raw), tables)


def check_vocab(
    tokenizer: PreTrainedTokenizerFast,
    train_texts: Sequence[str],
    valid_texts: Sequence[str],
    labels: Sequence[str],
    params: params.Vocab,
    side: str = "",
) -> Report:
    """Special tokens present; entries from training texts only; unknown tokens of valid within bounds; labels.

    labels: empty for a task without classes. side: whose tokenizer and texts these are, "source" or "target", where
    each has its own.
    """
    from attention_lab.vocabulary import SPECIALS

    of = f"for the {side}, " if side else ""
    fixed = f"{of}the special tokens {' '.join(SPECIALS)} have the ids 0 to {len(SPECIALS) - 1}"
    ids = _equal("id", "expected", fixed)
    entries = [
        Check(
            "ExpectTableRowCountToBeBetween",
            {"min_value": 1, "max_value": params.size - len(SPECIALS)},
            f"{of}the vocabulary has entries, and with the special tokens at most {params.size}",
            "check vocab.size and vocab.min_frequency",
        ),
        _among(
            "in_training",
            [True],
            f"{of}every entry of the vocabulary occurs in the training texts",
            "build the vocabulary from training rows only",
        ),
    ]
    known = Check(
        "ExpectColumnValuesToBeBetween",
        {"column": "share", "max_value": params.max_unknown_share},
        f"{of}at most {_percent(params.max_unknown_share)} of the tokens of valid are unknown",
        "use vocab.tokenizer=bpe, raise vocab.size, lower vocab.min_frequency or raise vocab.max_unknown_share",
    )
    tables = [
        Table(facts.specials(tokenizer), [ids], "special tokens"),
        Table(facts.entries(tokenizer, train_texts), entries, "entries"),
        Table(facts.unknown(tokenizer, valid_texts, params.max_unknown_share), [known], "splits"),
    ]
    if labels:
        classes = [
            Check("ExpectColumnValuesToBeUnique", {"column": "label"}, "no label is listed twice"),
            Check(
                "ExpectTableRowCountToBeBetween",
                {"min_value": 2},
                "there are at least two labels",
                "add training rows of another class",
            ),
        ]
        tables.append(Table(pd.DataFrame({"row": list(labels), "label": list(labels)}), classes, "labels"))
    return validate("vocab", len(train_texts) + len(valid_texts), tables)


def check_split(kept: pd.DataFrame, parts: Frames, shape: Shape, params: params.Split) -> Report:
    """kept = train + valid + test; no text in two splits; given splits honoured; shares as chance allows."""
    every = pd.concat([part.assign(assigned=name) for name, part in parts.items()], ignore_index=True)
    distinct = every[[shape.source, "assigned", "row"]].assign(key=every[shape.source].map(records.key))
    distinct = distinct.drop_duplicates(["key", "assigned"])
    sizes = pd.DataFrame({"row": list(SPLITS), "size": [len(parts.get(name, ())) for name in SPLITS]})
    filled = Check(
        "ExpectColumnValuesToBeBetween",
        {"column": "size", "min_value": 1},
        "no split is empty",
        "use more rows or raise split.valid and split.test",
    )
    apart = Check(
        "ExpectColumnValuesToBeUnique",
        {"column": "key"},
        f"no {shape.source} is in two splits, ignoring case",
        "clean.overlap=drop removes such rows of given splits",
    )
    stays = _equal("assigned", "given", "a row that the data put into valid or test stays there")
    tables = [
        Table(facts.times(kept, *parts.values()), [_among("times", [1], "every clean row is in exactly one split")]),
        Table(sizes, [filled], "splits"),
        Table(distinct, [apart]),
        Table(facts.given(kept, every), [stays]),
    ]
    drawn = bool(kept["split"].isna().all())  # else the data have said where rows belong, and strategies move none
    if shape.label is not None:
        known = _among(
            "label",
            sorted(set(facts.labels(parts["train"], shape.label)["label"])),
            "every label occurs in train",
            "add training rows with it" + " or use split.strategy=stratified" * (drawn and not shape.several_labels),
        )
        tables.append(Table(facts.labels(every, shape.label), [known], "labels"))
    if drawn:  # the shares of given splits are the data's own affair
        tables.append(Table(facts.shares(kept, parts, shape, params), _by_chance(), "shares"))
    return validate("split", len(kept), tables)


def check_encode(
    encoded: Frames,
    overflowed: Frames,
    parts: Frames,
    tokenizer: PreTrainedTokenizerFast,
    labels: Sequence[str],
    shape: Shape,
    params: params.Encode,
    target_tokenizer: PreTrainedTokenizerFast | None = None,
) -> Report:
    """Every row once; ids within the vocabulary, between <s> and </s>; truncated share; round trip to text; labels;
    places of answers.

    encoded, overflowed: what `encoding.encode` gave for each split; parts: the records of each split.
    target_tokenizer: of the target; None: the other is for both.
    """
    tokenizers = {"source": tokenizer, "target": target_tokenizer or tokenizer}
    limits = {"source": (shape.inputs, params.max_source_tokens)}
    if shape.target is not None:
        limits["target"] = ((shape.target,), params.max_target_tokens)
    first = {name: frame[frame["shared"] == 0] if "shared" in frame else frame for name, frame in encoded.items()}
    lost = facts.lost(first, overflowed)
    enough = ""
    if params.overflow != "window" and (lost["lost"] != "").mean() > params.max_overflow_share:
        share = params.max_overflow_share / len(limits)  # a row may be too long in each of them
        lengths = {column: facts.tokens(parts, texts, tokenizers[column]) for column, (texts, _) in limits.items()}
        needed = {column: int(np.quantile(found, 1.0 - share, method="higher")) for column, found in lengths.items()}
        longer = [f"{column} {tokens}" for column, tokens in needed.items() if tokens > limits[column][1]]
        enough = f" ({' and '.join(longer)} would do)" if longer else ""
    once = [facts.times(part, first[name], overflowed.get(name, part[:0])) for name, part in parts.items()]
    few = Check(
        "ExpectColumnValuesToBeInSet",
        {"column": "lost", "value_set": [""], "mostly": 1.0 - params.max_overflow_share},
        f"at most {_percent(params.max_overflow_share)} of rows are cut or dropped for their length",
        f"raise {', '.join(f'encode.max_{column}_tokens' for column in limits)}{enough} or encode.max_overflow_share"
        + (
            ""
            if not shape.reads_windows
            else ", or use encode.overflow=window"
            if params.overflow != "window"
            else ", or encode.overlap, so that some window holds every answer whole"
        ),
    )
    sizes = pd.DataFrame({"row": list(encoded), "rows": [len(frame) for frame in encoded.values()]})
    some = Check(
        "ExpectColumnValuesToBeBetween",
        {"column": "rows", "min_value": 1},
        "every split has at least one encoded row",
        f"raise {' or '.join(f'encode.max_{column}_tokens' for column in limits)}{enough} or use "
        "encode.overflow=truncate",
    )
    tables = [
        Table(sizes, [some], "splits"),
        Table(
            pd.concat(once, ignore_index=True),
            [_among("times", [1], "every row of a split is either encoded or dropped, in its own split")],
        ),
        Table(lost, [few]),
    ]
    for column, (texts, limit) in limits.items():
        tables.append(Table(facts.ids(encoded, column), _ids(column, limit, len(tokenizers[column]))))
        tables.append(Table(facts.specials_in(encoded, column), [_ends(column, len(texts))]))
        for place, text in enumerate(texts):
            back = _equal(
                "decoded", "text", f"the ids of {column} decode back to {text} where nothing is cut or unknown"
            )
            decoded = facts.decoded(encoded, parts, tokenizers[column], column, text, place)
            tables.append(Table(decoded, [back]))
    if shape.answer is not None:
        stands = _equal("found", "answer", f"the span of every {shape.answer} points to its text")
        tables.append(Table(facts.spans(encoded, parts, shape), [stands]))
    if shape.label is not None:
        right = _equal("decoded", "label", "the number of every label decodes back to the label")
        tables.append(Table(facts.numbered(encoded, parts, labels, shape.label), [right]))
    return validate("encode", sum(map(len, parts.values())), tables)


# ------------------------------------------------------------------------------------------------------ checks


def _of_kept(shape: Shape, params: params.Clean, loosen: str) -> list[Check]:
    """Of the rows that cleaning keeps, each by itself and against one another."""
    checks = [
        Check("ExpectTableRowCountToBeBetween", {"min_value": 1}, "cleaning keeps at least one row", loosen),
        *_named_once(),
    ]
    for text in shape.texts:
        lengths = {"min_value": params.min_characters, "max_value": params.max_characters}
        checks += [
            Check("ExpectColumnValuesToMatchRegex", {"column": text, "regex": r"\S"}, f"no {text} is empty"),
            Check(
                "ExpectColumnValueLengthsToBeBetween",
                {"column": text, **lengths},
                f"every {text} has {params.min_characters} to {params.max_characters} characters",
                "check clean.min_characters and clean.max_characters",
            ),
        ]
    if params.duplicates:
        checks.append(
            Check(
                "ExpectCompoundColumnsToBeUnique" if len(shape.required) > 1 else "ExpectColumnValuesToBeUnique",
                {"column_list": list(shape.required)} if len(shape.required) > 1 else {"column": shape.source},
                f"no two rows have the same {' and '.join(shape.required)}",
            )
        )
    known = [name for name in (shape.label, shape.answer) if name is not None]
    checks += [_there(name, f"every row has its {name}") for name in known]
    return checks


def _named_once() -> list[Check]:
    return [
        _there("row", "every row has a name"),
        Check("ExpectColumnValuesToBeUnique", {"column": "row"}, "no two rows have the same name"),
    ]


def _there(column: str, meaning: str) -> Check:
    return Check("ExpectColumnValuesToNotBeNull", {"column": column}, meaning)


def _is_kind(column: str, kind: Literal["str", "list"]) -> Check:
    arguments = {"column": column, "type_": kind}
    meaning = f"{column} is a column of {'text' if kind == 'str' else 'lists'}"
    return Check("ExpectColumnValuesToBeOfType", arguments, meaning)


def _among(column: str, values: Sequence[object], meaning: str, remedy: str = "") -> Check:
    return Check("ExpectColumnValuesToBeInSet", {"column": column, "value_set": list(values)}, meaning, remedy)


def _equal(one: str, other: str, meaning: str) -> Check:
    return Check("ExpectColumnPairValuesToBeEqual", {"column_A": one, "column_B": other}, meaning)


def _by_chance() -> list[Check]:
    remedy = "try another seed or split.strategy=stratified"
    return [
        Check(
            "ExpectColumnPairValuesAToBeGreaterThanB",
            {"column_A": larger, "column_B": smaller, "or_equal": True},
            f"no split, and no label in a split, is {word} than chance explains",
            remedy,
        )
        for larger, smaller, word in (("share", "least", "rarer"), ("most", "share", "more frequent"))
    ]


def _ids(column: str, limit: int, size: int) -> list[Check]:
    between = "ExpectColumnValuesToBeBetween"
    together = "run `dvc repro`, so that the vocabulary and the encoded rows belong together"
    return [
        Check(between, {"column": "lowest", "min_value": 0}, f"no id of {column} is negative"),
        Check(
            between,
            {"column": "highest", "max_value": size - 1},
            f"every id of {column} is below {size}, the vocabulary's size",
            together,
        ),
        Check(
            between,
            {"column": "tokens", "min_value": 2, "max_value": limit},
            f"every {column} has 2 to {limit} tokens",
        ),
    ]


def _ends(column: str, texts: int) -> Check:
    between = "no special token between" if texts == 1 else "only one </s> between its texts"
    return _among("special", [texts + 1], f"every {column} begins with <s>, ends with </s> and has {between}")


def _percent(share: float) -> str:
    return f"{100 * share:g} %"

"""Small tables of facts about the files of several stages, for the data gates (expectations.py).

Each has a column `row` that names its rows (a record, a split, a share) and columns of facts that one core
expectation can judge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from attention_lab import params, records
from attention_lab.records import SPLITS, Shape

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Frames = dict[str, pd.DataFrame]  # by split

SIGMAS = 5.0  # how far a share may be from what chance gives: once in two million shares by accident
ROUND_TRIPS = 2_000  # rows of each split that are decoded again


def times(whole: pd.DataFrame, *parts: pd.DataFrame) -> pd.DataFrame:
    """times: how often each row of `whole` occurs in the parts; rows that only the parts have get -1 and less."""
    found = pd.concat([part["row"] for part in parts]).value_counts()
    names = whole["row"].drop_duplicates()
    strange = found[~found.index.isin(set(names))].sort_index()
    return pd.DataFrame({"row": [*names, *strange.index], "times": [*found.reindex(names, fill_value=0), *(-strange)]})


def gold(kept: pd.DataFrame, shape: Shape) -> pd.DataFrame:
    """For each text that gold points into: TEXT_words, and TEXT_named, the highest word that gold names."""
    known = kept[kept[shape.gold].notna()]
    table = pd.DataFrame({"row": pd.Series(known["row"].tolist(), dtype=object)})
    for i, text in enumerate(shape.gold_texts):
        numbers = [[pair[i] for pair in gold] if shape.gold == "alignment" else gold for gold in known[shape.gold]]
        table[f"{text}_words"] = np.array([len(value.split(" ")) for value in known[text]], dtype=np.int64)
        table[f"{text}_named"] = np.array([max(found, default=0) for found in numbers], dtype=np.int64)
    return table


def labels(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """label: a line for each label of each row."""
    lines = [
        (row, label) for row, cell in zip(frame["row"], frame[column], strict=True) for label in records.labels(cell)
    ]
    return pd.DataFrame(lines, columns=["row", "label"], dtype=object)


def answers(kept: pd.DataFrame, shape: Shape) -> pd.DataFrame:
    """answer, and what stands in the text from its start on; rows without an answer are left out."""
    known = kept[kept[shape.answer] != ""]
    found = [
        text[start : start + len(answer)]
        for text, start, answer in zip(known[shape.source], known["start"], known[shape.answer], strict=True)
    ]
    return pd.DataFrame(
        {"row": known["row"].tolist(), "answer": known[shape.answer].tolist(), "found": found}, dtype=object
    )


def spans(encoded: Frames, parts: Frames, shape: Shape) -> pd.DataFrame:
    """answer, and what the text has between the places of its span (found); windows without an answer are left out.

    A token may begin with the space before an answer, or be more than the answer, so it is compared as far as that.
    """
    table: list[tuple[str, str, str]] = []
    for split, frame in encoded.items():
        part = parts[split]
        known = dict(zip(part["row"], zip(part[shape.source], part[shape.answer], strict=True), strict=True))
        for row, (first, last), places in zip(frame["row"], frame["span"], frame["places"], strict=True):
            if first:
                text, answer = known[row]
                piece = text[places[2 * first] : places[2 * last + 1]]
                table.append((row, answer, answer if answer in piece else piece))
    return pd.DataFrame(table, columns=["row", "answer", "found"], dtype=object)


def specials(tokenizer: PreTrainedTokenizerFast) -> pd.DataFrame:
    """Each special token's id, and the one it should have."""
    from attention_lab.vocabulary import SPECIALS

    vocab = tokenizer.get_vocab()
    ids = [vocab.get(token, -1) for token in SPECIALS]
    return pd.DataFrame({"row": list(SPECIALS), "id": ids, "expected": range(len(SPECIALS))})


def entries(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> pd.DataFrame:
    """in_training: whether each learned entry occurs in `texts`: as a whole piece where every piece between the cuts
    of the pre-tokenizer is an entry (word and character tokenizers), else within a word."""
    from tokenizers.models import WordLevel

    from attention_lab.vocabulary import SPECIALS

    backend = tokenizer.backend_tokenizer
    normal, cut = backend.normalizer, backend.pre_tokenizer
    words: set[str] = set()
    for text in texts:
        words.update((normal.normalize_str(text) if normal else text).split(" "))
    spaced = [f" {word}" for word in sorted(words)]  # with the space before it, as tokens have it
    pieces = {piece for word in spaced for piece, _ in cut.pre_tokenize_str(word)} if cut else set(spaced)
    ordered = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    learned = [(token, number) for token, number in ordered if token not in SPECIALS]
    forms = [token for token, _ in learned]
    if not isinstance(backend.model, WordLevel):
        forms = [token.removeprefix("##") for token in forms]
        longest = max(map(len, forms), default=0)
        # Each part of each piece is looked up once: to search all pieces for each entry would take minutes.
        pieces = set(forms).intersection(
            piece[start:end]
            for piece in pieces
            for start in range(len(piece))
            for end in range(start + 1, min(start + longest, len(piece)) + 1)
        )
    return pd.DataFrame(
        {
            "row": pd.Series([f"{number}: {token!r}" for token, number in learned], dtype=object),
            "in_training": np.array([form in pieces for form in forms], bool),
        }
    )


def unknown(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], bound: float) -> pd.DataFrame:
    """The share of unknown tokens in valid; above the bound, the row names the commonest of them."""
    from attention_lab import vocabulary

    share = vocabulary.unknown_share(tokenizer, texts)
    common = vocabulary.unknown_words(tokenizer, texts, 3) if share > bound else []
    return pd.DataFrame(
        {"row": [f"valid, mostly {' '.join(common)}," if common else "valid"], "share": [round(share, 6)]}
    )


def given(kept: pd.DataFrame, every: pd.DataFrame) -> pd.DataFrame:
    """Rows that the data put into valid or test (given), and where they are (assigned).

    Training rows are left out: they may be divided where valid or test is missing.
    """
    split = dict(zip(kept["row"], kept["split"], strict=True))
    table = every[["row", "assigned"]].assign(given=every["row"].map(split))
    return table[table["given"].isin(SPLITS[1:])]


def shares(kept: pd.DataFrame, parts: Frames, shape: Shape, params: params.Split) -> pd.DataFrame:
    """The share of each split, and of each label in it, and between what bounds chance may take it (least, most).

    Texts are drawn, not rows: equal texts fall together, so as many rows as share a text count as one draw.
    """
    table: list[tuple[str, float, float, float]] = []

    def add(name: str, share: float, expected: float, draws: float) -> None:
        # The second term is for rare labels, whose counts stray further than a normal distribution says.
        allowed = SIGMAS * math.sqrt(expected * (1 - expected) / draws) + SIGMAS / draws
        table.append((name, round(share, 6), round(expected - allowed, 6), round(expected + allowed, 6)))

    weights = kept[shape.source].value_counts().to_numpy(np.float64)
    clump = float((weights**2).sum() / weights.sum()) if len(weights) else 1.0
    expected = {"train": 1 - params.valid - params.test, "valid": params.valid, "test": params.test}
    for name, part in parts.items():
        if not len(part):
            continue
        add(name, len(part) / len(kept), expected[name], len(kept) / clump)
        if shape.label is not None:
            every, inside = (labels(frame, shape.label)["label"].value_counts() / len(frame) for frame in (kept, part))
            for label, share in every.sort_index().items():
                add(f"{name}, label {label}", float(inside.get(label, 0.0)), float(share), len(part) / clump)
    return pd.DataFrame(table, columns=["row", "share", "least", "most"])


def lost(encoded: Frames, overflowed: Frames) -> pd.DataFrame:
    """lost: "cut", why a row was dropped, or "" for the others."""
    cut = [frame[["row"]].assign(lost=np.where(frame["truncated"], "cut", "")) for frame in encoded.values()]
    dropped = [frame[["row"]].assign(lost=frame["reason"]) for frame in overflowed.values()]
    return pd.concat([*cut, *dropped], ignore_index=True)


def tokens(parts: Frames, texts: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
    """The number of tokens of each row (rows,) if these of its texts are read whole, one behind the other."""
    from attention_lab.vocabulary import backend

    rows = pd.concat(parts.values())
    of_texts = [backend(tokenizer).encode_batch_fast(rows[text].tolist()) for text in texts]
    # Only the first has a <s>.
    return np.sum([[len(found.ids) for found in of_text] for of_text in of_texts], axis=0) - (len(texts) - 1)


def ids(encoded: Frames, column: str) -> pd.DataFrame:
    """tokens, lowest and highest id of what is read at once."""
    return _ids([row for frame in encoded.values() for row in zip(frame["row"], frame[column], strict=True)])


def specials_in(encoded: Frames, column: str) -> pd.DataFrame:
    """special: how many ids of each row, its windows put together, are <pad>, <s>, </s> or <mask>, -1 where <s> and
    </s> are not the ends."""
    wholes = [_whole(frame, column) for frame in encoded.values()]
    return _ids([row for frame in wholes for row in zip(frame["row"], frame["ids"], strict=True)])


def _whole(encoded: pd.DataFrame, column: str) -> pd.DataFrame:
    """`row`, `ids` and `truncated` of each row, its windows put together."""
    from attention_lab.vocabulary import EOS_ID

    table = encoded[["row", "truncated"]].assign(ids=encoded[column])
    if column != "source" or "shared" not in encoded or not encoded["shared"].any():
        return table
    found: dict[str, NDArray[np.int32]] = {}
    for row, ids, shared in zip(encoded["row"], encoded["source"], encoded["shared"], strict=True):
        if not shared:
            found[row] = ids
        elif "span" in encoded:  # each window has its question and its </s>
            body = int(np.argmax(ids == EOS_ID)) + 1
            found[row] = np.concatenate((found[row][:-1], ids[body + shared :]))
        else:
            found[row] = np.concatenate((found[row], ids[shared:]))
    firsts = table[encoded["shared"] == 0].reset_index(drop=True)
    return firsts.assign(ids=firsts["row"].map(found))


def _ids(named: list[tuple[str, NDArray[np.int32]]]) -> pd.DataFrame:
    from attention_lab.vocabulary import BOS_ID, EOS_ID, MASK_ID, PAD_ID

    rows = [row for _, row in named]
    tokens = np.array([len(row) for row in rows], dtype=np.int64)
    lowest, highest, special = (np.full(len(rows), -1, dtype=np.int64) for _ in range(3))
    full = tokens > 0  # reduceat has no empty groups
    if full.any():
        flat = np.concatenate(rows).astype(np.int64)
        ends = np.cumsum(tokens)[full]
        starts = ends - tokens[full]
        lowest[full] = np.minimum.reduceat(flat, starts)
        highest[full] = np.maximum.reduceat(flat, starts)
        counted = np.add.reduceat(np.isin(flat, [PAD_ID, BOS_ID, EOS_ID, MASK_ID]).astype(np.int64), starts)
        special[full] = np.where((flat[starts] == BOS_ID) & (flat[ends - 1] == EOS_ID), counted, -1)
    names = [name for name, _ in named]
    return pd.DataFrame({"row": names, "tokens": tokens, "lowest": lowest, "highest": highest, "special": special})


def decoded(
    encoded: Frames, parts: Frames, tokenizer: PreTrainedTokenizerFast, column: str, text: str, place: int = 0
) -> pd.DataFrame:
    """text and decoded ids of rows spread over each split; cut rows and unknown tokens cannot come back.

    place: which of the texts in `column` it is, counted by the </s> before it.
    """
    from attention_lab.vocabulary import EOS_ID, UNK_ID

    names: list[str] = []
    texts: list[str] = []
    tokens: list[list[int]] = []
    for split, frame in encoded.items():
        original = dict(zip(parts[split]["row"], parts[split][text], strict=True))
        rows = _whole(frame, column)
        some = rows.iloc[:: max(1, len(rows) // ROUND_TRIPS)]
        for name, ids, cut in zip(some["row"], some["ids"], some["truncated"], strict=True):
            row = np.split(ids, np.flatnonzero(ids == EOS_ID) + 1)[place]
            if not cut and UNK_ID not in row and name in original:
                names.append(name)
                texts.append(original[name])
                tokens.append([int(number) for number in row if 0 <= number < len(tokenizer)])
    back = tokenizer.backend_tokenizer.decode_batch(tokens, skip_special_tokens=True) if tokens else []
    return pd.DataFrame({"row": names, "text": texts, "decoded": back}, dtype=object)


def numbered(encoded: Frames, parts: Frames, names: Sequence[str], column: str) -> pd.DataFrame:
    """label, and the one that its number means (decoded); of several labels all, in the order of their names."""
    table: list[tuple[str, str, str]] = []
    for split, frame in encoded.items():
        original = dict(zip(parts[split]["row"], parts[split][column], strict=True))
        for row, cell in zip(frame["row"], frame[column], strict=True):
            numbers = [int(number) for number in np.atleast_1d(cell)]
            meant = [names[n] if 0 <= n < len(names) else f"no label has the number {n}" for n in numbers]
            table.append((row, records.spelled(sorted(meant)), records.spelled(original.get(row))))
    return pd.DataFrame(table, columns=["row", "decoded", "label"], dtype=object)

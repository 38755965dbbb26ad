"""Pure filters: raw records in, kept and rejected records out, nothing lost.

    raw ── normalise texts ── each row by itself ── rows against one another ──► kept (normalised texts)
                                     │                        │
                                     └────────────────────────┴───────────────► rejected (original texts)

A row is rejected for the first reason that applies, in the order of `REASONS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from zlib import crc32

import pandas as pd
from tokenizers import Regex, normalizers

from attention_lab.errors import InputError
from attention_lab.params import Clean
from attention_lab.records import Shape, key, labels

REASONS = (
    "empty",  # a text without a visible character
    "too_short",  # a text below clean.min_characters
    "too_long",  # a text above clean.max_characters
    "no_label",
    "no_answer",  # nobody has said; a row whose answer is "" has none, and stays
    "answer_not_in_text",  # an answer that is to be found in a text does not occur in it
    "conflicting_label",  # the same texts occur with two labels, or two sets of labels: all of them go
    "overlap",  # the source text also stands in a given split that goes before
    "duplicate",  # the same texts and label stand in an earlier row
    "near_duplicate",  # almost the same texts stand in an earlier row
)

# A text of a test file must not be learned from, so rows of test go before valid, and these before train.
# Rows without a split come last: they may yet fall into any of them.
PRECEDENCE = {"test": 0, "valid": 1, "train": 2, None: 3}

PERMUTATIONS = 128  # of a MinHash: the standard error of its similarity is below 1 / sqrt(128)

# White space, control and zero-width characters show nothing.
_VISIBLE = re.compile(r"[^\s\x00-\x20\x7f-\xa0\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def normaliser(clean: Clean) -> normalizers.Normalizer:
    """The normaliser that cleans these records and, inside the saved tokenizer, every later text.

    It is idempotent: lower case and removed punctuation can leave a letter beside an accent that composes
    with it (H̱ has no composed form, ẖ has), so the Unicode form is taken before and after them.

    Punctuation is what Unicode calls so, and the back quote. Apostrophes vanish and all else becomes a space:
    "don't" → "dont", but "well-known" → "well known" and "3.14" → "3 14".
    """
    forms = {"NFC": normalizers.NFC, "NFKC": normalizers.NFKC}
    form = [forms[clean.unicode]()] if clean.unicode else []
    steps = list(form)
    if clean.lowercase:
        steps.append(normalizers.Lowercase())
    if clean.remove_punctuation:
        steps.append(normalizers.Replace(Regex("['’]"), ""))
        steps.append(normalizers.Replace(Regex(r"[\p{P}`]"), " "))
    if len(steps) > len(form):
        steps += form
    if clean.collapse_whitespace:
        steps += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    return normalizers.Sequence(steps)


def clean(raw: pd.DataFrame, shape: Shape, params: Clean) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide raw records into (kept, rejected); together they are the raw records, each once, in their order.

    kept has the raw columns, its texts normalised; lists of labels become tuples, sorted and without repetitions.
    rejected has them as they were, and `reason`.
    Gold counts words by split(" "), so it becomes None where normalising a text does more than change its
    words one by one: it would point at other words.

    Raises:
        InputError: under clean.overlap=error, a source text stands in two of the given splits.
    """
    rows = _normalised(raw.reset_index(drop=True), shape, normaliser(params))
    reasons = pd.Series(None, index=rows.index, dtype=object)
    for reason, found in _row_filters(rows, shape, params):
        reasons = reasons.mask(reasons.isna() & found, reason)
    for reason, find in {
        "conflicting_label": _conflicting,
        "overlap": _overlapping,
        "duplicate": _duplicates,
        "near_duplicate": _near_duplicates,
    }.items():
        reasons[find(rows[reasons.isna()], shape, params)] = reason
    kept = rows[reasons.isna()].reset_index(drop=True)
    rejected = raw.reset_index(drop=True).assign(reason=reasons)[reasons.notna()].reset_index(drop=True)
    return kept, rejected


def counts(kept: pd.DataFrame, rejected: pd.DataFrame) -> dict[str, int]:
    """Rows kept, rows rejected, and rows by every reason there is (0 where it never applied)."""
    found = rejected["reason"].value_counts()
    return {"kept": len(kept), "rejected": len(rejected), **{r: int(found.get(r, 0)) for r in REASONS}}


def without_gold(raw: pd.DataFrame, kept: pd.DataFrame, shape: Shape) -> int:
    """How many kept rows have lost their gold, because normalising did more than change their words one by one."""
    before = raw.loc[raw["row"].isin(kept["row"]), shape.gold]
    return int(before.notna().sum() - kept[shape.gold].notna().sum())


def _normalised(raw: pd.DataFrame, shape: Shape, normal: normalizers.Normalizer) -> pd.DataFrame:
    rows = raw.copy()
    aligned = pd.Series(True, index=raw.index)
    known = raw[shape.gold].notna()
    for name in shape.texts:
        unique = {text: normal.normalize_str(text) for text in raw[name].unique()}
        rows[name] = pd.Series([unique[text] for text in raw[name]], index=raw.index, dtype=object)
        for index in raw.index[known & (rows[name] != raw[name])]:
            aligned[index] &= _word_by_word(str(raw.at[index, name]), str(rows.at[index, name]), normal)
    for name in {shape.gold, *shape.beside_gold} & set(raw.columns):
        rows[name] = raw[name].where(aligned, None)
    if "references" in raw:
        rows["references"] = pd.Series(
            [None if texts is None else [normal.normalize_str(text) for text in texts] for texts in raw["references"]],
            index=raw.index,
            dtype=object,
        )
    if shape.answer is not None:
        answers = [None if text is None else normal.normalize_str(text).strip() for text in raw[shape.answer]]
        before = [
            normal.normalize_str(text[: max(0, start)])
            for text, start in zip(raw[shape.source], raw["start"], strict=True)
        ]
        wanted = [len(text) if start >= 0 else None for text, start in zip(before, raw["start"], strict=True)]
        rows[shape.answer] = pd.Series(answers, index=raw.index, dtype=object)
        rows["start"] = [_place(*row) for row in zip(rows[shape.source], answers, wanted, strict=True)]
    if shape.label is not None:
        tidy = _labels if shape.several_labels else _label
        rows[shape.label] = pd.Series([tidy(value) for value in raw[shape.label]], index=raw.index, dtype=object)
    return rows


def _place(text: str, answer: str | None, wanted: int | None) -> int:
    """Where an answer begins: where it should, else where it stands as whole words, nearest to that or first, else
    where it stands at all; −1 if it stands nowhere."""
    if not answer:
        return -1
    if wanted is not None and text.startswith(answer, wanted):
        return wanted  # nearly all, and to compile a pattern for each would take a minute for the rows of SQuAD
    places = [found.start() for found in re.finditer(f"(?={re.escape(answer)})", text)]
    whole = re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)")
    nearest = [(whole.match(text, place) is None, abs(place - (wanted or 0)), place) for place in places]
    return min(nearest)[-1] if nearest else -1


def _word_by_word(before: str, after: str, normal: normalizers.Normalizer) -> bool:
    """Whether word i is still word i: equal counts are not enough ("a-b  c" and "a b c" have three each)."""
    return [normal.normalize_str(word) for word in before.split(" ")] == after.split(" ")


def _label(value: str | None) -> str | None:
    """A label without white space around it; None, as the missing values of pandas, if nothing is left."""
    return value.strip() or None if isinstance(value, str) else None


def _labels(value: object) -> tuple[str, ...] | None:
    """Labels in one order, without white space around them; None if they are not known, which is not to have none."""
    return None if value is None else tuple(sorted({label.strip() for label in labels(value)} - {""}))


def _row_filters(rows: pd.DataFrame, shape: Shape, params: Clean) -> Iterator[tuple[str, pd.Series]]:
    lengths = rows[list(shape.texts)].map(len)
    yield "empty", rows[list(shape.texts)].map(lambda text: _VISIBLE.search(text) is None).any(axis=1)
    yield "too_short", (lengths < params.min_characters).any(axis=1)
    yield "too_long", (lengths > params.max_characters).any(axis=1)
    if shape.label is not None:
        yield "no_label", rows[shape.label].isna()
    if shape.answer is not None:
        yield "no_answer", rows[shape.answer].isna()
        yield "answer_not_in_text", (rows["start"] < 0) & (rows[shape.answer] != "")


def _conflicting(rows: pd.DataFrame, shape: Shape, params: Clean) -> pd.Index:
    if shape.label is None or not params.conflicting_labels:
        return rows.index[:0]
    different = rows.groupby(list(shape.texts), sort=False)[shape.label].transform("nunique")
    return rows.index[different > 1]


def _overlapping(rows: pd.DataFrame, shape: Shape, params: Clean) -> pd.Index:
    """Rows whose source text, whatever its case, stands in a given split that goes before theirs."""
    if rows["split"].isna().all():
        return rows.index[:0]
    rank = _rank(rows)
    found = rows.index[rank > rank.groupby(rows[shape.source].map(key), sort=False).transform("min")]
    if len(found) and params.overlap == "error":
        raise InputError(_overlap_sentence(rows, rank, shape, found))
    return found


def _overlap_sentence(rows: pd.DataFrame, rank: pd.Series, shape: Shape, found: pd.Index) -> str:
    lower = rows.loc[found[0]]
    keys = rows[shape.source].map(key)
    higher = rows.loc[rank[keys == keys[lower.name]].idxmin()]
    texts = keys[found].nunique()
    return (
        f"{higher['row']} = {lower['row']}: {texts} source text{'s' * (texts > 1)} of one given split also "
        f"occur{'s' * (texts == 1)} in {len(found)} row{'s' * (len(found) > 1)} of another; "
        "clean.overlap=drop removes these rows, from train rather than valid and from valid rather than test"
    )


def _duplicates(rows: pd.DataFrame, shape: Shape, params: Clean) -> pd.Index:
    if not params.duplicates:
        return rows.index[:0]
    return rows.index[rows.duplicated(list(shape.required), keep="first")]


def _near_duplicates(rows: pd.DataFrame, shape: Shape, params: Clean) -> pd.Index:
    if params.near_duplicates is None:
        return rows.index[:0]
    rows = rows.loc[_rank(rows).sort_values(kind="stable").index]
    texts = ["\n".join(row) for row in zip(*(rows[name] for name in shape.texts), strict=True)]
    return rows.index[list(_similar(texts, params.near_duplicates))]


def _similar(texts: list[str], threshold: float) -> Iterator[int]:
    """Position of each text whose Jaccard similarity to one kept before it reaches the threshold.

    MinHash and LSH (Broder 1997; Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, ch. 3) propose
    pairs, the sets themselves decide: no text goes by chance, though one in a hundred may be overlooked.
    """
    from datasketch import MinHash, MinHashLSH
    from tqdm import tqdm

    lsh = MinHashLSH(num_perm=PERMUTATIONS, params=_bands(threshold))
    blank = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=crc32)
    kept: dict[int, set[str]] = {}
    bar = tqdm(texts, desc="near duplicates", unit="text", disable=len(texts) <= 10_000)
    for index, text in enumerate(bar):
        grams = _grams(text)
        sketch = blank.copy()
        sketch.update_batch(sorted(gram.encode() for gram in grams))
        if any(_jaccard(grams, kept[other]) >= threshold for other in lsh.query(sketch)):
            yield index
        else:
            kept[index] = grams
            lsh.insert(index, sketch)


def _bands(threshold: float) -> tuple[int, int]:
    """Bands and rows of LSH: the fewest candidates with which a pair at the threshold is found 99 times in 100."""
    options = ((PERMUTATIONS // rows, rows) for rows in range(PERMUTATIONS // 2, 1, -1))
    return next((o for o in options if (1 - threshold ** o[1]) ** o[0] <= 0.01), (PERMUTATIONS, 1))


def _grams(text: str) -> set[str]:
    """Character 5-grams; a shorter text is its own."""
    return {text[i : i + 5] for i in range(max(1, len(text) - 4))}


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def _rank(rows: pd.DataFrame) -> pd.Series:
    splits: Iterable[str | None] = rows["split"].astype(object).where(rows["split"].notna(), None)
    return pd.Series([PRECEDENCE[split] for split in splits], index=rows.index)

"""Which split a row belongs to: a pure function of the rows, computed alike wherever it is needed.

The vocabulary is built before the rows are divided and may see training rows only, so two stages ask the same
question and must get the same answer. Every source text has a number in [0, 1), a keyed hash of its words:

    0 ─── test ─── test + valid ─────────────── train ─────────────── 1

Under `hash` the number alone decides, so a row never moves when others are added. Under `stratified` its rank
among the texts of the same label decides, so shares are exact, at the price that added rows may move others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pandas as pd

from attention_lab.errors import InputError
from attention_lab.params import Split
from attention_lab.records import SPLITS, Shape, key


def assign(frame: pd.DataFrame, shape: Shape, params: Split, seed: int) -> pd.Series:
    """The split of every row, "train", "valid" or "test", on the frame's own index.

    A split that the source gives is kept. One exception: where it gives training rows but no valid (or no
    test) rows, and no row is without a split, the training rows are divided into train and what is missing.

    Raises:
        InputError: a split is empty, a row lacks its predefined split, or there are no labels to stratify by.
    """
    result = STRATEGIES[params.strategy](frame, shape, params, seed)
    given = frame["split"]
    divisible = given.isna()
    missing = [name for name in SPLITS[1:] if not (given == name).any()]
    if params.strategy != "predefined":
        if not divisible.any() and missing:
            divisible = given == "train"
            # A given split gets nothing more: its share of the line above stays with training.
            result = result.where(result.isin(missing), "train")
        result = result.where(divisible, given)
    _check_none_is_empty(sizes(result), params, bool(divisible.any()))
    return result.rename("split")


def sizes(splits: pd.Series) -> dict[str, int]:
    """Rows of each split, in the order train, valid, test."""
    return {name: int((splits == name).sum()) for name in SPLITS}


def position(text: str, seed: int) -> float:
    """The number of a source text in [0, 1): the same on every machine, different for another seed."""
    digest = hashlib.blake2b(key(text).encode(), digest_size=8, key=seed.to_bytes(8, "big")).digest()
    # 53 bits are what a float holds exactly; more could round up to 1.0.
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def _hash(frame: pd.DataFrame, shape: Shape, params: Split, seed: int) -> pd.Series:
    positions = frame[shape.source].map(lambda text: position(text, seed)).astype(float)
    return _cut(positions, pd.Series(params.test, frame.index), pd.Series(params.test + params.valid, frame.index))


def _stratified(frame: pd.DataFrame, shape: Shape, params: Split, seed: int) -> pd.Series:
    """Only rows that are to be divided take part in the ranks: given rows are nobody's share."""
    if shape.label is None:
        raise InputError("split.strategy=stratified needs labels, but this task has none; use split.strategy=hash")
    if shape.several_labels:
        raise InputError(
            "split.strategy=stratified keeps the shares of classes, but a row with several labels is not of one class; "
            "use split.strategy=hash"
        )
    free = frame["split"].isna()
    part = frame[free if free.any() else frame["split"] == "train"]
    rows = pd.DataFrame(
        {
            "position": part[shape.source].map(lambda text: position(text, seed)).astype(float),
            "label": pd.factorize(part[shape.label], sort=True)[0],
        }
    )
    # The same text under two labels (their check can be switched off) counts for the first label by name.
    rows["label"] = rows.groupby("position")["label"].transform("min")
    rows = rows.sort_values(["label", "position"], kind="stable")
    total = rows.groupby("label")["position"].transform("size")
    # The same text falls together: all its rows take the rank of the first of them.
    rank = rows.groupby("label").cumcount().groupby(rows["position"]).transform("min")
    test = (total * params.test + 0.5).astype(int)
    valid = (total * params.valid + 0.5).astype(int)
    return _cut(rank, test, test + valid).reindex(frame.index)


def _predefined(frame: pd.DataFrame, shape: Shape, params: Split, seed: int) -> pd.Series:
    lacking = frame.loc[frame["split"].isna(), "row"]
    if len(lacking):
        raise InputError(
            f"{lacking.iloc[0]}: the row has no split ({len(lacking)} of {len(frame)} have none), but "
            "split.strategy=predefined takes each row's split from the data; "
            "give a split column or files for train, valid and test, or use split.strategy=hash"
        )
    return frame["split"]


# To add a strategy: one function, one line here and one in params.Split.
STRATEGIES: dict[str, Callable[[pd.DataFrame, Shape, Split, int], pd.Series]] = {
    "hash": _hash,
    "stratified": _stratified,
    "predefined": _predefined,
}


def _cut(values: pd.Series, below_test: pd.Series, below_valid: pd.Series) -> pd.Series:
    result = pd.Series("train", index=values.index, dtype=object)
    return result.mask(values < below_valid, "valid").mask(values < below_test, "test")


def _check_none_is_empty(rows: dict[str, int], params: Split, divided: bool) -> None:
    for name, count in rows.items():
        if count == 0:
            found = ", ".join(f"{other} {number}" for other, number in rows.items())
            larger = f" or a larger split.{name}" if name != "train" else ""
            remedy = f"give more rows{larger}" if divided else f"give rows for {name}"
            if divided and sum(rows.values()) < 3:
                remedy = "give more rows (data.unit=paragraph makes one of every paragraph of a text file)"
            if params.strategy == "predefined":
                remedy += ", or use split.strategy=hash"
            raise InputError(f"the {name} split is empty: the rows divide into {found}; {remedy}")

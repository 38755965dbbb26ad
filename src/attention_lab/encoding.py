"""Records as token ids and labels, on disk as Arrow files that can be memory-mapped.

row        str            where the example comes from
source     int32 (S,)     <s> pieces </s>, at most encode.max_source_tokens
target     int32 (T,)     <s> pieces </s>, at most encode.max_target_tokens, if the task produces text:
                          target[:-1] is the decoder's input, target[1:] its labels
label      int64          the position in labels.json, if the task has classes
truncated  bool           whether source or target was cut
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from tqdm import tqdm

from attention_lab import params, records
from attention_lab.errors import InputError
from attention_lab.records import Shape
from attention_lab.vocabulary import EOS_ID

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BATCH = 5_000  # texts tokenized at once: enough for all cores, little enough for a progress bar
SHOW = 20_000  # rows from which on there is a progress bar

Ids = NDArray[np.int32]


def encode(
    frame: pd.DataFrame,
    shape: Shape,
    tokenizer: PreTrainedTokenizerFast,
    labels: list[str],
    params: params.Encode,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Turn records into ids: (encoded, overflowed), see the columns above.

    A text that is too long is cut, keeping its first pieces and </s> (`overflow: truncate`), or its row is moved to
    `overflowed`, which has the records' columns and `reason` (`overflow: drop`).

    Raises:
        InputError: a row's label does not occur in training.
    """
    limits = {"source": (shape.source, params.max_source_tokens)}
    if shape.target is not None:
        limits["target"] = (shape.target, params.max_target_tokens)
    encoded: dict[str, object] = {"row": pd.Series(frame["row"].tolist(), dtype=object)}
    reasons = [""] * len(frame)
    over = np.zeros(len(frame), dtype=bool)
    for column, (text, limit) in limits.items():
        ids, lengths = _ids(tokenizer, frame[text].tolist(), limit, f"encode {text}")
        encoded[column] = pd.Series(ids, dtype=object)
        for i in np.flatnonzero(lengths > limit):
            name = f"encode.max_{column}_tokens"
            reasons[i] = reasons[i] or f"{text} has {lengths[i]} tokens, {name} is {limit}"
        over |= lengths > limit
    if shape.label is not None:
        encoded["label"] = _labels(frame, shape.label, labels)
    table = pd.DataFrame(encoded)
    table["truncated"] = over
    overflowed = frame.assign(reason=reasons)
    if params.overflow == "drop":
        return table[~over].assign(truncated=False).reset_index(drop=True), overflowed[over].reset_index(drop=True)
    return table, overflowed[:0].reset_index(drop=True)


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write encoded rows as one uncompressed Arrow record batch, whole or not at all, the same bytes for the same."""
    arrays: dict[str, pa.Array] = {"row": pa.array(frame["row"].tolist(), type=pa.string())}
    for name in ("source", "target"):
        if name in frame:
            arrays[name] = _list_array(frame[name].tolist())
    if "label" in frame:
        arrays["label"] = pa.array(frame["label"].to_numpy(np.int64))
    arrays["truncated"] = pa.array(frame["truncated"].to_numpy(bool))
    batch = pa.record_batch(list(arrays.values()), names=list(arrays))
    with (
        records.replaced(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as writer,
    ):
        writer.write_batch(batch)


def read(path: Path) -> pd.DataFrame:
    """Read encoded rows; each `source` and `target` is a read-only int32 view into the memory-mapped file.

    Raises:
        InputError: the file is not there.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; `dvc repro encode` makes it")
    with pa.memory_map(str(path)) as source:
        batch = pa.ipc.open_file(source).get_batch(0)
    columns: dict[str, object] = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_list(array.type):
            columns[name] = pd.Series(_rows(array), dtype=object)
        elif pa.types.is_string(array.type):
            columns[name] = pd.Series(array.to_pylist(), dtype=object)
        else:
            columns[name] = array.to_numpy(zero_copy_only=False)
    return pd.DataFrame(columns)


def _ids(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], limit: int, title: str
) -> tuple[list[Ids], NDArray[np.int64]]:
    """Ids of each text, cut to `limit` with </s> at the end, and how many there were."""
    ids: list[Ids] = []
    lengths = np.zeros(len(texts), dtype=np.int64)
    silent = len(texts) <= SHOW or not sys.stderr.isatty()
    with tqdm(total=len(texts), desc=title, unit=" rows", disable=silent) as bar:
        for start in range(0, len(texts), BATCH):
            chunk = tokenizer.backend_tokenizer.encode_batch_fast(texts[start : start + BATCH])
            for i, encoding in enumerate(chunk, start):
                row = np.array(encoding.ids, dtype=np.int32)
                lengths[i] = len(row)
                if len(row) > limit:
                    row = row[:limit].copy()
                    row[-1] = EOS_ID
                ids.append(row)
            bar.update(len(chunk))
    return ids, lengths


def _labels(frame: pd.DataFrame, column: str, labels: list[str]) -> NDArray[np.int64]:
    number = {label: i for i, label in enumerate(labels)}
    found = [str(label) for label in frame[column]]
    for row, label in zip(frame["row"], found, strict=True):
        if label not in number:
            raise InputError(
                f"{row}: the label {label!r} does not occur in the training rows, which have "
                f"{', '.join(labels[:10]) or 'none'}; add training rows with it or remove this row"
            )
    return np.array([number[label] for label in found], dtype=np.int64)


def _list_array(rows: list[Ids]) -> pa.ListArray:
    offsets = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    values = np.concatenate(rows).astype(np.int32, copy=False) if rows else np.zeros(0, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def _rows(array: pa.ListArray) -> list[Ids]:
    offsets, values = array.offsets.to_numpy(), array.values.to_numpy()
    return [values[a:b] for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]

"""Records as token ids and labels, on disk as Arrow files that can be memory-mapped.

row        str            where the example comes from
source     int32 (S,)     <s> pieces </s>, at most encode.max_source_tokens; for two texts <s> pieces </s> pieces </s>
target     int32 (T,)     <s> pieces </s>, at most encode.max_target_tokens, if the task produces text:
                          target[:-1] is the decoder's input, target[1:] its labels
label      int64          the position in labels.json, if the task has classes
labels     int32 (K,)     the positions in labels.json, if a text can have any number of labels
span       int32 (2,)     first and last position of the answer in source, if the task extracts answers; 0 and 0, the
                          position of <s>, if this window does not contain it
places     int32 (2S,)    along with span: where each position of source begins and ends in the last text, in characters
shared     int64          if long texts take several rows, one per window (encode.overflow=window): the number of the
                          text's tokens that the previous window also contains; 0 in the first
truncated  bool           whether source or target was cut, or no window contains the whole of an existing answer
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from tqdm import tqdm

from attention_lab import params, records, vocabulary
from attention_lab.errors import InputError
from attention_lab.records import Shape

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast

BATCH = 5_000  # texts tokenized at once: enough to use all cores, few enough for a progress bar
SHOW = 20_000  # a progress bar appears if there are more texts than this

Ids = NDArray[np.int32]
TYPES = {"label": np.int64, "shared": np.int64, "truncated": bool}


@dataclass(frozen=True)
class Window:
    """What a model reads at once: ids (S,), and shared, places (S, 2) and span as described above."""

    ids: Ids
    shared: int = 0
    places: Ids | None = None
    span: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Source:
    """The windows of one row. tokens: number of tokens of its texts, including special tokens; cut: some are
    missing from the windows."""

    windows: list[Window]
    tokens: int
    cut: bool


def encode(
    frame: pd.DataFrame,
    shape: Shape,
    tokenizer: PreTrainedTokenizerFast,
    labels: list[str],
    params: params.Encode,
    target_tokenizer: PreTrainedTokenizerFast | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Turn records into ids: (encoded, overflowed); for the columns see above.

    A text that is too long is cut to its first pieces and </s> (`overflow: truncate`), read in windows (`window`), or
    its row is moved to `overflowed`, which has the records' columns and `reason` (`drop`).

    Args:
        target_tokenizer: the target's own tokenizer; None: `tokenizer` is for both.

    Raises:
        InputError: a row's label does not occur in training, or the task cannot read windows.
    """
    if params.overflow == "window" and not shape.reads_windows:
        raise InputError(
            "encode.overflow: window is for tasks that can read a long text piece by piece, question_answering and "
            "generation; use truncate or drop"
        )
    texts = [frame[name].tolist() for name in shape.inputs]
    found = sources(tokenizer, texts, params, f"encode {' and '.join(shape.inputs)}")
    values: dict[str, Any] = {}
    reasons = [
        f"{' and '.join(shape.inputs)} {'has' if len(texts) == 1 else 'have'} {source.tokens} tokens, "
        f"encode.max_source_tokens is {params.max_source_tokens}"
        if source.cut
        else ""
        for source in found
    ]
    if shape.target is not None:
        limit = params.max_target_tokens
        written = target_tokenizer or tokenizer
        values["target"], lengths = _ids(written, frame[shape.target].tolist(), limit, f"encode {shape.target}")
        for row in np.flatnonzero(lengths > limit):
            over = f"{shape.target} has {lengths[row]} tokens, encode.max_target_tokens is {limit}"
            reasons[row] = reasons[row] or over
    if shape.label is not None:
        numbers = _labels(frame, shape.label, labels)
        values[shape.label] = numbers if shape.several_labels else [int(number) for (number,) in numbers]
    if shape.answer is not None:
        answers = zip(found, frame["start"], frame[shape.answer], strict=True)
        found = [spanned(source, start, start + len(answer)) for source, start, answer in answers]
        for place, (source, answer) in enumerate(zip(found, frame[shape.answer], strict=True)):
            if answer and not any(any(window.span) for window in source.windows):
                reasons[place] = reasons[place] or "no window holds the whole answer; raise encode.overlap"
    cut = np.array([bool(reason) for reason in reasons], dtype=bool)
    dropped = cut if params.overflow == "drop" else np.zeros_like(cut)
    values["truncated"] = cut & ~dropped
    kept = np.flatnonzero(~dropped).tolist()
    names = frame["row"].tolist()
    encoded = table(
        [names[row] for row in kept],
        [found[row] for row in kept],
        {name: [column[row] for row in kept] for name, column in values.items()},
    )
    return encoded, frame.assign(reason=reasons)[dropped].reset_index(drop=True)


def table(
    names: Sequence[str], sources: Sequence[Source], more: Mapping[str, Sequence[object]] | None = None
) -> pd.DataFrame:
    """Make a table with one line per window of each row: the windows' columns, and `more`, with one value per row."""
    lines = [(row, window) for row, source in enumerate(sources) for window in source.windows]
    columns: dict[str, list[object]] = {
        "row": [names[row] for row, _ in lines],
        "source": [window.ids for _, window in lines],
        **{name: [values[row] for row, _ in lines] for name, values in (more or {}).items()},
    }
    if any(window.places is not None for _, window in lines):
        columns["span"] = [np.array(window.span, dtype=np.int32) for _, window in lines]
        columns["places"] = [cast(Ids, window.places).reshape(-1) for _, window in lines]
    if any(len(source.windows) > 1 for source in sources):
        columns["shared"] = [window.shared for _, window in lines]
    return pd.DataFrame({name: pd.Series(column, dtype=TYPES.get(name, object)) for name, column in columns.items()})


def sources(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[list[str]], params: params.Encode, title: str = "encode"
) -> list[Source]:
    """What a model reads of each row: all of it, its beginning, or windows of it, depending on `params.overflow`.

    Args:
        texts: one list with a text per row; or two, a question per row, which every window contains, and a text.
    """
    if len(texts) == 2:
        questions, bodies = texts
        return _about(tokenizer, questions, bodies, params, title)
    limit = params.max_source_tokens
    if params.overflow == "window":
        rows, _ = _ids(tokenizer, texts[0], sys.maxsize, title)
        return [
            Source(
                [Window(ids[start:end], shared) for start, end, shared in _cut(len(ids), limit, params)],
                len(ids),
                False,
            )
            for ids in rows
        ]
    rows, lengths = _ids(tokenizer, texts[0], limit, title)
    return [Source([Window(ids)], int(length), bool(length > limit)) for ids, length in zip(rows, lengths, strict=True)]


def _about(
    tokenizer: PreTrainedTokenizerFast, questions: list[str], texts: list[str], params: params.Encode, title: str
) -> list[Source]:
    """Each question followed by its text. A question gets at most half of `max_source_tokens`."""
    limit = params.max_source_tokens
    end = vocabulary.behind(tokenizer)
    behind = [] if end is None else [end]
    heads, lengths = _ids(tokenizer, questions, limit // 2, title)
    found = []
    for head, asked, (ids, places) in zip(heads, lengths, _with_places(tokenizer, texts, title), strict=True):
        room = limit - len(head) - len(behind)
        pieces = _cut(len(ids), room, params)
        cut = asked > len(head) or (len(pieces) > 1 and params.overflow != "window")
        windows = []
        for first, last, shared in pieces[:1] if params.overflow != "window" else pieces:
            around = np.zeros((len(head), 2), dtype=np.int32), np.zeros((len(behind), 2), dtype=np.int32)
            whole = np.concatenate((head, ids[first:last], behind)).astype(np.int32)
            windows.append(Window(whole, shared, np.concatenate((around[0], places[first:last], around[1]))))
        found.append(Source(windows, int(asked) + len(ids) + len(behind), bool(cut)))
    return found


def _cut(tokens: int, room: int, params: params.Encode) -> list[tuple[int, int, int]]:
    """Start and end of each window, and how many tokens it shares with the previous one: at most half a window."""
    overlap = min(params.overlap, room // 2)
    found = [(0, min(room, tokens), 0)]
    while found[-1][1] < tokens:
        start = found[-1][1] - overlap
        found.append((start, min(start + room, tokens), overlap))
    return found


def spanned(source: Source, start: int, end: int) -> Source:
    """Set the span of each window to the tokens between two characters, if the window contains them all."""
    windows = []
    for window in source.windows:
        places = window.places if window.places is not None else np.zeros((0, 2), dtype=np.int32)
        touched = np.flatnonzero((places[:, 0] < end) & (places[:, 1] > start) & (start >= 0))
        whole = len(touched) > 0 and places[touched[-1], 1] >= end and places[touched[0], 0] <= start
        windows.append(replace(window, span=(int(touched[0]), int(touched[-1])) if whole else (0, 0)))
    return replace(source, windows=windows)


def some_have_no_answer(encoded: pd.DataFrame) -> bool:
    """Whether any encoded question has no answer: none of its windows has one, and none was cut off."""
    found = encoded["truncated"] | encoded["span"].map(np.any)
    return not bool(found.groupby(encoded["row"]).any().all())


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write encoded rows as one uncompressed Arrow record batch, atomically; the same rows give the same bytes."""
    arrays: dict[str, pa.Array] = {"row": pa.array(frame["row"].tolist(), type=pa.string())}
    for name in ("source", "target", "labels", "span", "places"):
        if name in frame:
            arrays[name] = _list_array(frame[name].tolist())
    for name in ("label", "shared"):
        if name in frame:
            arrays[name] = pa.array(frame[name].to_numpy(np.int64))
    arrays["truncated"] = pa.array(frame["truncated"].to_numpy(bool))
    batch = pa.record_batch(list(arrays.values()), names=list(arrays))
    with (
        records.replaced(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as writer,
    ):
        writer.write_batch(batch)


def read(path: Path, shape: Shape | None = None) -> pd.DataFrame:
    """Read encoded rows; each list is a read-only int32 view into the memory-mapped file.

    Args:
        shape: of the records that they should be from; None: any.

    Raises:
        InputError: the file is not there, or holds rows of another task.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; `dvc repro encode` makes it")
    with pa.memory_map(str(path)) as source:
        batch = pa.ipc.open_file(source).get_batch(0)
    if shape is not None and _truth(shape) != {"target", "label", "labels", "span"} & set(batch.schema.names):
        raise InputError(f"{path} holds rows of another task; run `dvc repro encode`")
    columns: dict[str, object] = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_list(array.type):
            columns[name] = pd.Series(_rows(array), dtype=object)
        elif pa.types.is_string(array.type):
            columns[name] = pd.Series(array.to_pylist(), dtype=object)
        else:
            columns[name] = array.to_numpy(zero_copy_only=False)
    return pd.DataFrame(columns)


def _truth(shape: Shape) -> set[str]:
    """The column with what is to be predicted; a language model's is its source."""
    return {"span"} if shape.answer else {"target"} if shape.target else {shape.label} if shape.label else set()


def _ids(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], limit: int, title: str
) -> tuple[list[Ids], NDArray[np.int64]]:
    """Ids of each text, cut to `limit` (ending with </s> if the tokenizer adds it), and their number before the cut."""
    ids: list[Ids] = []
    lengths: list[int] = []
    end = vocabulary.behind(tokenizer)
    for encoding in _some_at_a_time(vocabulary.backend(tokenizer).encode_batch_fast, texts, title):
        row = np.array(encoding.ids, dtype=np.int32)
        lengths.append(len(row))
        if len(row) > limit:
            row = row[:limit].copy()
            row[-1] = row[-1] if end is None else end
        ids.append(row)
    return ids, np.array(lengths, dtype=np.int64)


def _with_places(tokenizer: PreTrainedTokenizerFast, texts: list[str], title: str) -> Iterator[tuple[Ids, Ids]]:
    """Ids of each text without special tokens, and the character range of each token, (tokens, 2)."""
    without = partial(vocabulary.backend(tokenizer).encode_batch, add_special_tokens=False)
    for encoding in _some_at_a_time(without, texts, title):
        yield np.array(encoding.ids, dtype=np.int32), np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)


def _some_at_a_time(encode: Callable[[list[str]], list[Encoding]], texts: list[str], title: str) -> Iterator[Encoding]:
    """Encode the texts in chunks, with a progress bar if there are many."""
    silent = len(texts) <= SHOW or not sys.stderr.isatty()
    with tqdm(total=len(texts), desc=title, unit=" rows", disable=silent) as bar:
        for start in range(0, len(texts), BATCH):
            chunk = encode(texts[start : start + BATCH])
            yield from chunk
            bar.update(len(chunk))


def _labels(frame: pd.DataFrame, column: str, labels: list[str]) -> list[Ids]:
    """The label numbers of each row (K,), in ascending order."""
    number = {label: i for i, label in enumerate(labels)}
    found = [records.labels(cell) for cell in frame[column]]
    for row, cell in zip(frame["row"], found, strict=True):
        for label in cell:
            if label not in number:
                raise InputError(
                    f"{row}: the label {label!r} does not occur in the training rows, which have "
                    f"{', '.join(labels[:10]) or 'none'}; add training rows with it or remove this row"
                )
    return [np.array(sorted(number[label] for label in cell), dtype=np.int32) for cell in found]


def _list_array(rows: list[Ids]) -> pa.ListArray:
    offsets = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    values = np.concatenate(rows).astype(np.int32, copy=False) if rows else np.zeros(0, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def _rows(array: pa.ListArray) -> list[Ids]:
    offsets, values = array.offsets.to_numpy(), array.values.to_numpy()
    return [values[a:b] for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]

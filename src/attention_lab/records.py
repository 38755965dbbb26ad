"""What one example is, and tables of examples on disk.

A table is a pandas frame. Every row has

    row     str          where it comes from, e.g. "train.csv:17" (file and line or record, counted from 1)
    split   str or None  "train", "valid" or "test" if the source says so, else None

and the columns of its task, listed in `SHAPES`. Gold columns tell what is known to be true, in words as
`text.split(" ")` counts them (from 0); they are None where nobody knows:

    alignment   [[i, j], …]   source word i is translated by target word j
    possible    [[i, j], …]   … or may be, beside the sure links; a column only where the data source has it
    rationale   [i, …]        word i decides the label
    support     [i, …]        word i of the context belongs to what the answer follows from
    salient     [i, …]        word i of the document is what the summary states
    true_nats   number        −log of the probability of the text in the language that it was drawn from

A text has one label, `label`, or any number of them, `labels`: ["…", …], [] for none, None where nobody has said.

Where a text is to be given as the answer, `references` has further ones that are as good, ["…", …], or None. An answer
that is a piece of a text begins at the character `start` of it (from 0), −1 if there is none or nobody has said; it is
"" where there is none, None where nobody has said.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attention_lab.errors import InputError

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Shape:
    """The columns of one task.

    texts: what is read, cleaned and tokenized; the first is the model's input and decides the split.
    target: the text to be produced, if the task produces text.
    answer: the piece of the first text to be found, if the task looks for one; "" where there is none, None where
    nobody has said.
    label: the class, if the task has classes; or the list of labels, if a row can have any number (several_labels).
    gold: the column of known truth.
    """

    texts: tuple[str, ...]
    target: str | None
    label: str | None
    gold: str
    answer: str | None = None
    several_labels: bool = False

    @property
    def source(self) -> str:
        return self.texts[0]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that a model reads. A question stands before the text that may be long, to be whole in every
        window of it."""
        return self.texts[:1] if self.answer is None else self.texts[::-1]

    def vocabularies(self, shared: bool) -> dict[str, tuple[str, ...]]:
        """The columns whose texts have a vocabulary together, by what they are: all of them (""), or "source" and
        "target" for themselves, if there is a target and nothing is `shared`."""
        if shared or self.target is None:
            return {"": self.texts}
        return {"source": self.inputs, "target": (self.target,)}

    @property
    def gold_texts(self) -> tuple[str, ...]:
        """The columns whose words gold numbers: two if it is pairs, one if it is words, none if it is a number."""
        return self.texts[: {"alignment": 2, "true_nats": 0}.get(self.gold, 1)]

    @property
    def reads_windows(self) -> bool:
        """Whether a long text can be read piece by piece: where an answer stands in it, or token after token."""
        return self.answer is not None or (self.target is None and self.label is None)

    @property
    def required(self) -> tuple[str, ...]:
        """The columns a data source must have."""
        return (*self.texts, *(name for name in (self.answer, self.label) if name is not None))

    @property
    def optional(self) -> tuple[str, ...]:
        """The columns it may have beside gold."""
        return ("start",) * (self.answer is not None) + ("references",) * (
            self.target is not None or self.answer is not None
        )

    @property
    def beside_gold(self) -> tuple[str, ...]:
        """Columns that tell more of gold; tables have them only where the data source has."""
        return ("possible",) * (self.gold == "alignment")

    @property
    def truth(self) -> str | None:
        """The column that a prediction is compared with; a language model's has none."""
        return self.target or self.answer or self.label


SHAPES: dict[str, Shape] = {
    "translation": Shape(texts=("source", "target"), target="target", label=None, gold="alignment"),
    "summarization": Shape(texts=("document", "summary"), target="summary", label=None, gold="salient"),
    "question_answering": Shape(
        texts=("context", "question"), target=None, label=None, gold="support", answer="answer"
    ),
    "generation": Shape(texts=("text",), target=None, label=None, gold="true_nats"),
    "sentiment": Shape(texts=("text",), target=None, label="label", gold="rationale"),
    "multi_label": Shape(texts=("text",), target=None, label="labels", gold="rationale", several_labels=True),
}

TYPES = {
    "alignment": pa.list_(pa.list_(pa.int32())),
    "possible": pa.list_(pa.list_(pa.int32())),
    "rationale": pa.list_(pa.int32()),
    "salient": pa.list_(pa.int32()),
    "support": pa.list_(pa.int32()),
    "references": pa.list_(pa.string()),
    "labels": pa.list_(pa.string()),
    "true_nats": pa.float64(),
}


def columns(shape: Shape) -> list[str]:
    """All columns of a table of this shape, in their order on disk."""
    return ["row", "split", *shape.required, *shape.optional, shape.gold]


def labels(cell: object) -> list[str]:
    """The labels in a cell: one, or those of a list; none where nobody has said."""
    if isinstance(cell, str) or not isinstance(cell, Iterable):
        return [] if cell is None or cell != cell else [str(cell)]
    return [str(label) for label in cell]


def key(text: str) -> str:
    """What makes two source texts one: their words, without regard to case and white space."""
    return " ".join(text.casefold().split())


def spelled(cell: object) -> str:
    """A text as it is, a list of labels as people read it and files may have it: "a | b"; "" for none."""
    return " | ".join(labels(cell))


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as Parquet, whole or not at all, the same bytes for the same rows.

    Columns of `TYPES` get the type there, other lists stay lists, the rest is text, number or truth as
    pandas has it. Pandas' own metadata is left out, for it names library versions.
    """
    table = pa.table(
        {
            name: pa.array(frame[name].tolist(), type=TYPES.get(name), from_pandas=True)
            if frame[name].dtype == object or name in TYPES
            else pa.Array.from_pandas(frame[name])
            for name in frame.columns
        }
    )
    fields = [
        pa.field(f.name, pa.string() if f.type in (pa.null(), pa.large_string()) else f.type) for f in table.schema
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary:
        pq.write_table(table.cast(pa.schema(fields)), temporary, compression="zstd")


def read(path: Path, shape: Shape | None = None) -> pd.DataFrame:
    """Read a table; lists come back as Python lists, missing values as None.

    Args:
        shape: that it should have; None: any.

    Raises:
        InputError: the file is not there, or holds records of another shape.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; `dvc repro` makes it")
    table = pq.read_table(path)
    wanted = [] if shape is None else [*shape.required, shape.gold]
    if missing := [name for name in wanted if name not in table.column_names]:
        raise InputError(f"{path} is of another task, for it has no column {missing[0]!r}; run `dvc repro`")
    plain = [f.name for f in table.schema if not pa.types.is_list(f.type) and not pa.types.is_string(f.type)]
    return pd.DataFrame(
        {
            name: table[name].to_pandas() if name in plain else pd.Series(table[name].to_pylist(), dtype=object)
            for name in table.column_names
        }
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read an object that a stage has written.

    Raises:
        InputError: it is no JSON: it is committed, and a merge may have left its marks there.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); remove it and run `dvc repro`") from None


def write_bytes(content: bytes, path: Path) -> None:
    """Write a file, whole or not at all."""
    with replaced(path) as temporary:
        temporary.write_bytes(content)


def write_lines(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as JSON lines, for people and other programs; what is no finite number is null, as JSON has no word
    for it."""
    rows = [_finite(row) for row in frame.to_dict("records")]
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
    write_bytes("".join(lines).encode(), path)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class replaced:  # noqa: N801 - reads as a statement: with replaced(path) as temporary
    """Give a temporary name beside `path`; take its place at the end, or vanish on an error."""

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            raise InputError(f"{path} is a folder; name a file in it")
        self.path = path
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def __enter__(self) -> Path:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise InputError(f"{self.path}: {self.path.parent} is a file, not a folder; name another place") from None
        except OSError as error:
            raise InputError(
                f"{self.path}: its folder cannot be created ({error.strerror}); name another place"
            ) from None
        return self.temporary

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.temporary.replace(self.path)
        else:
            self.temporary.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files in the order of their names.

    Raises:
        InputError: it is not there.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file; `dvc repro` makes it")
    total = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        if path.is_dir():
            total.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()

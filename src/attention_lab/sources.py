"""Where records come from: embedded corpora, a user's files, the Hugging Face Hub.

    bytes ── reader ──► [(number, {their column: value})] ── data.columns ──► frame of our columns

Values stay as they are, for cleaning judges them: a missing text is "", a missing label None. What cannot be
read ends in an `InputError`: one sentence that names the file, the row and the remedy.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from attention_lab import cells, presets, readers, records
from attention_lab.corpora import CORPORA
from attention_lab.errors import InputError
from attention_lab.params import Data
from attention_lab.readers import Records, found, shown
from attention_lab.records import SPLITS, Shape, columns

Loaded = tuple[pd.DataFrame, dict[str, Any]]  # (frame, manifest)

HALF_CHARACTER = re.compile("[\ud800-\udfff]")
SPLIT_NAMES = {name: name for name in SPLITS} | {"validation": "valid", "val": "valid", "dev": "valid"}


@dataclass(frozen=True)
class Table:
    """What one file (or the files of one parallel text, or one split of a data set) holds."""

    name: str  # for messages, as the user gave it
    prefix: str  # of `row`
    split: str | None
    records: Records
    known: list[str]  # the names of its columns
    files: list[dict[str, Any]]  # its entries in the manifest
    refused: Counter[str] = field(default_factory=Counter)


def load(data: Data, shape: Shape, seed: int, task: str) -> Loaded:
    """Read all records of a source; return them with a manifest.

    The frame has the columns `records.columns(shape)`, all of dtype object. The manifest is plain JSON:
    source, files (path, bytes, sha256, rows, split of each), rows, refused (rows by reason), columns (ours:
    theirs).

    Raises:
        InputError: something cannot be found, read, or understood as records of this shape.
    """
    known = (*columns(shape)[1:], *shape.beside_gold)
    unknown = sorted(set(data.columns) - set(known))
    if unknown:
        raise InputError(
            f"data.columns names {', '.join(unknown)}, which {task} does not have; it can name {', '.join(known)}"
        )
    frame, manifest = SOURCES[data.source](data, shape, seed, task)
    if shape.label is not None:
        _check_classes(frame, shape.label, ", ".join(f["path"] for f in manifest["files"]) or str(data.name))
    return frame, {"source": data.source, **manifest}


def _embedded(data: Data, shape: Shape, seed: int, task: str) -> Loaded:
    corpus = CORPORA[task]
    frame = corpus.generate(data.size or corpus.size, seed).astype(object)
    frame = frame.assign(**{name: None for name in columns(shape) if name not in frame})[columns(shape)]
    same = {name: name for name in (*shape.required, shape.gold)}
    return frame, {"files": [], "rows": len(frame), "refused": {}, "columns": same}


def _file(data: Data, shape: Shape, seed: int, task: str) -> Loaded:
    given = {None: data.path, "train": data.train, "valid": data.valid, "test": data.test}
    for split, names in given.items():
        if names and not all(names):
            raise InputError(f"data.{split or 'path'} has an empty name among its files; fill it in or remove it")
    tables = [_read(names, split, shape, data.unit) for split, names in given.items() if names]
    twice = Counter(table.prefix for table in tables)
    if len({table.name for table in tables}) < len(tables):
        raise InputError(f"{tables[0].name} is named for two splits; name another file for one of them")
    # Files of the same name in different folders, which `shown` leaves out.
    tables = [replace(t, prefix=f"{t.split}/{t.prefix}") if twice[t.prefix] > 1 else t for t in tables]
    return _gather(tables, data, shape)


def _hub(data: Data, shape: Shape, seed: int, task: str) -> Loaded:
    found = _load_dataset(data)
    ours = [name for split in SPLITS for name in found if SPLIT_NAMES.get(name) == split]
    if not ours:
        raise InputError(
            f"{data.name} has the splits {', '.join(found)} and none of {', '.join(SPLIT_NAMES)}; "
            "save the one you want as a Parquet file and name it in data.path"
        )
    tables = [_table(found[name], name, data, shape) for name in ours]
    tables[0].refused.update({f"split_{name}": len(found[name]) for name in found if name not in ours})
    return _gather(tables, data, shape)


# To add a data source: one function, one line here and one in params.Data.
SOURCES: dict[str, Callable[[Data, Shape, int, str], Loaded]] = {
    "embedded": _embedded,
    "file": _file,
    "hub": _hub,
}


# ------------------------------------------------------------------------------------------- records → frame


def _gather(tables: list[Table], data: Data, shape: Shape) -> Loaded:
    frame = pd.concat([_frame(table, data, shape) for table in tables], ignore_index=True)
    for name in set(shape.beside_gold) & set(frame.columns):
        frame[name] = frame[name].where(frame[name].notna(), None)  # of a file that lacks the column
    return frame, {
        "files": [file for table in tables for file in table.files],
        "rows": len(frame),
        "refused": dict(sum((table.refused for table in tables), Counter())),
        "columns": _mapping(tables[0], data, shape),
    }


def _mapping(table: Table, data: Data, shape: Shape) -> dict[str, str]:
    """Which of their columns fills which of ours; gold and split may be absent unless the user names them."""
    names = (*columns(shape)[1:], *shape.beside_gold)
    wanted = {name: data.columns.get(name) or _name(table, name) for name in names}
    if table.split is not None:
        del wanted["split"]  # the file's or the data set's own goes before a column
    present = {ours: theirs for ours, theirs in wanted.items() if _has(table, theirs)}
    for ours in (*shape.required, *data.columns):
        if ours in wanted and ours not in present:
            free = [name for name in table.known if name not in present.values()] or table.known or ["..."]
            raise InputError(
                f"{table.name}: there is no column {wanted[ours]!r} among {', '.join(table.known) or 'none at all'}; "
                f"name yours in params.yaml, for example data.columns: {{{ours}: {free[0]}}}"
            )
    return present


def _name(table: Table, ours: str) -> str:
    """Their name of a column that the user has not named: ours, or what well-known data sets call it."""
    return next((name for name in (ours, *presets.ALIASES.get(ours, ())) if _has(table, name)), ours)


def _has(table: Table, column: str) -> bool:
    return column in table.known or (
        "." in column and any(_pick(record, column) is not None for _, record in table.records)
    )


def _pick(record: dict[str, Any], column: str) -> Any:
    """A value; "translation.en" reaches into a column of objects."""
    if column in record or "." not in column:
        return record.get(column)
    value: Any = record
    for part in column.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _frame(table: Table, data: Data, shape: Shape) -> pd.DataFrame:
    mapping = _mapping(table, data, shape)
    rows = [f"{table.prefix}:{number}" for number, _ in table.records]
    content: dict[str, list[Any]] = {"row": rows, "split": [table.split] * len(rows)}
    for ours in (*columns(shape)[2:], *(name for name in shape.beside_gold if name in mapping)):
        convert = cells.CONVERSIONS.get(ours, cells.text)
        theirs = mapping.get(ours)
        values = [None if theirs is None else _pick(record, theirs) for _, record in table.records]
        content[ours] = [convert(value, ours, row) for value, row in zip(values, rows, strict=True)]
    if shape.label is not None:
        content[shape.label] = [None if label == "" else label for label in content[shape.label]]
    if table.split is None and "split" in mapping:
        values = [_pick(record, mapping["split"]) for _, record in table.records]
        content["split"] = _splits(values, rows, meant="split" in data.columns)
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in content.items()})
    if len(shape.gold_texts) == 1:
        numbered = [
            cells.numbered(gold, text) for gold, text in zip(frame[shape.gold], frame[shape.source], strict=True)
        ]
        frame[shape.gold] = pd.Series(numbered, dtype=object)
    for name in {shape.gold, *shape.beside_gold} & set(frame.columns):
        cells.check_words(frame, shape, name)
    # JSON can spell half a character ("\ud83d" alone); no file in UTF-8 could hold the row.
    texts = frame[[*shape.required, *shape.optional]]
    whole = ~texts.map(lambda cell: bool(HALF_CHARACTER.search(records.spelled(cell)))).any(axis=1)
    if not whole.all():
        table.refused["half_character"] += int((~whole).sum())
    return frame[whole]


def _splits(values: list[Any], rows: list[str], *, meant: bool) -> list[str | None]:
    """The splits in a column of the data; one that the user has not named and that holds none of the names is about
    something else."""
    texts = [cells.text(value, "split", row).strip() for value, row in zip(values, rows, strict=True)]
    splits = [SPLIT_NAMES.get(text.lower()) for text in texts]
    for split, text, row in zip(splits, texts, rows, strict=True):
        if (meant or any(splits)) and text and split is None:
            raise InputError(f"{row}: the split {text!r} is not one of {', '.join(SPLIT_NAMES)}; rename it")
    return splits


def _check_classes(frame: pd.DataFrame, label: str, name: str) -> None:
    classes = {name for cell in frame[label] for name in records.labels(cell)}
    if len(classes) < 2:
        found = f"only one class, {classes.pop()!r}," if classes else "no label"
        raise InputError(
            f"{name}: there is {found} in {len(frame)} rows, but a classifier needs two; "
            f"add rows of another class or name the right column in data.columns.{label}"
        )


def _read(given: str | list[str], split: str | None, shape: Shape, unit: str) -> Table:
    names = [given] if isinstance(given, str) else given
    rows, contents = readers.read(names, shape, unit)
    rows = presets.understood(rows, shape, shown(names[0]))
    if not rows:
        raise InputError(f"{names[0]} holds no rows (a header at most); add some or name another file")
    files = [_entry(shown(n), c, len(rows), split) for n, c in zip(names, contents, strict=True)]
    return Table(names[0], shown(names[0]), split, rows, _known(rows), files)


def _known(records: Records) -> list[str]:
    return list(dict.fromkeys(column for _, record in records for column in record))


def _entry(name: str, content: bytes, rows: int, split: str | None) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"path": name, "bytes": len(content), "sha256": digest, "rows": rows, "split": split}


def _load_dataset(data: Data) -> dict[str, Any]:
    """The splits of a data set: on the Hub, or in a local directory that `datasets` understands."""
    import datasets  # takes a second

    name = str(data.name)
    directory = found(name)
    try:
        return dict(datasets.load_dataset(str(directory) if directory.is_dir() else name, data.config))
    except ConnectionError:
        raise InputError(
            f"{name} cannot be fetched without a network; connect, or name a local directory in data.name or a "
            "file in data.path"
        ) from None
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"{name} cannot be loaded as a data set ({reason}); check data.name and data.config") from None


def _table(dataset: Any, split: str, data: Data, shape: Shape) -> Table:
    wanted = {data.columns.get(name, name) for name in (*columns(shape)[1:], *shape.beside_gold)}
    wanted |= {alias for name in columns(shape) for alias in presets.ALIASES.get(name, ())}
    wanted |= {"answers", "story", "supporting", "is_impossible"} if shape.answer else set()
    wanted |= {name.split(".")[0] for name in wanted}
    known = list(dataset.column_names)
    values = dataset.select_columns([name for name in known if name in wanted])[:]
    for name, feature in dataset.features.items():
        inner = getattr(feature, "feature", feature)  # of a list
        if name in values and hasattr(inner, "int2str"):
            values[name] = [_class_names(value, inner) for value in values[name]]
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    content = "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows).encode()
    entry = _entry(split, content, len(rows), SPLIT_NAMES[split])
    understood = presets.understood(list(enumerate(rows, start=1)), shape, split)
    known = list(dict.fromkeys([*known, *_known(understood)]))
    return Table(f"{data.name}, split {split}", split, SPLIT_NAMES[split], understood, known, [entry])


def _class_names(value: Any, feature: Any) -> Any:
    """A class, or each of a list, by its name; −1 is a hidden label."""
    if isinstance(value, list):
        return [feature.int2str(number) for number in value]
    return feature.int2str(value) if value is not None and value >= 0 else None

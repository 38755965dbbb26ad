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
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pandas as pd

from attention_lab import presets, readers, records
from attention_lab.corpora import CORPORA
from attention_lab.errors import InputError
from attention_lab.params import Data
from attention_lab.readers import Records, found, shown
from attention_lab.records import SPLITS, Shape, columns

Loaded = tuple[pd.DataFrame, dict[str, Any]]  # (frame, manifest)

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
    return _gather([_read(names, split, shape, data.unit) for split, names in given.items() if names], data, shape)


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
    return column in table.known or any(_pick(record, column) is not None for _, record in table.records)


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
        convert = CONVERSIONS.get(ours, _gold if ours == shape.gold else _text)
        theirs = mapping.get(ours)
        values = [None if theirs is None else _pick(record, theirs) for _, record in table.records]
        content[ours] = [convert(value, ours, row) for value, row in zip(values, rows, strict=True)]
    if shape.label is not None:
        content[shape.label] = [None if label == "" else label for label in content[shape.label]]
    if table.split is None and "split" in mapping:
        content["split"] = _splits([_pick(record, mapping["split"]) for _, record in table.records], rows)
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in content.items()})
    if len(shape.gold_texts) == 1:
        numbered = [_numbered(gold, text) for gold, text in zip(frame[shape.gold], frame[shape.source], strict=True)]
        frame[shape.gold] = pd.Series(numbered, dtype=object)
    for name in {shape.gold, *shape.beside_gold} & set(frame.columns):
        _check_words(frame, shape, name)
    # JSON can spell half a character ("\ud83d" alone); no file in UTF-8 could hold the row.
    whole = ~frame[list(shape.required)].map(lambda cell: bool(_HALF_CHARACTER.search(records.spelled(cell)))).any(
        axis=1
    )
    if not whole.all():
        table.refused["half_character"] += int((~whole).sum())
    return frame[whole]


_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def _text(value: Any, column: str, row: str) -> str:
    """A value as text; "" for none, 1 for 1.0, since tables turn whole numbers with gaps into floats."""
    if isinstance(value, str):
        return value
    if value is None or value != value:  # only NaN differs from itself
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(int(value)) if value == value // 1 else str(value)
    return _wrong(value, column, row, "a text or a number")


def _start(value: Any, column: str, row: str) -> int:
    """The place of an answer; −1 if it is not given."""
    if value is None or value != value or value == "":
        return -1
    try:
        return int(value)
    except (TypeError, ValueError):
        return _wrong(value, column, row, "a number of characters")


def _references(value: Any, column: str, row: str) -> list[str] | None:
    """Further answers, in JSON if the file has no lists."""
    if isinstance(value, str) and value:
        try:
            value = json.loads(value)
        except ValueError:
            _wrong(value, column, row, "a list of texts")
    if value is None or value != value or value == "":
        return None
    return value if _texts(value) else _wrong(value, column, row, "a list of texts")


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _labels(value: Any, column: str, row: str) -> list[str] | None:
    """Labels; in JSON or between bars if the file has no lists. An empty list or text is no label, None not known."""
    expected = "a list of labels, or labels between bars (a | b)"
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            _wrong(value, column, row, expected)
    if isinstance(value, str):
        return [label for label in value.split("|") if label.strip()]
    if value is None or value != value:
        return None
    found = value if isinstance(value, list) else [value]
    if not all(isinstance(label, str | int | float) for label in found):
        _wrong(value, column, row, expected)
    return [_text(label, column, row) for label in found]


CONVERSIONS: dict[str, Callable[[Any, str, str], Any]] = {
    "start": _start,
    "references": _references,
    "labels": _labels,
    "possible": lambda value, column, row: _gold(value, column, row),
}


def _gold(value: Any, column: str, row: str) -> list[Any] | None:
    expected, fits = GOLD[column]
    if isinstance(value, str) and fits is _pairs and _PHARAOH.fullmatch(value):
        return [[int(number) for number in link.split("-")] for link in value.split()]
    if isinstance(value, str) and value:  # CSV cannot hold a list, but the JSON of one
        try:
            value = json.loads(value)
        except ValueError:
            _wrong(value, column, row, expected)
    if value is None or value != value or value == "":
        return None
    return value if fits(value) else _wrong(value, column, row, expected)


_PHARAOH = re.compile(r"\s*\d+-\d+(\s+\d+-\d+)*\s*")


def _numbered(gold: list[Any] | None, text: str) -> list[Any] | None:
    """Word numbers; a list with a 0 or 1, or false or true, for each word of the text says which words they are.

    Where a text has one or two words, 0 and 1 can be either: if they differ they are numbers.
    """
    if not gold:
        return gold
    mask = len(gold) == len(text.split(" ")) and set(gold) <= {0, 1} and len(set(gold)) < len(gold)
    return [number for number, value in enumerate(gold) if value] if mask or type(gold[0]) is bool else gold


def _wrong(value: Any, column: str, row: str, expected: str) -> NoReturn:
    raise InputError(
        f"{row}: {column} should be {expected}, not {json.dumps(value, default=str)[:60]}; "
        "mend the row or name another column in data.columns"
    )


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _words(value: Any) -> bool:
    return _numbers(value) or (isinstance(value, list) and all(type(truth) is bool for truth in value))


def _pairs(value: Any) -> bool:
    return isinstance(value, list) and all(_numbers(pair) and len(pair) == 2 for pair in value)


# To add a kind of gold: what a value should be, and whether it is.
GOLD: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "alignment": ("a list of [source word, target word] pairs, or links like 0-0 1-2", _pairs),
    "possible": ("a list of [source word, target word] pairs, or links like 0-0 1-2", _pairs),
    "rationale": ("a list of word numbers, or of a 0 or 1 for each word", _words),
    "salient": ("a list of word numbers, or of a 0 or 1 for each word", _words),
    "support": ("a list of word numbers, or of a 0 or 1 for each word", _words),
    "true_nats": ("a number", lambda value: isinstance(value, int | float)),
}


def _check_words(frame: pd.DataFrame, shape: Shape, column: str) -> None:
    """Gold must point at words that are there."""
    known = frame[frame[column].notna()]
    for row, gold, *texts in known[["row", column, *shape.gold_texts]].itertuples(index=False):
        per_text = zip(*gold, strict=True) if len(shape.gold_texts) > 1 else [gold]
        for name, text, numbers in zip(shape.gold_texts, texts, per_text, strict=False):
            words = len(text.split(" "))
            if max(numbers, default=0) >= words:
                raise InputError(
                    f"{row}: {column} names word {max(numbers)} of {name}, but its {words} words, divided "
                    f"by single spaces, have the numbers 0 to {words - 1}; mend the row"
                )


def _splits(values: list[Any], rows: list[str]) -> list[str | None]:
    """The splits in a column of the data; a column that holds none of the names is about something else."""
    texts = [_text(value, "split", row).strip() for value, row in zip(values, rows, strict=True)]
    splits = [SPLIT_NAMES.get(text.lower()) for text in texts]
    for split, text, row in zip(splits, texts, rows, strict=True):
        if any(splits) and text and split is None:
            raise InputError(f"{row}: the split {text!r} is none of {', '.join(SPLIT_NAMES)}; rename it")
    return splits


def _check_classes(frame: pd.DataFrame, label: str, name: str) -> None:
    classes = {name for cell in frame[label] for name in records.labels(cell)}
    if len(classes) < 2:
        found = f"only one class, {classes.pop()!r}," if classes else "no label"
        raise InputError(
            f"{name}: there is {found} in {len(frame)} rows and a classifier needs two; "
            f"add rows of another class or name the right column in data.columns.{label}"
        )


def _read(given: str | list[str], split: str | None, shape: Shape, unit: str) -> Table:
    names = [given] if isinstance(given, str) else given
    rows, contents = readers.read(names, shape, unit)
    rows = presets.understood(rows, shape)
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
            f"{name} cannot be fetched without network; connect, or name a local directory in data.name or a "
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
    understood = presets.understood(list(enumerate(rows, start=1)), shape)
    known = list(dict.fromkeys([*known, *_known(understood)]))
    return Table(f"{data.name}, split {split}", split, SPLIT_NAMES[split], understood, known, [entry])


def _class_names(value: Any, feature: Any) -> Any:
    """A class, or each of a list, by its name; −1 is a hidden label."""
    if isinstance(value, list):
        return [feature.int2str(number) for number in value]
    return feature.int2str(value) if value is not None and value >= 0 else None

"""Where records come from: embedded corpora, a user's files, the Hugging Face Hub.

    bytes ── reader ──► [(number, {their column: value})] ── data.columns ──► frame of our columns

Values stay as they are, for cleaning judges them: a missing text is "", a missing label None. What cannot be
read ends in an `InputError`: one sentence that names the file, the row and the remedy.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attention_lab.corpora import CORPORA
from attention_lab.errors import InputError
from attention_lab.params import Data
from attention_lab.records import SPLITS, Shape, columns

Records = list[tuple[int, dict[str, Any]]]  # (line or element, counted from 1; values by their own column names)
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
    unknown = sorted(set(data.columns) - set(columns(shape)[1:]))
    if unknown:
        raise InputError(
            f"data.columns names {', '.join(unknown)}, which {task} does not have; "
            f"it can name {', '.join(columns(shape)[1:])}"
        )
    frame, manifest = SOURCES[data.source](data, shape, seed, task)
    if shape.label is not None:
        _check_classes(frame, shape.label, ", ".join(f["path"] for f in manifest["files"]) or str(data.name))
    return frame, {"source": data.source, **manifest}


def _embedded(data: Data, shape: Shape, seed: int, task: str) -> Loaded:
    frame = CORPORA[task](data.size, seed)[columns(shape)].astype(object)
    same = {name: name for name in (*shape.required, shape.gold)}
    return frame, {"files": [], "rows": len(frame), "refused": {}, "columns": same}


def _file(data: Data, shape: Shape, seed: int, task: str) -> Loaded:
    given = {None: data.path, "train": data.train, "valid": data.valid, "test": data.test}
    return _gather([_read(names, split, shape) for split, names in given.items() if names], data, shape)


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
    return frame, {
        "files": [file for table in tables for file in table.files],
        "rows": len(frame),
        "refused": dict(sum((table.refused for table in tables), Counter())),
        "columns": _mapping(tables[0], data, shape),
    }


def _mapping(table: Table, data: Data, shape: Shape) -> dict[str, str]:
    """Which of their columns fills which of ours; gold and split may be absent unless the user names them."""
    wanted = {name: data.columns.get(name, name) for name in columns(shape)[1:]}
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
    for ours in columns(shape)[2:]:
        convert = _gold if ours == shape.gold else _text
        theirs = mapping.get(ours)
        values = [None if theirs is None else _pick(record, theirs) for _, record in table.records]
        content[ours] = [convert(value, ours, row) for value, row in zip(values, rows, strict=True)]
    if shape.label is not None:
        content[shape.label] = [label or None for label in content[shape.label]]
    if table.split is None and "split" in mapping:
        content["split"] = _splits([_pick(record, mapping["split"]) for _, record in table.records], rows)
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in content.items()})
    _check_words(frame, shape)
    # JSON can spell half a character ("\ud83d" alone); no file in UTF-8 could hold the row.
    whole = ~frame[list(shape.required)].map(lambda text: bool(_HALF_CHARACTER.search(text or ""))).any(axis=1)
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


def _gold(value: Any, column: str, row: str) -> list[Any] | None:
    expected, fits = GOLD[column]
    if isinstance(value, str) and value:  # CSV cannot hold a list, but the JSON of one
        try:
            value = json.loads(value)
        except ValueError:
            _wrong(value, column, row, expected)
    if value is None or value != value or value == "":
        return None
    return value if fits(value) else _wrong(value, column, row, expected)


def _wrong(value: Any, column: str, row: str, expected: str) -> NoReturn:
    raise InputError(
        f"{row}: {column} should be {expected}, not {json.dumps(value, default=str)[:60]}; "
        "mend the row or name another column in data.columns"
    )


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _pairs(value: Any) -> bool:
    return isinstance(value, list) and all(_numbers(pair) and len(pair) == 2 for pair in value)


# To add a kind of gold: what a value should be, and whether it is.
GOLD: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "alignment": ("a list of [source word, target word] pairs", _pairs),
    "rationale": ("a list of word numbers", _numbers),
}


def _check_words(frame: pd.DataFrame, shape: Shape) -> None:
    """Gold must point at words that are there."""
    known = frame[frame[shape.gold].notna()]
    for row, gold, *texts in known[["row", shape.gold, *shape.texts]].itertuples(index=False):
        per_text = zip(*gold, strict=True) if shape.gold == "alignment" else [gold]
        for name, text, numbers in zip(shape.texts, texts, per_text, strict=False):
            words = len(text.split(" "))
            if max(numbers, default=0) >= words:
                raise InputError(
                    f"{row}: {shape.gold} names word {max(numbers)} of {name}, but its {words} words, divided "
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
    classes = frame[label].dropna().unique()
    if len(classes) < 2:
        found = f"only one class, {classes[0]!r}," if len(classes) else "no label"
        raise InputError(
            f"{name}: there is {found} in {len(frame)} rows and a classifier needs two; "
            f"add rows of another class or name the right column in data.columns.{label}"
        )


# ------------------------------------------------------------------------------------------ files → records


def _read(given: str | list[str], split: str | None, shape: Shape) -> Table:
    names = [given] if isinstance(given, str) else given
    stored = [_stored(name) for name in names]
    contents = [_unpacked(name, content) for name, content in zip(names, stored, strict=True)]
    records = _reader(names, shape)(names, contents)
    if not records:
        raise InputError(f"{names[0]} holds no rows (a header at most); add some or name another file")
    files = [_entry(_shown(n), s, len(records), split) for n, s in zip(names, stored, strict=True)]
    return Table(names[0], _shown(names[0]), split, records, _known(records), files)


def _reader(names: list[str], shape: Shape) -> Callable[[list[str], list[bytes]], Records]:
    extensions = [_extension(name) for name in names]
    if len(names) == 1 and extensions[0] in READERS:
        return lambda names, contents: READERS[extensions[0]](names[0], contents[0])
    table = next((name for name in names if _extension(name) in READERS), None)
    if shape.label is None and len(names) == len(shape.texts) and table is None:
        return lambda names, contents: _parallel(names, contents, shape)
    if len(names) > 1 and table is None and shape.label is None:
        raise InputError(f"{', '.join(names)}: parallel text is one file for each of {', '.join(shape.texts)}")
    if len(names) != 1:
        raise InputError(
            f"{', '.join(names)}: only parallel text (plain files, no labels) comes as a list; name one file"
        )
    raise InputError(
        f"{names[0]}: the extension {extensions[0] or '(none)'} is unknown; "
        f"use {', '.join(READERS)}, each also with .gz"
        + (f", or parallel text, a list of one file for each of {', '.join(shape.texts)}" * (shape.label is None))
    )


def _extension(name: str) -> str:
    return Path(name.removesuffix(".gz")).suffix.lower()


def _known(records: Records) -> list[str]:
    return list(dict.fromkeys(column for _, record in records for column in record))


def _shown(name: str) -> str:
    """A file's name in what we write: folders of this machine would make outputs differ on another."""
    return Path(name).name if Path(name).is_absolute() else name


def _entry(name: str, content: bytes, rows: int, split: str | None) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"path": name, "bytes": len(content), "sha256": digest, "rows": rows, "split": split}


def _found(name: str) -> Path:
    """Where a file is: here, or in the main workspace.

    DVC runs queued experiments in temporary workspaces, where untracked files are missing; DVC_ROOT names the
    main one.
    """
    main = Path(os.environ.get("DVC_ROOT", "."), name)
    return main if main.exists() and not Path(name).exists() else Path(name)


def _stored(name: str) -> bytes:
    try:
        return _found(name).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{name}: there is no such file; correct its name in params.yaml under data") from None
    except IsADirectoryError:
        raise InputError(f"{name} is a directory; name a file in it under data in params.yaml") from None
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}); check its permissions") from None


def _unpacked(name: str, content: bytes) -> bytes:
    if name.endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{name} is no whole gzip file ({error}); fetch it again") from None
    if not content.strip(b"\xef\xbb\xbf \t\r\n"):
        raise InputError(f"{name} is empty; name a file with rows under data in params.yaml")
    return content


def _decoded(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        encoding = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "WINDOWS-1252"
        raise InputError(
            f"{name}:{line}: the byte 0x{error.object[error.start]:02x} is not UTF-8; convert the file, "
            f"perhaps by `iconv -f {encoding} -t UTF-8 {name} > converted{_extension(name)}`"
        ) from None


def _csv(name: str, content: bytes) -> Records:
    """RFC 4180: quoted fields may hold commas, quotes (doubled) and newlines."""
    text = _decoded(name, content)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # its default refuses documents above 128 KiB
    reader = csv.reader(io.StringIO(text, newline="\n"), strict=True)
    return _with_header(name, _numbered(name, reader))


def _numbered(name: str, reader: Any) -> Iterator[tuple[int, list[str]]]:
    start = 1
    try:
        for fields in reader:
            yield start, fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{name}:{start}: the row that starts here is no valid CSV ({error}); "
            'put a field with quotes, commas or newlines into quotes and double the quotes in it ("")'
        ) from None


def _tsv(name: str, content: bytes) -> Records:
    """One row a line. Quotes are CSV's if all lines can be read so, else they are plain characters."""
    lines = [line.removesuffix("\r") for line in _decoded(name, content).split("\n")]
    csv.field_size_limit(max(csv.field_size_limit(), len(content)))
    try:
        rows = [next(csv.reader([line], delimiter="\t", strict=True), []) for line in lines]
        return _with_header(name, enumerate(rows, start=1))
    except (csv.Error, InputError):
        return _with_header(name, enumerate((line.split("\t") if line else [] for line in lines), start=1))


def _with_header(name: str, rows: Iterable[tuple[int, list[str]]]) -> Records:
    header: list[str] = []
    records: Records = []
    for line, fields in rows:
        if not fields:  # a blank line
            continue
        if not header:
            header = [column.strip() for column in fields]
            twice = [column for column in header if header.count(column) > 1]
            if twice:
                raise InputError(f"{name}:{line}: the header has the column {twice[0]!r} twice; rename one")
        elif len(fields) != len(header):
            raise InputError(
                f"{name}:{line}: the row has {len(fields)} fields and the header {len(header)} "
                f"({', '.join(header)}); quote fields that hold the separator"
            )
        else:
            records.append((line, dict(zip(header, fields, strict=True))))
    return records


def _json(name: str, content: bytes) -> Records:
    """An array of objects, or an object with one array of them."""
    value = _parsed(_decoded(name, content), name, None)
    if isinstance(value, dict):
        arrays = [part for part in value.values() if isinstance(part, list)]
        value = arrays[0] if len(arrays) == 1 else None
    if not isinstance(value, list):
        raise InputError(f"{name} is neither a JSON array of objects nor an object with one array; make it one")
    return [(number, _object(record, f"{name}:{number}")) for number, record in enumerate(value, start=1)]


def _jsonl(name: str, content: bytes) -> Records:
    # Not splitlines(): texts may hold U+2028 and others that it takes for line ends.
    lines = enumerate(_decoded(name, content).split("\n"), start=1)
    return [(n, _object(_parsed(line, name, n), f"{name}:{n}")) for n, line in lines if line.strip()]


def _parsed(text: str, name: str, line: int | None) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        several = error.msg == "Extra data" and line is None
        raise InputError(
            f"{name}:{line or error.lineno}: broken JSON at character {error.colno}: {error.msg}; "
            + ("if every line is an object of its own, name the file .jsonl" if several else "mend the line")
        ) from None


def _object(value: Any, row: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f'{row}: an object like {{"text": …}} was expected, not {json.dumps(value)[:60]}; mend it')
    return value


def _parquet(name: str, content: bytes) -> Records:
    try:
        return list(enumerate(pq.read_table(pa.BufferReader(content)).to_pylist(), start=1))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{name} is no readable Parquet file ({reason}); write or fetch it again") from None


def _parallel(names: list[str], contents: list[bytes], shape: Shape) -> Records:
    """Plain text, line n of every file is row n."""
    texts = [_decoded(n, c).removesuffix("\n").split("\n") for n, c in zip(names, contents, strict=True)]
    if len({len(lines) for lines in texts}) > 1:
        found = ", ".join(f"{name} has {len(lines)}" for name, lines in zip(names, texts, strict=True))
        raise InputError(f"parallel text needs the same number of lines, but {found}; mend the files")
    stripped = [[line.removesuffix("\r") for line in lines] for lines in texts]
    rows = zip(*stripped, strict=True)
    return [(n, dict(zip(shape.texts, row, strict=True))) for n, row in enumerate(rows, start=1)]


# To add a file format: one function and one line here.
READERS: dict[str, Callable[[str, bytes], Records]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".json": _json,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}


# -------------------------------------------------------------------------------------- data set → records


def _load_dataset(data: Data) -> dict[str, Any]:
    """The splits of a data set: on the Hub, or in a local directory that `datasets` understands."""
    import datasets  # takes a second

    name = str(data.name)
    directory = _found(name)
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
    wanted = {data.columns.get(name, name) for name in columns(shape)[1:]}
    wanted |= {name.split(".")[0] for name in wanted}
    known = list(dataset.column_names)
    values = dataset.select_columns([name for name in known if name in wanted])[:]
    for name, feature in dataset.features.items():
        if name in values and hasattr(feature, "int2str"):  # classes by name; -1 is a hidden label
            values[name] = [feature.int2str(v) if v is not None and v >= 0 else None for v in values[name]]
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    content = "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows).encode()
    entry = _entry(split, content, len(rows), SPLIT_NAMES[split])
    records = list(enumerate(rows, start=1))
    return Table(f"{data.name}, split {split}", split, SPLIT_NAMES[split], records, known, [entry])

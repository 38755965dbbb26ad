"""Files → records: a reader for each format.

Values stay as they are written. What cannot be read ends in an `InputError`: one sentence that names the file, the
line and the remedy. Lines end at "\\n" alone: texts may hold other characters that Unicode counts as line ends.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import zlib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from attention_lab.errors import InputError
from attention_lab.records import Shape

# What plain text may be called: nothing, .txt, .md, or by its language, such as .en or .pt-br. Of any other name nobody
# knows that it holds no table, whose syntax would be learned.
PLAIN = re.compile(r"|\.txt|\.md|\.[a-z]{2}([-_][a-z]{2,4})?")

# What packed files begin with, whatever they are called (zip, bzip2, xz, gzip, 7z, zstd, Excel before 2007), and what
# they are called.
PACKED = re.compile(rb"PK\x03\x04|BZh[1-9]1AY|\xfd7zXZ|\x1f\x8b|7z\xbc\xaf|\x28\xb5\x2f\xfd|\xd0\xcf\x11\xe0")
ARCHIVES = (".zip", ".bz2", ".xz", ".7z", ".zst", ".rar", ".tar", ".tgz")

# What texts with several bytes a character begin with; that of UTF-32 begins with that of UTF-16.
WIDE = {BOM_UTF32_LE: "UTF-32", BOM_UTF32_BE: "UTF-32", BOM_UTF16_LE: "UTF-16", BOM_UTF16_BE: "UTF-16"}

Records = list[tuple[int, dict[str, Any]]]  # (line or element, counted from 1; values by their own column names)


def read(names: list[str], shape: Shape, unit: str = "line") -> tuple[Records, list[bytes]]:
    """The records of one file, or of the files of one parallel text, and the bytes of each file as stored.

    unit: what a record of plain text is, where there is but one column of text: line, paragraph or file.
    """
    contents = [_stored(name) for name in names]
    unpacked = [_unpacked(name, content) for name, content in zip(names, contents, strict=True)]
    return _reader(names, shape, unit)(names, unpacked), contents


def opened(name: str) -> Records | str:
    """The records of a table, or the text of a file of any other kind."""
    content = _unpacked(name, _stored(name))
    extension = _extension(name)
    return READERS[extension](name, content) if extension in READERS else _lined(name, content)


def _reader(names: list[str], shape: Shape, unit: str) -> Callable[[list[str], list[bytes]], Records]:
    extensions = [_extension(name) for name in names]
    if len(names) == 1 and extensions[0] in READERS:
        return lambda names, contents: READERS[extensions[0]](names[0], contents[0])
    texts_alone, several = shape.required == shape.texts, len(shape.texts) > 1
    table = any(extension in READERS for extension in extensions)
    # The extensions of a parallel text may also say which side each file is, as in x.src and x.tgt.
    sides = len(set(extensions)) == len(names) > 1
    strange = [] if sides else [name for name in names if not PLAIN.fullmatch(_extension(name))]
    if texts_alone and len(names) == len(shape.texts) and not table and not strange:
        if several or unit == "line":
            return lambda names, contents: _parallel(names, contents, shape)
        return lambda names, contents: _plain(names[0], contents[0], shape, unit)
    if len(names) > 1 and (table or not (texts_alone and several)):
        raise InputError(
            f"{', '.join(names)}: only parallel text (plain files, no labels) comes as a list; name one file"
        )
    if len(names) > 1 and len(names) != len(shape.texts):
        raise InputError(f"{', '.join(names)}: parallel text is one file for each of {', '.join(shape.texts)}")
    name = (strange or names)[0]
    raise InputError(
        f"{name}: the extension {_extension(name) or '(none)'} is unknown; "
        f"use {', '.join(READERS)}, each also with .gz"
        + (f", or parallel text, a list of one file for each of {', '.join(shape.texts)}" * (texts_alone and several))
        + (", or .txt for plain text" * (texts_alone and not several))
    )


def _extension(name: str) -> str:
    return Path(re.sub(r"\.gz$", "", name, flags=re.IGNORECASE)).suffix.lower()


def shown(name: str) -> str:
    """A file's name in what we write: folders of this machine would make outputs differ on another."""
    return Path(name).name if Path(name).is_absolute() else name


def found(name: str) -> Path:
    """Where a file is: here, or in the main workspace.

    DVC runs queued experiments in temporary workspaces, where untracked files are missing; DVC_ROOT names the
    main one.
    """
    main = Path(os.environ.get("DVC_ROOT", "."), name)
    return main if main.exists() and not Path(name).exists() else Path(name)


def _stored(name: str) -> bytes:
    try:
        return found(name).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{name}: there is no such file; correct its name in params.yaml under data") from None
    except IsADirectoryError:
        raise InputError(f"{name} is a directory; name a file in it under data in params.yaml") from None
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}); check its permissions") from None


def _unpacked(name: str, content: bytes) -> bytes:
    if name.lower().endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{name} is not a complete gzip file ({error}); fetch it again") from None
    if PACKED.match(content) or _extension(name) in ARCHIVES:
        raise InputError(f"{name} is an archive or an Excel file; unpack it or save its table as CSV, and name that")
    if not content.strip(b"\xef\xbb\xbf \t\r\n"):
        raise InputError(f"{name} is empty; name a file with rows")
    return content


def _decoded(name: str, content: bytes) -> str:
    encoding = _wide(content)
    if encoding is None:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            encoding, wrong = "WINDOWS-1252", error.start
    else:
        wrong = next(place for place, byte in enumerate(content) if byte in (0x00, 0xFE, 0xFF))
    line = content[:wrong].count(b"\n") + 1
    raise InputError(
        f"{name}:{line}: the byte 0x{content[wrong]:02x} is not UTF-8; convert the file, perhaps with "
        f"`iconv -f {encoding} -t UTF-8 {name} > converted{_extension(name)}`"
    )


def _wide(content: bytes) -> str | None:
    """The encoding of a text with two or four bytes a character, known by its mark or by its many zeros."""
    for mark, encoding in WIDE.items():
        if content.startswith(mark):
            return encoding
    share = content.count(0) / max(1, len(content))
    if share < 1 / 4:
        return None
    return ("UTF-16" if share < 2 / 3 else "UTF-32") + ("BE" if content[0] == 0 else "LE")


def _lined(name: str, content: bytes) -> str:
    """Text whose lines mean something."""
    text = _decoded(name, content)
    if "\r" in text and "\n" not in text:
        raise InputError(
            f"{name}: its lines end in CR alone, so it would be one line; convert its line endings, perhaps "
            f"with `tr '\\r' '\\n' < {name} > converted{_extension(name)}`"
        )
    return text


def _csv(name: str, content: bytes) -> Records:
    """RFC 4180: quoted fields may hold commas, quotes (doubled) and newlines. Where the header has no comma outside of
    quotes, a semicolon or a tab in it separates the fields, as in files of Excel."""
    text = _lined(name, content)
    header = re.sub('"[^"]*"', "", text.lstrip("\r\n").partition("\n")[0])
    separator = next((mark for mark in ",;\t" if mark in header), ",")
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # its default refuses documents above 128 KiB
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=separator, strict=True)
    return _with_header(name, _numbered(name, reader))


def _numbered(name: str, reader: Any) -> Iterator[tuple[int, list[str]]]:
    start = 1
    try:
        for fields in reader:
            yield start, fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{name}:{start}: the row that starts here is not valid CSV ({error}); "
            'quote fields that hold quotes, separators or newlines, and double the quotes inside ("")'
        ) from None


def _tsv(name: str, content: bytes) -> Records:
    """One row a line. Quotes are CSV's if all lines can be read so, else they are plain characters."""
    lines = [line.removesuffix("\r") for line in _lined(name, content).split("\n")]
    csv.field_size_limit(max(csv.field_size_limit(), len(content)))
    try:
        rows = [next(csv.reader([line], delimiter="\t", strict=True), []) for line in lines]
        return _with_header(name, enumerate(rows, start=1))
    except (csv.Error, InputError):
        plain = enumerate((line.split("\t") if line else [] for line in lines), start=1)
        return _with_header(name, plain, "a row is one line here; in a .csv quoted fields may hold tabs and newlines")


def _with_header(
    name: str, rows: Iterable[tuple[int, list[str]]], remedy: str = "quote fields that hold the separator"
) -> Records:  # fmt: skip
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
                f"{name}:{line}: the row has {len(fields)} fields, the header {len(header)} "
                f"({', '.join(header)}); {remedy}"
            )
        else:
            records.append((line, dict(zip(header, fields, strict=True))))
    return records


def _json(name: str, content: bytes) -> Records:
    """An array of objects, or an object with one array of them."""
    value = parsed(_decoded(name, content), name)
    if isinstance(value, dict):
        arrays = [part for part in value.values() if isinstance(part, list)]
        value = arrays[0] if len(arrays) == 1 else None
    if not isinstance(value, list):
        raise InputError(
            f"{name} is neither a JSON array of objects nor an object with one array; make it one of these"
        )
    return [(number, _object(record, f"{name}:{number}")) for number, record in enumerate(value, start=1)]


def _jsonl(name: str, content: bytes) -> Records:
    # Not splitlines(): texts may hold U+2028 and others that it takes for line ends.
    lines = enumerate(_lined(name, content).split("\n"), start=1)
    return [(n, _object(parsed(line, name, n), f"{name}:{n}")) for n, line in lines if line.strip()]


def parsed(text: str, name: str, line: int | None = None) -> Any:
    """What JSON says.

    Args:
        line: the number of the only line of the file that this is; None: it is the whole file.

    Raises:
        InputError: it is no JSON, or more than can be read.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        several = line is None and error.msg == "Extra data"
        spread = line is not None and text.strip() in ("[", "{")
        raise InputError(
            f"{name}:{line or error.lineno}: broken JSON at character {error.colno}: {error.msg}; "
            + (
                "if every line is an object of its own, name the file .jsonl"
                if several
                else "if the file is one value over several lines, name it .json"
                if spread
                else "fix the line"
            )
        ) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or lists in lists without end
        raise InputError(f"{name}:{line or 1}: this JSON cannot be read ({error}); fix it") from None


def _object(value: Any, row: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f'{row}: an object like {{"text": …}} was expected, not {json.dumps(value)[:60]}; fix it')
    return value


def _parquet(name: str, content: bytes) -> Records:
    try:
        return list(enumerate(pq.read_table(pa.BufferReader(content)).to_pylist(), start=1))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{name} is not a readable Parquet file ({reason}); write or fetch it again") from None


def _parallel(names: list[str], contents: list[bytes], shape: Shape) -> Records:
    """Plain text, line n of every file is row n."""
    texts = [_lined(n, c).removesuffix("\n").split("\n") for n, c in zip(names, contents, strict=True)]
    if len({len(lines) for lines in texts}) > 1:
        found = ", ".join(f"{name} has {len(lines)}" for name, lines in zip(names, texts, strict=True))
        raise InputError(f"parallel text needs the same number of lines, but {found}; fix the files")
    stripped = [[line.removesuffix("\r") for line in lines] for lines in texts]
    rows = zip(*stripped, strict=True)
    return [(n, dict(zip(shape.texts, row, strict=True))) for n, row in enumerate(rows, start=1)]


def _plain(name: str, content: bytes, shape: Shape, unit: str) -> Records:
    """Plain text in paragraphs, divided by empty lines and numbered by their first line, or as one text."""
    text = _lined(name, content).replace("\r\n", "\n")
    if unit == "file":
        return [(1, {shape.source: text})]
    found, line = [], 1
    for piece in re.split(r"(\n(?:[ \t]*\n)+)", text):
        if piece.strip():
            found.append((line + len(piece) - len(piece.lstrip("\n")), {shape.source: piece.strip("\n")}))
        line += piece.count("\n")
    return found


# To add a file format: one function and one line here.
READERS: dict[str, Callable[[str, bytes], Records]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".json": _json,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".parquet": _parquet,
}

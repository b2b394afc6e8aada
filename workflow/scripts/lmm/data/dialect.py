"""How text files are written: encoding, delimiter, decimal mark. A study states it, or it is found in the file.

DuckDB reads UTF-8. A file in another encoding is copied to a temporary file in UTF-8, once in each process, and
removed when the process ends.
"""

import atexit
import codecs
import contextlib
import csv
import gzip
import io
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from lmm.core.errors import StudyError

# Bytes from which the encoding is found, and the first of these from which delimiter and decimal mark are.
ENCODING_BYTES, SAMPLE_BYTES = 1 << 24, 1 << 20
SAMPLE_RECORDS = 200
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
LATIN = "latin-1"
# A character of several bytes in UTF-8; hardly ever two characters of Latin-1.
MULTIBYTE = re.compile(rb"[\xc3-\xf4][\x80-\xbf]")
# A number with a decimal comma, one with a decimal point, and one whose comma may mark thousands.
COMMA = re.compile(r"[-+]?[0-9]*,[0-9]+([eE][-+]?[0-9]+)?")
POINT = re.compile(r"[-+]?[0-9]*\.[0-9]+([eE][-+]?[0-9]+)?")
THOUSANDS = re.compile(r"[-+]?[0-9]{1,3},[0-9]{3}")


@dataclass(frozen=True)
class Reading:
    """What a study states of its text files; empty text where it is to be found in them.

    Attributes
    ----------
    delimiter, decimal, encoding : str
    missing : tuple of str
        Marks of a missing value beside the usual ones (`source.MISSING`).
    """

    delimiter: str = ""
    decimal: str = ""
    encoding: str = ""
    missing: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Reading":
        """From the keys `csv` and `missing_values` of a study, or of data.json."""
        return cls(**settings.get("csv", {}), missing=tuple(settings.get("missing_values", ())))

    def plain(self) -> dict[str, Any]:
        """The keys that `of` reads, without those that state nothing."""
        stated = {key: getattr(self, key) for key in ("delimiter", "decimal", "encoding")}
        return {
            "csv": {key: value for key, value in stated.items() if value},
            "missing_values": [*self.missing],
        }


UNSTATED = Reading()


@dataclass(frozen=True)
class Dialect:
    """How one file is written; `decimal` is empty where none of the first rows has a decimal number."""

    delimiter: str
    decimal: str
    encoding: str


def detect(file: str, kind: str, stated: Reading) -> tuple[Dialect, list[list[str]]]:
    """A file's dialect, and its first records.

    Parameters
    ----------
    file : str
    kind : "csv" or "tsv"
        By the suffix; another delimiter is taken where the file plainly has it.
    stated : Reading

    Raises
    ------
    StudyError
        The file cannot be read, or not in the encoding that the study states, or is no text.
    """
    try:
        with (gzip.open if file.lower().endswith(".gz") else open)(file, "rb") as opened:
            raw = opened.read(ENCODING_BYTES)
            cut = bool(opened.read(1))
    except (OSError, EOFError) as error:
        raise StudyError(file, f"cannot be read: {error}, expected {kind.upper()} text") from None
    encoding = stated.encoding or _encoding(file, raw, not cut)
    try:
        text = _decoder(encoding).decode(raw[:SAMPLE_BYTES], not cut and len(raw) <= SAMPLE_BYTES)
    except UnicodeError as error:
        what = f"cannot be read: {error}, expected text in {encoding}, as `csv: {{encoding}}` says"
        raise StudyError(file, what) from None
    text = text.removeprefix("\ufeff")
    if cut or len(raw) > SAMPLE_BYTES:
        text = text[: text.rfind("\n") + 1] or text
    default = "," if kind == "csv" else "\t"
    delimiter = stated.delimiter or _delimiter(text, default)
    found = _records(text, delimiter)
    return Dialect(delimiter, stated.decimal or _decimal(found[1:], delimiter), encoding), found


def described(dialect: Dialect, kind: str, stated: Reading) -> str:
    """What was found, and not stated, that differs from the usual; empty where nothing does."""
    said = []
    if not stated.delimiter and dialect.delimiter != {"csv": ",", "tsv": "\t"}[kind]:
        said.append(f"fields separated by {NAMES[dialect.delimiter]}")
    if not stated.decimal and dialect.decimal == ",":
        said.append("decimal commas")
    if not stated.encoding and dialect.encoding != "utf-8":
        said.append("Latin-1 (Windows-1252)" if dialect.encoding == LATIN else dialect.encoding.upper())
    return ", ".join(said)


def in_utf8(file: str, encoding: str) -> str:
    """The path of a copy in UTF-8; of the file itself where that is its encoding.

    Raises
    ------
    StudyError
        A byte that is not in the encoding.
    """
    return file if encoding == "utf-8" else _copy(file, encoding)


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lmm-recovery-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _copy(file: str, encoding: str) -> str:
    path = _folder() / f"{len(list(_folder().iterdir()))}.csv"
    decoder = _decoder(encoding)
    try:
        with (
            (gzip.open if file.lower().endswith(".gz") else open)(file, "rb") as source,
            open(path, "w", encoding="utf-8", newline="") as copy,
        ):
            while block := source.read(SAMPLE_BYTES):
                copy.write(decoder.decode(block))
            copy.write(decoder.decode(b"", True))
    except UnicodeError as error:
        what = (
            f"cannot be read: {error}, expected text in {encoding}; `csv: {{encoding: ...}}` states another"
        )
        raise StudyError(file, what) from None
    return str(path)


class _Latin(codecs.IncrementalDecoder):
    """Latin-1 as it is met: the bytes 0x80 to 0x9f are Windows-1252's characters, such as €, where it has some."""

    table = "".join(
        bytes([k]).decode("cp1252", "ignore") or chr(k) if 0x80 <= k < 0xA0 else chr(k) for k in range(256)
    )

    def decode(self, input: bytes, final: bool = False) -> str:
        return codecs.charmap_decode(input, self.errors, self.table)[0]


def _decoder(encoding: str) -> Any:
    return _Latin() if encoding == LATIN else codecs.getincrementaldecoder(encoding)()


def _encoding(file: str, raw: bytes, whole: bool) -> str:
    """UTF-16 by its mark, else UTF-8 where it is that throughout, else Latin-1.

    Raises
    ------
    StudyError
        Bytes of no text, or both UTF-8 and bytes that are none: their encoding cannot be told.
    """
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in raw:
        raise StudyError(file, "cannot be read: it has bytes that are not text, expected text in UTF-8")
    try:
        _decoder("utf-8").decode(raw, whole)
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        if before.isascii() and not MULTIBYTE.search(raw, error.start):
            return LATIN
        line = before.count(b"\n") + 1
        what = (
            f"cannot be read: byte 0x{raw[error.start]:02x} in line {line} is not UTF-8, other characters are"
        )
        advice = "expected one encoding in the whole file, or `csv: {encoding: latin-1}`"
        raise StudyError(file, f"{what}; {advice}") from None
    return "utf-8"


def _records(text: str, delimiter: str) -> list[list[str]]:
    """The first records, as far as they can be read; a blank line is an empty one."""
    records: list[list[str]] = []
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    with contextlib.suppress(csv.Error):  # a field of more than 128 kB: not a table with this delimiter
        records.extend(islice(lines, SAMPLE_RECORDS))
    return records


def _delimiter(text: str, default: str) -> str:
    """The delimiter that gives two columns or more, the same number in every record if possible; else the default."""
    scores = {}
    for sign in (default, *(sign for sign in NAMES if sign != default)):
        sizes = [len(record) for record in _records(text, sign) if record]
        if sizes and sizes[0] > 1:
            scores[sign] = len(set(sizes)) == 1, sizes[0]
    return max(scores, key=scores.get) if scores else default


def _decimal(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    """The decimal mark of the numbers; empty where there are none, both marks, or commas of thousands."""
    fields = [field.strip() for row in rows for field in row]
    commas = [field for field in fields if COMMA.fullmatch(field)]
    if any(POINT.fullmatch(field) for field in fields):
        return "" if commas else "."
    grouped = delimiter == "," and all(THOUSANDS.fullmatch(field) for field in commas)
    return "," if commas and not grouped else ""

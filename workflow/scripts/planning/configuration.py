"""Whether a configuration file can be read at all: what Snakemake would answer with a traceback, in one line."""

import codecs
import os
from collections.abc import Mapping
from pathlib import Path

import yaml

from lmm.core.errors import StudyError

# Deeper nesting than this is no configuration of ours, and more than Python's recursion allows several readers.
DEEPEST = 50
LONGEST = 1024  # bits of a whole number, as of the largest floating-point one


def check(file: str | Path) -> None:
    """Read a configuration file as Snakemake is going to.

    Parameters
    ----------
    file : str or Path
        The configuration's.

    Raises
    ------
    StudyError
        No such file, a broken link, no UTF-8, no YAML, nested too deeply, a number too long to be read.
    """
    text = _text(str(file))
    try:
        found = yaml.safe_load(text)
        _nested(found, 0)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        place = f" in line {at.line + 1}, column {at.column + 1}" if at else ""
        raise StudyError(str(file), f"is not YAML: {error.problem}{place}; expected YAML or JSON") from None
    except yaml.YAMLError as error:
        said = str(error).splitlines()[0]
        raise StudyError(str(file), f"is not YAML: {said}; expected YAML or JSON as text") from None
    except RecursionError:
        raise StudyError(
            str(file), f"is nested too deeply or refers to itself; expected no more than {DEEPEST} levels"
        ) from None
    except ValueError as error:  # a number of more than 4,300 digits, a date that does not exist
        raise StudyError(str(file), f"has a value that cannot be read: {error}; expected another") from None
    if not isinstance(found, Mapping):
        raise StudyError(str(file), f"has no keys at its top: {str(found)[:40]!r}; expected `studies:`")


def _text(file: str) -> str:
    """The file's content."""
    if os.path.islink(file) and not os.path.exists(file):
        what = f"is a link to {os.readlink(file)!r}, which is not there or leads back to itself"
        raise StudyError(file, f"{what}; expected a configuration file")
    if os.path.isdir(file):
        raise StudyError(file, "is a directory; expected a configuration file")
    try:
        raw = Path(file).read_bytes()
    except OSError as error:
        raise StudyError(file, f"cannot be read: {error.strerror}; expected a configuration file") from None
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise StudyError(file, "is in UTF-16; expected UTF-8: save it in that encoding")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{raw[error.start]:02x} in line {line} is not UTF-8, perhaps Latin-1"
        raise StudyError(file, f"{what}; expected UTF-8: save it in that encoding") from None


def _nested(value: object, depth: int) -> None:
    """Go through all levels.

    Raises
    ------
    RecursionError
        There are more than `DEEPEST` of them, as where a part refers to itself.
    ValueError
        A number that Python does not write out.
    """
    if depth > DEEPEST:
        raise RecursionError
    if isinstance(value, int) and value.bit_length() > LONGEST:
        raise ValueError(f"a number of more than {LONGEST} bits")
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for part in parts:
        _nested(part, depth + 1)

"""Artifacts that are not whole, places that cannot be written, and what to say of either.

Ours are written whole or not at all (lmm.store); a file system that lost its last writes, a disk that filled up
under another program, or a copy that broke off can still leave half of one. Every run looks at its artifacts
before it plans, every job at its inputs before it reads: half an artifact is never read, but made anew.
"""

import errno
import json
import os
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path

MARKERS = Path(".snakemake/incomplete")
HDF5 = b"\x89HDF\r\n\x1a\n"
KINDS = (".parquet", ".nc", ".csv", ".json")
JSON_LIMIT = 10_000_000  # bytes; larger ones are judged by their last byte
NOT_OURS = "read-only or not yours: make it writable, then run again; what is finished stays"
# What the system says, in whichever library's words, and what a user can do.
SAYS = {
    errno.ENOSPC: "the disk is full: make room, then run again; what is finished stays",
    errno.EDQUOT: "the disk quota is used up: make room, then run again; what is finished stays",
    errno.EROFS: NOT_OURS,
    errno.EACCES: NOT_OURS,
}


def flaw(path: str | Path) -> str:
    """What shows that a file was cut short, by its format's own marks; empty where nothing does.

    Parquet ends with its magic number, HDF5 says in its superblock how long it is, our text ends with a newline
    and our JSON parses. Reading the ends takes microseconds whatever the size.
    """
    path = Path(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(48)
        file.seek(max(size - 4, 0))
        tail = file.read()
    if path.suffix == ".parquet" and (size < 12 or head[:4] != b"PAR1" or tail != b"PAR1"):
        return "not a whole Parquet file"
    if path.suffix == ".nc" and (head[:8] != HDF5 or size < _hdf5_length(head)):
        return "not a whole NetCDF file"
    if path.suffix in (".csv", ".json") and not tail.endswith(b"\n"):
        return "its end is missing"
    if path.suffix == ".json" and size <= JSON_LIMIT:
        try:
            json.loads(path.read_bytes())
        except ValueError:
            return "not whole JSON"
    return ""


def _hdf5_length(head: bytes) -> int:
    """End of file as an HDF5 superblock has it (versions 0 to 3, offsets of 8 bytes)."""
    at = {0: 40, 1: 44}.get(head[8], 28)
    return int.from_bytes(head[at : at + 8], "little") if len(head) >= at + 8 else 1 << 63


def flaws(paths: Iterable[str | Path]) -> Iterator[tuple[str, str]]:
    """(path, flaw) of those files below results/ that are not whole; a user's own files are not judged."""
    for path in map(str, paths):
        if path.startswith("results/") and os.path.isfile(path) and (what := flaw(path)):
            yield path, what


def mark(results: Path) -> list[str]:
    """Tell Snakemake of artifacts that are not whole as what they are: incomplete, to be made again.

    A marker is a file in .snakemake/incomplete named after the artifact, as Snakemake itself leaves there when it
    is killed; with `rerun-incomplete` (every profile of ours) the artifact's job runs again, and what depends
    on it. Moving the file away would not do: an artifact that is missing but older than its descendants
    is not missed.

    Parameters
    ----------
    results : Path
        Directory of all artifacts.

    Returns
    -------
    list of str
        One line per file, for the user.
    """
    files = []
    for folder, inner, names in os.walk(results):
        # a replay is a run of its own, with a .snakemake of its own, and looks at its artifacts itself
        inner[:] = sorted(set(inner) - {"replays"} if folder == str(results) else inner)
        files += [
            os.path.join(folder, name) for name in sorted(names) if name.endswith(KINDS) and name[0] != "."
        ]
    said = []
    for path, what in flaws(files):
        marker = MARKERS / urlsafe_b64encode(path.encode()).decode()
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text('{"external_jobid": null}')
        said.append(f"{path}: {what}; it is made anew")
    return said


def unwritable(results: Path, studies: Iterable[str]) -> list[str]:
    """One line for each folder in which nothing can be written, where Snakemake would end in a traceback."""
    folders = [("", str(results))] * results.exists()
    folders += [(f"studies.{study}.", folder) for study in studies for folder, *_ in os.walk(results / study)]
    return [f"{where}{folder}: {NOT_OURS}" for where, folder in folders if not os.access(folder, os.W_OK)]


def advice(error: BaseException) -> str:
    """What to do about an error that the system, not the study, is to blame for; empty for others.

    Libraries wrap the system's errors in their own, some as text alone, so both are looked at.
    """
    for code, what in SAYS.items():
        if getattr(error, "errno", None) == code or os.strerror(code) in str(error):
            return what
    return ""

"""A plan that was made once is used again while nothing that it depends on has changed.

Validation imports formulaic and pydantic, which takes as long as Snakemake's own start. Its result is
therefore kept in .snakemake/ and used again while configuration and library are the same to the byte, and
data files to size and time of change. A bad configuration is never kept.
"""

import glob
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

KEPT = Path(".snakemake/lmm-plan.json")
SCRIPTS = Path(__file__).parents[1]


def fingerprint(config: Mapping[str, Any], root: Path) -> str:
    """Changes with everything that a plan depends on: configuration, data files, this package and the library."""
    files = sorted(
        {file for pattern in _patterns(config) for file in glob.glob(pattern, root_dir=root, recursive=True)}
    )
    data = [(file, *_state(root / file)) for file in files]
    known = repr([config, data, sys.version, sys.prefix])  # repr takes whatever YAML allows, as keys too
    digest = hashlib.sha256(known.encode())
    for module in [*sorted(SCRIPTS.glob("planning/*.py")), *sorted(SCRIPTS.glob("lmm/**/*.py"))]:
        digest.update(module.read_bytes())
    return digest.hexdigest()


def _state(file: Path) -> tuple[int, int]:
    """Size and time of change; zeros for a link that leads nowhere."""
    try:
        stat = os.stat(file)
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _patterns(config: Mapping[str, Any]) -> Iterator[str]:
    """Files and globs that studies name; the configuration may be wrong in every way that YAML allows."""
    studies = config.get("studies")
    for study in studies.values() if isinstance(studies, Mapping) else ():
        if isinstance(study, Mapping):
            data = study.get("data")
            named = [*(data if isinstance(data, list) else [data]), study.get("predict"), study.get("truth")]
            yield from (pattern for pattern in named if isinstance(pattern, str))


def read(root: Path, key: str) -> dict[str, Any] | None:
    """The plan kept under this fingerprint; None where there is none, or not a whole one."""
    try:
        kept = json.loads((root / KEPT).read_text())
        return kept["plan"] if kept["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(root: Path, key: str, plan: dict[str, Any]) -> None:
    """Write the plan whole or not at all; a directory that cannot be written costs a second, not the run."""
    path = root / KEPT
    try:
        path.parent.mkdir(exist_ok=True)
        name = path.with_suffix(f".{os.getpid()}")
        name.write_text(json.dumps({"key": key, "plan": plan}))
        name.replace(path)
    except OSError:
        pass

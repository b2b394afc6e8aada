"""A plan is frozen: written before the first replicate, with its hash and the time, and never written again.

The modules used here are no inputs of the rule: neither an edit of the library nor another configuration makes it run
again, and where something else does, the plan that is there stays.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lmm.core.store import read_json, write_json, write_text
from lmm.recovery import deviations
from lmm.report import plan_page
from running import integrity


def freeze(plan: Mapping[str, Any], file: str | Path, page: str | Path) -> None:
    """Write a study's plan and its page, unless there is one.

    Parameters
    ----------
    plan : mapping
        Of `protocol.protocol`.
    file : str or Path
        plan.json: `plan`; `sha256` of its canonical JSON; `written`, the time in UTC; `chunks_before`, the number of
        files of replicates that were there.
    page : str or Path
        The same for readers.
    """
    file = Path(file)
    if file.exists() and not integrity.flaw(file):
        found = read_json(file)
    else:
        there = list(file.parent.glob("chunks/*/*.parquet"))
        written = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        found = {
            "sha256": deviations.digest(plan),
            "written": written,
            "chunks_before": len(there),
            "plan": dict(plan),
        }
        write_json(file, found)
    if not Path(page).exists():
        write_text(page, plan_page.render(found))

"""The page on a plan, for readers and for registration: written with plan.json, before the first replicate."""

from collections.abc import Mapping
from typing import Any

from lmm.core.words import counted
from lmm.report.page import assemble
from lmm.report.text import plan as text


def render(record: Mapping[str, Any]) -> str:
    """The page's HTML.

    Parameters
    ----------
    record : mapping
        plan.json: plan, sha256, written, chunks_before.
    """
    plan = record["plan"]
    return assemble(
        "plan/plan.html.j2",
        title=f"Plan: {plan['title']}",
        written=record["written"],
        sha256=record["sha256"],
        before=before(record),
        missing=text.wanting(plan),
        parts=text.parts(plan),
    )


def before(record: Mapping[str, Any]) -> str:
    """Whether the plan was there before the first replicate."""
    there = record["chunks_before"]
    if not there:
        return "before the first replicate"
    return f"when {counted(there, 'file')} of replicates {'was' if there == 1 else 'were'} there already"

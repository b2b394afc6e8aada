"""Tables of tests, of means, slopes and contrasts, and of models that are compared."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lmm.core import engines
from lmm.core.tidy import EFFECTS_FIRST, EFFECTS_LAST
from lmm.core.words import estimated, fixed, given, label, listed, p_value, places
from lmm.model.formula import unweighted
from lmm.report.interest import bare, compared, df_places, is_fixed
from lmm.report.tables.paper import Block, Paper, Part, together
from lmm.results import order
from lmm.results.labels import factors
from lmm.results.study import Results

KINDS = {"mean": "Estimated marginal means", "slope": "Average slopes", "contrast": "Contrasts"}


def tests(results: Results) -> Paper | None:
    """F tests of the terms, type III, where a term has several columns or interacts."""
    frame = results.tables.get("tests")
    if frame is None or not len(frame):
        return None
    frame = frame[frame["type"] == "III"]
    if (frame["num_df"] == 1).all() and not any(len(factors(term)) > 1 for term in frame["term"]):
        return None  # the t tests of the results table
    rows = tuple(
        (
            " × ".join(results.labels.column(bare(part)) for part in factors(row["term"])),
            fixed(row["F"], 2),
            fixed(row["num_df"], 0),
            fixed(row["den_df"], df_places(frame["den_df"])),
            p_value(row["p_value"]),
        )
        for row in frame.to_dict("records")
    )
    note = f"By {label(engines.first(results.fits, engines.EXACT) or '')}, type III."
    blocks = (Block("", ("F", "Num. df", "Den. df", "p")),)
    return Paper("tests", "F tests of terms", results.title, note, blocks, (Part("", rows),))


def _adds(results: Results, frame: pd.DataFrame) -> bool:
    """Whether the table has more than slopes that are fixed effects."""
    return any(row["kind"] != "slope" or not is_fixed(results, row) for row in frame.to_dict("records"))


def effects(results: Results) -> Paper | None:
    """Means, slopes and contrasts, engines side by side."""
    frame = order.effects(results)
    if frame is None or not len(frame) or not _adds(results, frame):
        return None
    grid = [name for name in frame if name not in (*EFFECTS_FIRST, *EFFECTS_LAST)]
    rows: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in frame.to_dict("records"):
        rows.setdefault((row["kind"], _name(results, row, grid)), {})[row["engine"]] = row
    own = {
        name: _cells(results, name, {key: by[name] for key, by in rows.items() if name in by})
        for name in engines.ordered(frame["engine"].unique())
    }
    numbers = {
        name: (own[name][0], {key: by[name] for key, by in rows.items() if name in by}) for name in own
    }
    alike = sorted(together(numbers), key=lambda same: results.pooled in same)
    merged = {(results.exact if results.exact in same else same[0]): same for same in alike}
    blocks = tuple(
        Block(listed([label(one) for one in same]), own[first][0]) for first, same in merged.items()
    )
    parts = []
    for kind, title in KINDS.items():
        lines = []
        for key in rows:
            if key[0] == kind:
                cells = [
                    own[first][1].get(key, ("",) * len(block.columns))
                    for first, block in zip(merged, blocks, strict=True)
                ]
                lines.append((key[1], *(text for cell in cells for text in cell)))
        if lines:
            parts.append(Part(title, tuple(lines)))
    adjusted = (frame["kind"] == "contrast") & (frame["p_adjusted"] - frame["p_value"]).abs().gt(1e-12)
    note = (
        "p and confidence intervals of contrasts are adjusted for several comparisons."
        if adjusted.any()
        else ""
    )
    return Paper("effects", "Means, slopes and contrasts", results.title, note, blocks, tuple(parts))


def _name(results: Results, row: Mapping[str, Any], grid: list[str]) -> str:
    labels, effect = results.labels, str(row["effect"])
    cells = {name.strip("`"): row[name] for name in grid if row[name] == row[name] and row[name] != ""}
    values = [f"{labels.column(name)} = {labels.level(name, _text(value))}" for name, value in cells.items()]
    if row["kind"] == "mean":
        return listed(values) or f"{labels.column(effect)}"
    end = f" ({listed(values)})" if values else ""
    if row["kind"] == "slope":
        return f"{labels.column(effect)}{end}"
    a, b = compared(results, effect, str(row["contrast"]))
    return f"{labels.column(effect)}: {f'{a} vs {b}' if b else a}{end}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _cells(
    results: Results, engine: str, rows: Mapping[tuple[str, str], Mapping[str, Any]]
) -> tuple[tuple[str, ...], dict[tuple[str, str], tuple[str, ...]]]:
    """An engine's columns and the cells of its rows."""
    bayes, pooled = engine == results.bayes, engine == results.pooled and bool(results.mixed)
    by_t = any(np.isfinite(row["df"]) for row in rows.values())
    columns = ("Estimate", f"{results.level} {'CrI' if bayes else 'CI'}")
    if not pooled:
        columns += ("P(direction)",) if bayes else (*(("df",) if by_t else ()), "p")
    cells = {}
    for key, row in rows.items():
        decimals = places(row["std_error"])
        low, high = (estimated(row[side], decimals) for side in ("conf_low", "conf_high"))
        shown = (estimated(row["estimate"], decimals), f"{low} to {high}")
        tested = row["kind"] != "mean"  # that a mean is 0 is no question
        if bayes:
            shown += (p_value(row["prob_direction"]) if tested else "",)
        elif not pooled:
            p = row["p_adjusted"] if row["kind"] == "contrast" else row["p_value"]
            df = (fixed(row["df"], df_places(one["df"] for one in rows.values())),) if by_t else ()
            shown += (*df, p_value(p) if tested else "")
        cells[key] = shown
    return columns, cells


def models(results: Results) -> Paper | None:
    """Models by information criteria and elpd."""
    frame = results.tables.get("models")
    if frame is None or not len(frame):
        return None
    numbers = [
        ("parameters", "Parameters", 0), ("logLik", "log L", 1), ("AIC", "AIC", 1), ("delta_AIC", "Δ AIC", 1),
        ("weight", "Weight", 2), ("BIC", "BIC", 1), ("delta_BIC", "Δ BIC", 1), ("elpd", "elpd", 1),
        ("delta_elpd", "Δ elpd", 1), ("delta_elpd_se", "SE", 1),
    ]  # fmt: skip
    numbers = [one for one in numbers if one[0] in frame and frame[one[0]].notna().any()]
    rows = tuple(
        (
            f"{row['model']}: {unweighted(row['formula'])}",
            *(fixed(row[name], decimals) for name, _, decimals in numbers),
        )
        for row in frame.to_dict("records")
    )
    odd = frame[frame["status"] != "ok"]
    note = "Models of the same rows, by maximum likelihood."
    if "elpd" in frame and frame["elpd"].notna().any():
        note += f" elpd: {label(engines.of_family(engines.ENGINES, engines.BAYES)[0])}, leave-one-group-out."
    note += "".join(f" {row.model}: {row.status}." for row in odd.itertuples())
    blocks = (Block("", tuple(title for _, title, _ in numbers)),)
    return Paper("models", "Comparison of models", results.title, note, blocks, (Part("", rows),))


def model_tests(results: Results) -> Paper | None:
    """Likelihood-ratio tests of nested models."""
    frame = results.tables.get("model_tests")
    if frame is None or not len(frame):
        return None
    tails = [
        ("p_value", "p"), ("p_mixture", "p, mixture at the boundary"), ("p_bootstrap", "p, bootstrap"),
    ]  # fmt: skip
    tails = [one for one in tails if frame[one[0]].notna().any()]
    rows = tuple(
        (
            f"{row['null']} within {row['alternative']}",
            row["method"],
            fixed(row["chisq"], 2),
            given(row["df"]),
            *(p_value(row[name]) for name, _ in tails),
        )
        for row in frame.to_dict("records")
    )
    blocks = (Block("", ("By", "χ²", "df", *(title for _, title in tails))),)
    title = "Likelihood-ratio tests of nested models"
    return Paper("model_tests", title, results.title, "", blocks, (Part("", rows),))

"""The report's tables of tests, of means, slopes and contrasts, and of models that are compared."""

import numpy as np
import pandas as pd

from lmm.comparison.effects import FIRST, LAST
from lmm.core.words import label, p_value
from lmm.report.tables.table import Column, Table, table
from lmm.results.study import Results


def _with_p(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    """The frame with p values as text; what has none stays empty."""
    shown = {
        name: [p_value(p) if np.isfinite(p) else None for p in frame[name].astype(float)] for name in names
    }
    return frame.assign(**shown)


def tests(results: Results) -> Table | None:
    """F tests of the terms, type III."""
    frame = results.tables.get("tests")
    if frame is None or not len(frame):
        return None
    frame = _with_p(frame[frame["type"] == "III"], "p_value")
    columns = [
        Column("term", "Term", False),
        Column("F", "F", decimals=3),
        Column("num_df", "Num. df", decimals=0),
        Column("den_df", "Den. df", decimals=2),
        Column("p_value", "Pr(>F)", False),
    ]
    return table("tests", "reml: F tests of the fixed effects' terms, type III.", frame, columns)


def effects(results: Results) -> Table | None:
    """Means, slopes and contrasts of every engine."""
    frame = results.tables.get("effects")
    if frame is None or not len(frame):
        return None
    frame = _with_p(frame, "p_adjusted", "p_value").assign(engine=[label(name) for name in frame["engine"]])
    contrast = frame["kind"] == "contrast"
    frame["p"] = frame["p_adjusted"].where(contrast, frame["p_value"])
    grid = [name for name in frame if name not in (*FIRST, *LAST, "p")]
    level = f"{100 * results.conf_level:g} %"
    columns = [
        Column("engine", "Engine", False),
        Column("effect", "Of", False),
        Column("kind", "Kind", False),
        *(Column(name, name, False, missing="") for name in grid),
        Column("contrast", "Contrast", False, missing=""),
        Column("estimate", "Estimate"),
        Column("std_error", "Std. error"),
        Column("df", "df", decimals=1),
        Column("conf_low", "Low"),
        Column("conf_high", "High"),
        Column("p", "p", False),
        Column("prob_direction", "P(direction)", decimals=3),
    ]
    caption = f"Means, slopes and contrasts; Low and High: {level} interval; p of contrasts: adjusted."
    return table("effects", caption, frame, columns)


def models(results: Results) -> Table | None:
    """Models by information criteria and elpd."""
    frame = results.tables.get("models")
    if frame is None or not len(frame):
        return None
    columns = [
        Column("model", "Model", False),
        Column("formula", "Formula", False),
        Column("parameters", "Parameters", decimals=0),
        Column("logLik", "log L", decimals=2),
        Column("AIC", "AIC", decimals=2),
        Column("delta_AIC", "Δ AIC", decimals=2),
        Column("weight", "Weight", decimals=3, coarse=True),
        Column("BIC", "BIC", decimals=2),
        Column("delta_BIC", "Δ BIC", decimals=2),
        Column("elpd", "elpd", decimals=1),
        Column("delta_elpd", "Δ elpd", decimals=1),
        Column("delta_elpd_se", "Its SE", decimals=1),
        Column("status", "Status", False),
    ]
    return table("models", "Models of the same rows, by maximum likelihood; elpd: PyMC.", frame, columns)


def model_tests(results: Results) -> Table | None:
    """Likelihood-ratio tests of nested models."""
    frame = results.tables.get("model_tests")
    if frame is None or not len(frame):
        return None
    frame = _with_p(frame, "p_value", "p_mixture", "p_bootstrap")
    columns = [
        Column("null", "Null", False),
        Column("alternative", "Alternative", False),
        Column("method", "By", False),
        Column("chisq", "χ²", decimals=3, coarse=True),
        Column("df", "df", decimals=0),
        Column("p_value", "p", False),
        Column("mixture", "At the boundary", False, missing=""),
        Column("p_mixture", "p, mixture", False),
        Column("p_bootstrap", "p, bootstrap", False),
    ]
    return table("model-tests", "Likelihood-ratio tests of nested models.", frame, columns)

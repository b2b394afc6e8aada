"""Fitted lines and residuals of every engine, for figures and for the report's group detail.

All from the tidy tables: an engine's fit of a row is (its fixed effects) x (the row's model matrix) plus, where it
has them, the group's random effects x (their columns).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from lmm.results.study import Results

CURVE = 25  # points on a fitted curve that is not a straight line


@dataclass(frozen=True)
class Fitted:
    """The rows of a study with what is needed to evaluate every engine's fit on them."""

    results: Results

    @cached_property
    def design(self):
        """The model matrix's recipe, None without rows."""
        from lmm.model import design, formula

        if self.results.rows is None:
            return None
        parsed = formula.parse(self.results.settings["formula"])
        levels = {
            name: column["levels"]
            for name, column in self.results.data["columns"].items()
            if column.get("levels") and name not in self.results.label_columns
        }
        return design.build(parsed, self.results.rows, levels)

    @cached_property
    def averaged(self) -> frozenset[str]:
        """Columns whose mean is a value that they may have: numbers that stand for no categories."""
        columns = self.results.data["columns"]
        numbers = {name for name, about in columns.items() if about.get("type") == "numeric"}
        return frozenset(numbers) - self.results.label_columns

    @cached_property
    def x(self) -> str | None:
        """The predictor on the horizontal axis: the first numeric one with a random slope, else the first."""
        names = self.results.data["columns"]
        numeric = [name for name in names if name in self.averaged and name != self.results.response]
        terms = self.results.random_terms
        slopes = [name for name in numeric if any(name in (t.strip("`"), *t.split(":")) for t in terms)]
        return next(iter(slopes + numeric), None)

    @cached_property
    def codes(self) -> np.ndarray:
        """Each row's group as a position in `results.levels`."""
        return pd.Index(self.results.levels).get_indexer(self.results.rows[self.results.group].astype(str))

    def response(self, rows: pd.DataFrame | None = None) -> np.ndarray:
        """The response as the model sees it (`np.log(y)` and the like evaluated)."""
        return self.design.matrix(self.results.rows if rows is None else rows)[0]

    def predict(self, engine: str, rows: pd.DataFrame, codes: np.ndarray | None) -> np.ndarray:
        """An engine's fit of `rows`: with random effects where `codes` gives their groups, else without.

        Parameters
        ----------
        engine : str
        rows : DataFrame
            All columns that the formula names.
        codes : (n,) int array or None

        Returns
        -------
        (n,) float array
        """
        _, matrix = self.design.matrix(rows)
        columns = list(self.design.terms.columns)
        fit = sum(
            value * matrix[:, columns.index(term)]
            for term, value in self.results.fixed(engine).items()
            if term in columns
        )
        if codes is not None and engine in self.results.mixed:
            effects = self.results.wide(engine).to_numpy()
            z = matrix[:, [columns.index(term) for term in self.results.random_terms]]
            fit = fit + np.einsum("ij,ij->i", z, effects[codes])
        return np.asarray(fit, float)

    def residuals(self, engine: str) -> np.ndarray:
        """Response minus the engine's fit (random effects included), a value per row."""
        left = self.response() - self.predict(engine, self.results.rows, None)
        for own in self.results.by_factor if engine in self.results.mixed else ():
            left -= Fitted(own).random(engine)
        return left

    def random(self, engine: str) -> np.ndarray:
        """An engine's random effects of the grouping factor times their columns, one value per row."""
        _, matrix = self.design.matrix(self.results.rows)
        z = matrix[:, [self.design.terms.columns.index(term) for term in self.results.random_terms]]
        return np.einsum("ij,ij->i", z, self.results.wide(engine).to_numpy()[self.codes])

    @cached_property
    def grid(self) -> tuple[pd.DataFrame, np.ndarray]:
        """Rows over each group's range of `x`, other predictors at the group's mean or commonest level, and codes."""
        rows, codes, x = self.results.rows, self.codes, self.x
        typical = {}
        order = np.argsort(codes, kind="stable")
        first = order[np.searchsorted(codes[order], np.arange(len(self.results.levels)))]
        for name in rows.columns:
            if name == x:
                continue
            column = rows[name]
            if name in self.averaged:
                sums = np.bincount(codes, weights=column.to_numpy(float), minlength=len(self.results.levels))
                typical[name] = sums / np.bincount(codes, minlength=len(self.results.levels))
            else:
                typical[name] = column.to_numpy()[first]
        by = rows[x].groupby(codes)
        low, high = by.min().to_numpy(float), by.max().to_numpy(float)
        share = np.linspace(0, 1, CURVE)
        frame = pd.DataFrame({name: np.repeat(values, CURVE) for name, values in typical.items()})
        frame[x] = (low[:, None] + share * (high - low)[:, None]).ravel()
        return frame, np.repeat(np.arange(len(low)), CURVE)

    def lines(self, engine: str, random: bool = True) -> np.ndarray | None:
        """An engine's fitted line in each group: (groups, points, 2), two points where the line is straight."""
        if self.x is None or self.design is None:
            return None
        frame, codes = self.grid
        fit = self.predict(engine, frame, codes if random else None).reshape(-1, CURVE)
        x = frame[self.x].to_numpy().reshape(-1, CURVE)
        chord = fit[:, :1] + (fit[:, -1:] - fit[:, :1]) * np.linspace(0, 1, CURVE)
        straight = np.allclose(fit, chord, rtol=0, atol=1e-9 * (1 + np.abs(fit).max()))
        keep = [0, -1] if straight else slice(None)
        return np.stack([x[:, keep], fit[:, keep]], axis=2)

    @cached_property
    def own(self) -> tuple[np.ndarray, np.ndarray]:
        """Least squares of the response on `x` in each group alone: intercepts and slopes, (groups,) each.

        A group whose `x` does not vary has its mean as intercept and a slope of NaN.
        """
        y = self.response()
        x = self.results.rows[self.x].to_numpy(float) if self.x else np.zeros_like(y)
        groups = len(self.results.levels)

        def mean(values):
            return np.bincount(self.codes, weights=values, minlength=groups) / np.bincount(
                self.codes, minlength=groups
            )

        with np.errstate(invalid="ignore", divide="ignore"):
            x_mean, y_mean = mean(x), mean(y)
            dx, dy = x - x_mean[self.codes], y - y_mean[self.codes]
            sxx = mean(dx * dx)
            slope = np.where(sxx > 1e-12 * (1 + x_mean**2), mean(dx * dy) / sxx, np.nan)
        return np.where(np.isnan(slope), y_mean, y_mean - slope * x_mean), slope

    def own_lines(self) -> np.ndarray:
        """The groups' own least-squares lines over their range of `x`: (groups, 2, 2)."""
        by = self.results.rows[self.x].groupby(self.codes)
        ends = np.column_stack([by.min().to_numpy(float), by.max().to_numpy(float)])
        intercept, slope = self.own
        return np.stack([ends, intercept[:, None] + np.nan_to_num(slope)[:, None] * ends], axis=2)

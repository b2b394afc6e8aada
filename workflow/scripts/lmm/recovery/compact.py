"""Replicates in blocks through the compiled path: fixed effects and variance parameters by OLS and reml.

The data sets, optima and tests are those of the full path to rounding; what is left out is group effects, variance
explained and profile intervals. A replicate whose digits or information look short is fitted by the full path.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats

from lmm.core import engines as catalogue
from lmm.core.tidy import RESIDUAL, group_of, truth_of
from lmm.engines import reml as exact_fit
from lmm.inference import compact
from lmm.inference.intervals import wald_intervals
from lmm.likelihood.problem import layout
from lmm.recovery.chunks import REPLICATES
from lmm.recovery.plan import BLOCK
from lmm.recovery.replicate import Engine, one_line
from lmm.simulation.batch import Drawn

UNSURE = "no stop of the optimiser passed the second-order test: the estimates may be off"
STATUSES = (
    "ok",
    "singular",
    catalogue.UNIDENTIFIED,
    "non-converged",
    "error",
)  # `compact`'s numbers, and error
VALUES = ("estimate", "std_error", "conf_low", "conf_high")


@dataclass
class Fits:
    """The fits of one engine to replicates first, first + 1, ... of a design.

    Attributes
    ----------
    first : int
    keys : list of (effect, group, term, method of df)
    truth : (k,) array
        NaN: none.
    values : dict of (n, k) arrays
        `VALUES`, NaN: none.
    status : (n,) int array
        Index into `STATUSES`.
    messages : dict of int to str
        By row.
    seconds : (n,) array
    """

    first: int
    keys: list[tuple[str, str, str, str]]
    truth: np.ndarray
    values: dict[str, np.ndarray]
    status: np.ndarray
    seconds: np.ndarray
    messages: dict[int, str] = field(default_factory=dict)

    @property
    def usable(self) -> np.ndarray:
        """Fits whose estimates are used, (n,)."""
        return self.status <= STATUSES.index("singular")


def ends_of_blocks(first: int, stop: int) -> Iterator[tuple[int, int]]:
    """Blocks of replicates first ... stop - 1 that end at multiples of `BLOCK`: first, and the one after the last."""
    while first < stop:
        end = min((first // BLOCK + 1) * BLOCK, stop)
        yield first, end
        first = end


class Design:
    """A design's source with the study's engines, ready for blocks of replicates.

    Parameters
    ----------
    source : Simulated or Bootstrap
        Of the replicates.
    engines : mapping
        ols and reml, of those that the study has.
    level : float
        Of the intervals.
    """

    def __init__(self, source: Any, engines: Mapping[str, Engine], level: float):
        self.level, self.engines = level, engines
        self.replicates, self.source = source, source.compact()
        truth = source.parameters_in_words()
        exact = catalogue.first(engines, catalogue.EXACT)
        first = engines[exact or next(iter(engines))]
        self.fixed, self.ols = first.terms.fixed, catalogue.first(engines, catalogue.POOLED)
        self.exact = exact
        self.structure = layout(first.terms.blocks)
        ml = bool(exact) and first.settings.get("method") == "ml"
        self.model = compact.Model.of(self.source.basis, self.fixed, self.structure, ml)
        self.offset = np.array([truth["fixed"][term] for term in self.fixed])
        group = first.terms.group
        variances = [("ran_pars", group_of(term, group), term, "") for term in self.structure.terms]
        self.keys = {}
        if self.ols:
            residual = ("ran_pars", group_of(RESIDUAL, ""), RESIDUAL, "")
            self.keys[self.ols] = [*(("fixed", "", term, "") for term in self.fixed), residual]
        if exact:
            tests = [("fixed", "", term, method) for term in self.fixed for method in first.methods]
            self.keys[exact] = tests + variances
        self.methods = first.methods if exact else []
        self.truth = {
            name: np.array([truth_of(truth, group, term) for _, group, term, _ in keys], dtype=float)
            for name, keys in self.keys.items()
        }
        k = len(self.structure.terms)
        self.start = self.model.start(self.truth[exact][-k:]) if exact else None
        self._lanes = None

    def blocks(self, first: int, stop: int) -> Iterator[dict[str, Fits]]:
        """Replicates first ... stop - 1 in blocks that end at multiples of `BLOCK`."""
        for start, end in ends_of_blocks(first, stop):
            yield self.block(start, end)

    def block(self, first: int, stop: int) -> dict[str, Fits]:
        """Fits of replicates first ... stop - 1 by every engine."""
        n, p = stop - first, len(self.fixed)
        k, structure, model = len(self.structure.terms), self.structure, self.model
        spans = np.array(structure.blocks)
        pairs = np.array(structure.correlations, dtype=np.int64).reshape(-1, 2)
        ols, reml = np.full((n, 2 * p + 1), np.nan), np.full((n, 3 * p + 2 * k), np.nan)
        failed = STATUSES.index("error")
        status = {name: np.full(n, failed) for name in self.keys}
        seconds = {name: np.full(n, np.nan) for name in self.keys}
        messages: dict[str, dict[int, str]] = {name: {} for name in self.keys}
        rows = np.zeros(n)
        clock = time.perf_counter
        for at in range(n):
            name = self.ols or self.exact
            try:
                began = clock()
                drawn = self.source.draw(first + at)
                if self._lanes is None:
                    self._lanes = compact.lanes_for(len(drawn.gram), len(structure.random), p)
                total = compact.packed(drawn.gram, drawn.total, model.combine_x, model.combine_z, self._lanes)
                rows[at] = drawn.n_rows
                if self.ols:
                    compact.least_squares(total, drawn.n_rows, model.x_map, ols[at])
                    status[self.ols][at], seconds[self.ols][at] = 0, clock() - began
                if self.exact:
                    name, began = self.exact, clock()
                    status[name][at] = compact.reml(
                        spans, structure.rows, structure.cols, pairs, self.start, self._lanes, total, drawn.n_rows,
                        model.x_map, model.z_map, model.y_scale, model.ml, reml[at],
                    )  # fmt: skip
                    if status[name][at] == compact.UNSURE or self._few(drawn):
                        status[name][at], messages[name][at] = self._in_full(first + at, reml[at])
                    seconds[name][at] = clock() - began
            except Exception as error:  # whatever it is, it is this replicate's result
                for engine in self.keys:
                    if status[engine][at] == failed:
                        messages[engine][at] = one_line(error)
        found = {}
        if self.ols:
            found[self.ols] = self._ols(first, ols, rows - p, status, seconds, messages)
        if self.exact:
            for at in np.flatnonzero(status[self.exact] == compact.NOT_CONVERGED):
                messages[self.exact][int(at)] = UNSURE
            found[self.exact] = self._reml(first, reml, status, seconds, messages)
        return {name: found[name] for name in self.engines}

    def _few(self, drawn: Drawn) -> bool:
        """Whether a parameter may be lost: hardly any rows beyond one for each random effect, or groups."""
        sizes, p = drawn.gram[:, 0, 0], len(self.fixed)
        spare = np.maximum(sizes - len(self.structure.random), 0.0).sum()
        return bool(spare <= p or np.count_nonzero(sizes) <= p)

    def _in_full(self, replicate: int, found: np.ndarray) -> tuple[int, str]:
        """Status and message of a replicate by the full path; `found` gets what `compact.reml` writes."""
        moments, structure, p = self.replicates.draw(replicate).moments, self.structure, len(self.fixed)
        blocks = tuple(structure.random[start:stop] for start, stop in structure.blocks)
        fit, _ = exact_fit.fit(
            moments, self.fixed, blocks, self.level, profile=False, ranef=False, df="satterthwaite", ml=self.model.ml
        )  # fmt: skip
        values = fit.parameters[["estimate", "std_error", "df"]].to_numpy(dtype=float)
        found[: 3 * p] = (values[:p] - [[offset, 0.0, 0.0] for offset in self.offset]).T.ravel()
        found[3 * p :] = values[p:, :2].T.ravel()
        return STATUSES.index(fit.diagnostics.status), fit.diagnostics.message

    def _ols(self, first, ols, df, status, seconds, messages) -> Fits:
        p = len(self.fixed)
        tail = 0.5 - self.level / 2
        with np.errstate(invalid="ignore"):
            reach = stats.t.ppf(1 - tail, df)[:, None] * ols[:, p : 2 * p]
            low, high = (np.sqrt(df / stats.chi2.ppf(q, df)) for q in (1 - tail, tail))
        beta, sigma = ols[:, :p] + self.offset, ols[:, -1] * self.model.y_scale
        nothing = np.full(len(ols), np.nan)
        values = {
            "estimate": np.column_stack([beta, sigma]),
            "std_error": np.column_stack([ols[:, p : 2 * p], nothing]),
            "conf_low": np.column_stack([beta - reach, low * sigma]),
            "conf_high": np.column_stack([beta + reach, high * sigma]),
        }
        return self._fits(self.ols, first, values, status, seconds, messages)

    def _reml(self, first, reml, status, seconds, messages) -> Fits:
        p, k, methods = len(self.fixed), len(self.structure.terms), self.methods
        beta, errors, df = reml[:, :p] + self.offset, reml[:, p : 2 * p], reml[:, 2 * p : 3 * p]
        own, their = reml[:, 3 * p : 3 * p + k], reml[:, 3 * p + k :]
        with np.errstate(invalid="ignore"):
            t = {"satterthwaite": stats.t.ppf(0.5 + self.level / 2, df)}
        t["normal"] = np.full_like(df, stats.norm.ppf(0.5 + self.level / 2))
        reach = np.stack([t[method] * errors for method in methods], axis=2).reshape(len(reml), -1)
        low, high = wald_intervals(own, their, self.structure.terms, self.level)
        beta, errors = np.repeat(beta, len(methods), axis=1), np.repeat(errors, len(methods), axis=1)
        values = {
            "estimate": np.hstack([beta, own]),
            "std_error": np.hstack([errors, their]),
            "conf_low": np.hstack([beta - reach, low]),
            "conf_high": np.hstack([beta + reach, high]),
        }
        return self._fits(self.exact, first, values, status, seconds, messages)

    def _fits(self, name, first, values, status, seconds, messages) -> Fits:
        truth = self.truth[name]
        return Fits(first, self.keys[name], truth, values, status[name], seconds[name], messages[name])


def table(key: str, block: Mapping[str, Fits]) -> pa.Table:
    """The long table of a block of a design's replicates: `chunks.REPLICATES`, engines within replicates.

    Parameters
    ----------
    key : str
        The design's.
    block : mapping of engine to Fits
        From `Design.blocks`.

    Returns
    -------
    Table
    """
    order, columns = [], []
    for place, (name, fits) in enumerate(block.items()):
        n, k = len(fits.status), len(fits.keys)
        messages = np.array([fits.messages.get(at, "") for at in range(n)], dtype=object)
        keys = [np.tile(np.array(part, dtype=object), n) for part in zip(*fits.keys, strict=True)]
        replicate = np.repeat(np.arange(fits.first, fits.first + n), k)
        named = [np.full(n * k, text, dtype=object) for text in (key, name)]
        values = [fits.values[value].ravel() for value in VALUES]
        status = np.repeat(np.array(STATUSES, dtype=object)[fits.status], k)
        sampler = np.full(n * k, "", dtype=object)
        ending = [status, np.repeat(messages, k), sampler, np.repeat(fits.seconds, k)]
        columns.append([named[0], replicate, named[1], *keys, np.tile(fits.truth, n), *values, *ending])
        order.append(replicate * len(block) + place)
    at = np.argsort(np.concatenate(order), kind="stable")
    arrays = [np.concatenate(column)[at] for column in zip(*columns, strict=True)]
    typed = [
        pa.array(array, kind.type, from_pandas=True) for array, kind in zip(arrays, REPLICATES, strict=True)
    ]
    return pa.Table.from_arrays(typed, schema=REPLICATES)

"""Data sets of a study's replicates, each from its own address: rows or moments, with the truth beside them.

Two sources: a simulated design (`Simulated`) and a user's own data (`Bootstrap`). Whatever the chunk or the order,
replicate i of a design is the same data set, to the bit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lmm.config.simulation import Simulation
from lmm.core.streams import address, seed_sequence, stream
from lmm.core.tidy import RESIDUAL, corr_key
from lmm.core.words import as_cell
from lmm.data.levels import encode
from lmm.data.rows import Rows, rows_of
from lmm.inference.intervals import variance_values
from lmm.inference.optimum import Optimum
from lmm.likelihood.problem import Structure, layout
from lmm.model.design import numeric_design
from lmm.model.formula import parse, together
from lmm.model.terms import Terms
from lmm.moments import accumulate
from lmm.moments.moments import Moments
from lmm.moments.pilot import refuse_infinite
from lmm.recovery.data_set import DataSet
from lmm.recovery.several_data import data_set
from lmm.simulation import moments as simulate_moments
from lmm.simulation.batch import OwnReplicates, Replicates
from lmm.simulation.rows import drawn, predictors_and_effects, simulate
from lmm.simulation.truth import fixed, sds, truth_of_parameters


def sampler_seed(seed: int, design: str, replicate: int) -> int:
    """Seed of a replicate's sampler from that of the engine: 31 bits, addressed like everything else."""
    sequence = address(seed_sequence(seed, design, replicate), "mcmc")
    return int(sequence.generate_state(1)[0]) >> 1


class Simulated:
    """Replicates of a simulated design.

    Parameters
    ----------
    formulas : list of str
        The study's formula first, then those of its engines.
    key : str
        What its streams are addressed by: `lmm.config.designs.stream_key`.
    settings : Simulation
    seed : int
    from_moments : bool
        Draw predictors, groups and random effects, and then moments instead of errors: normal errors only.
    priors : mapping, optional
        For calibration: draws the parameters, see `from_priors.parameters`.
    """

    def __init__(
        self,
        formulas: list[str],
        key: str,
        settings: Simulation,
        seed: int,
        from_moments: bool = False,
        priors: Mapping[str, Any] | None = None,
    ):
        self.formula, self.key, self.settings, self.seed = parse(formulas[0]), key, settings, seed
        self.design = numeric_design(together(formulas))
        self.terms = numeric_design(self.formula).terms
        self.from_moments, self.priors = from_moments, priors

    def parameters(self, replicate: int) -> Simulation:
        """What replicate `replicate` is simulated from: the design, or a draw from the priors laid over it."""
        if self.priors is None:
            return self.settings
        from lmm.simulation.from_priors import simulation_from_priors

        rng = stream(seed_sequence(self.seed, self.key, replicate), "parameters")
        return simulation_from_priors(rng, self.settings, self.terms, self.priors)

    def draw(self, replicate: int) -> DataSet:
        """One replicate; from 0."""
        sequence = seed_sequence(self.seed, self.key, replicate)
        settings, terms = self.parameters(replicate), self.design.terms
        if not self.from_moments:
            if terms.several:
                frame, truth = simulate(settings, self.formula, sequence)
                return data_set(rows_of(self.design, frame), truth)
            made = drawn(settings, self.formula, sequence)
            y, columns = made.y, {self.formula.variables[0]: made.y, **made.predictors}
            with np.errstate(all="ignore"):
                W = self.design.of_arrays(made.predictors, len(y))
            refuse_infinite(self.design, y, W, lambda row: {n: float(v[row]) for n, v in columns.items()})
            codes, levels = encode(made.codes + 1)
            names = np.arange(1, len(made.effects) + 1).astype(str)
            truth = truth_of_parameters(settings, self.terms, made.effects, names)
            whole = accumulate.keeps_whole(len(levels), len(terms.columns))
            moments = accumulate.compute(terms, y, W, codes, levels, whole)
            return DataSet(moments, Rows(terms, y, W, codes, levels), truth, moments, moments)
        _, W, codes, levels, effects = self.drawn_rows(replicate)
        without = accumulate.compute(terms, np.zeros(len(W)), W, codes, levels, whole=False)
        beta = list(fixed(settings, self.terms).values())
        rng = stream(sequence, "moments")
        moments = simulate_moments.draw(
            rng, simulate_moments.prepare(without), self.terms.fixed, np.array(beta), self.terms.random,
            effects[levels.astype(int) - 1], settings.sigma,
        )  # fmt: skip
        names = np.arange(1, len(effects) + 1).astype(str)
        truth = truth_of_parameters(settings, self.terms, effects, names)
        return DataSet(moments, None, truth, moments, moments)

    def drawn_rows(
        self, replicate: int
    ) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What of a replicate's rows is drawn where moments are: all but the response.

        Returns
        -------
        frame : DataFrame
            Predictors and grouping factor.
        W, codes, levels : (N, K), (N,) and (J,) arrays
            Columns of the design, each row's group, the groups' names.
        effects : array
            Random effects of all groups, "1" to the number of groups.
        """
        sequence = seed_sequence(self.seed, self.key, replicate)
        frame, effects = predictors_and_effects(self.parameters(replicate), self.formula, sequence)
        codes, levels = encode(frame[self.design.terms.group])
        return frame, self.design.predictors(frame), codes, levels, effects

    def compact(self) -> Replicates:
        """The same data sets for the compiled path."""
        model = numeric_design(self.formula)
        own = (self.settings, self.seed, self.key, self.from_moments)
        return Replicates(self.formula, self.design, model, *own)

    def parameters_in_words(self) -> dict[str, Any]:
        """fixed, sd, corr and sigma that every replicate is simulated from."""
        return truth_of_parameters(
            self.settings, self.terms, np.zeros((0, len(self.terms.random))), np.zeros(0)
        )

    def columns(self) -> dict[str, Any]:
        """The scalars of the design, for the columns of replicates.parquet."""
        settings, each = self.settings, self.settings.group_rows
        several = self.terms.several
        out: dict[str, Any] = {} if several else {"groups": settings.n_groups}
        out |= {f"groups__{name}": count for name, count in settings.levels.items()} | {"rows": settings.rows}
        out["rows_per_group"] = each if each is None or isinstance(each, int) else as_cell(each.plain())
        if self.priors is None:
            out |= {f"fixed__{term}": float(value) for term, value in fixed(settings, self.terms).items()}
            for grouping in self.terms.groupings:
                own, behind = (
                    (settings.of_factor(grouping.group), f"|{grouping.group}") if several else (settings, "")
                )
                sd = sds(own, self.terms.of(grouping))
                out |= {f"sd__{term}{behind}": float(value) for term, value in sd.items()}
                if isinstance(own.corr, dict):
                    out |= {f"corr__{pair}{behind}": float(value) for pair, value in own.corr.items()}
                elif len(grouping.random) > 1:
                    out[f"corr{behind}"] = float(own.corr or 0.0)
            out["sigma"] = float(settings.sigma)
        out["random_effects"], out["errors"] = (
            label_shape(settings.random_effects),
            label_shape(settings.errors),
        )
        for name, how in settings.predictors.items():
            out[f"predictors__{name}"] = as_cell(how.model_dump(exclude_defaults=True)) or "normal"
        return out


class Bootstrap:
    """Replicates of a user's own design matrix, in moment space.

    Parameters
    ----------
    moments : Moments
    terms : Terms
        Of the model that is simulated from.
    key : str
        The design's.
    seed : int
    estimates : (1, k) or (S, k) array
        Fixed effects and `Structure.terms` to simulate from: one row (REML's estimates), or draws of the
        posterior, of which each replicate takes one at random.
    augment : bool
        Posterior calibration (arXiv 2502.03279): the engine fits the observed data and the replicate together,
        the replicate's groups being new ones.
    """

    def __init__(
        self,
        moments: Moments,
        terms: Terms,
        key: str,
        seed: int,
        estimates: np.ndarray,
        augment: bool = False,
    ):
        self.made = simulate_moments.prepare(moments)
        self.observed, self.terms, self.key, self.seed = moments, terms, key, seed
        self.structure, self.estimates, self.augment = layout(terms.blocks), estimates, augment

    def draw(self, replicate: int) -> DataSet:
        """One replicate; from 0."""
        sequence = seed_sequence(self.seed, self.key, replicate)
        at = 0
        if len(self.estimates) > 1:
            at = int(stream(sequence, "parameters").integers(len(self.estimates)))
        p = len(self.terms.fixed)
        values = self.estimates[at]
        root = root_of(self.structure, values[p:])
        rng = stream(sequence, "ranef")
        effects = rng.standard_normal((self.observed.n_groups, len(root))) @ root.T
        drawn = simulate_moments.draw(
            stream(sequence, "moments"), self.made, self.terms.fixed, values[:p], self.terms.random, effects,
            values[-1], same_basis=self.augment,
        )  # fmt: skip
        levels = self.observed.levels.astype(str)
        moments = drawn
        if self.augment:
            moments = simulate_moments.together(self.observed, drawn)
            levels = moments.levels[len(levels) :].astype(str)
        truth = truth_of_values(self.terms, self.structure, values, effects, levels)
        return DataSet(moments, None, truth, drawn, self.observed if self.augment else moments)

    def compact(self) -> OwnReplicates:
        """The same data sets for the compiled path, where all are simulated from the same values."""
        values, terms = self.estimates[0], self.terms
        p = len(terms.fixed)
        root = root_of(self.structure, values[p:])
        own = (values[:p], terms.random, root, values[-1], self.seed, self.key)
        return OwnReplicates(self.made, terms.fixed, *own)

    def parameters_in_words(self) -> dict[str, Any]:
        """fixed, sd, corr and sigma that every replicate is simulated from."""
        effects = np.zeros((0, len(self.structure.random)))
        return truth_of_values(self.terms, self.structure, self.estimates[0], effects, np.zeros(0))

    def columns(self) -> dict[str, Any]:
        """The scalars of the design, for the columns of replicates.parquet."""
        out: dict[str, Any] = {"groups": self.observed.n_groups, "rows": self.observed.n_rows}
        if len(self.estimates) == 1:
            names = [f"fixed__{term}" for term in self.terms.fixed]
            pairs = len(self.structure.correlations)
            for term in self.structure.terms:
                corr = "corr" if pairs == 1 else f"corr__{term.removeprefix('cor__')}"
                names.append("sigma" if term == RESIDUAL else corr if term.startswith("cor__") else term)
            out |= dict(zip(names, map(float, self.estimates[0]), strict=True))
        return out


def estimates_of(best: Optimum, structure: Structure) -> np.ndarray:
    """REML's estimates as `Bootstrap` takes them, (1, k)."""
    return np.concatenate([best.beta, variance_values(best.root, best.sigma, structure.correlations)])[
        None, :
    ]


def root_of(structure: Structure, values: np.ndarray) -> np.ndarray:
    """A root of D, (q, q), from sd's, correlations (NaN: of an effect that does not vary) and sigma."""
    q = len(structure.random)
    corr = np.eye(q)
    for (k, m), r in zip(structure.correlations, np.nan_to_num(values[q:-1]), strict=True):
        corr[k, m] = corr[m, k] = r
    spread, axes = np.linalg.eigh(corr)  # correlations of +-1 are allowed
    return values[:q, None] * (axes * np.sqrt(np.maximum(spread, 0.0)))


def truth_of_values(
    terms: Terms, structure: Structure, values: np.ndarray, effects: np.ndarray, levels: np.ndarray
) -> dict[str, Any]:
    """The truth of a data set that was simulated from values of fixed effects and `Structure.terms`."""
    p, q, random = len(terms.fixed), len(structure.random), structure.random
    pairs = [corr_key(random[k], random[m]) for k, m in structure.correlations]
    return {
        "fixed": dict(zip(terms.fixed, values[:p].tolist(), strict=True)),
        "sd": dict(zip(random, values[p : p + q].tolist(), strict=True)),
        "corr": dict(zip(pairs, values[p + q : -1].tolist(), strict=True)),
        "sigma": float(values[-1]),
        "ranef": {
            name: dict(zip(levels, effects[:, k].tolist(), strict=True)) for k, name in enumerate(random)
        },
    }


def label_shape(shape: Any) -> str:
    """`student(5)`, `skewed(2)` or `normal`."""
    argument = {"student": "df", "skewed": "shape"}.get(shape.distribution)
    return shape.distribution if argument is None else f"{shape.distribution}({getattr(shape, argument):g})"

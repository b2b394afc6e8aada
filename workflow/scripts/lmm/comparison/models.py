"""Comparison of models of the same rows: information criteria, and likelihood-ratio tests of nested pairs."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lmm.comparison.likelihood_ratio import Nesting, bootstrap, nesting, p_bootstrap, p_values, spans
from lmm.core.streams import design_key
from lmm.engines.reml_tables import information_criteria
from lmm.inference.exact import optimum_of, problem_for
from lmm.inference.optimum import Optimum
from lmm.inference.several_optimum import SeveralOptimum
from lmm.likelihood.problem import layout
from lmm.model.terms import Terms
from lmm.moments.moments import Moments
from lmm.moments.several import SeveralMoments, narrowed

MODELS = [
    "model", "formula", "parameters", "logLik", "AIC", "BIC", "delta_AIC", "weight", "delta_BIC", "status",
    "elpd", "elpd_se", "delta_elpd", "delta_elpd_se", "largest_pareto_k",
]  # fmt: skip
TESTS = [
    "null", "alternative", "method", "chisq", "df", "p_value", "mixture", "p_mixture", "p_bootstrap", "mcse",
    "bootstrap",
]  # fmt: skip


class Comparison:
    """Models fitted to the same rows.

    Parameters
    ----------
    moments : Moments or SeveralMoments
        With the columns and grouping factors of all models.
    formulas : mapping of name to formula
    terms : mapping of name to Terms
    """

    def __init__(
        self, moments: Moments | SeveralMoments, formulas: Mapping[str, str], terms: Mapping[str, Terms]
    ):
        self.moments, self.formulas, self.terms = moments, formulas, terms
        self._fits: dict[tuple[str, bool], Optimum | SeveralOptimum] = {}

    def fit(self, name: str, ml: bool) -> Optimum | SeveralOptimum:
        """A model's optimum by ML or REML."""
        if (name, ml) not in self._fits:
            terms = self.terms[name]
            own = narrowed(self.moments, [grouping.group for grouping in terms.groupings])
            self._fits[name, ml] = optimum_of(problem_for(own, terms, ml), ml)
        return self._fits[name, ml]

    def criteria(self, elpd: pd.DataFrame | None = None) -> pd.DataFrame:
        """models.csv: ML's log likelihood, AIC and BIC with lme4's counts, and Akaike weights.

        Parameters
        ----------
        elpd : DataFrame, optional
            Of the Bayesian fits by model: see `engines.pymc.models.compared`.

        By ML, because REML's likelihoods of models with different fixed effects are of different data.
        """
        rows = []
        for name, formula in self.formulas.items():
            own, best = self.terms[name], self.fit(name, True)
            count = len(own.fixed) + sum(len(layout(g.blocks).rows) for g in own.groupings) + 1
            found = information_criteria(best.criterion, count, self.moments.n_rows)
            status = "non-converged" if not best.certified else "singular" if best.singular else "ok"
            rows.append(
                {
                    "model": name,
                    "formula": formula,
                    "parameters": count,
                    "logLik": found["logLik"],
                    "AIC": found["AIC"],
                    "BIC": found["BIC"],
                    "status": status,
                }
            )
        table = pd.DataFrame(rows)
        for criterion in ("AIC", "BIC"):
            table[f"delta_{criterion}"] = table[criterion] - table[criterion].min()
        weight = np.exp(-0.5 * table["delta_AIC"])
        table["weight"] = weight / weight.sum()
        if elpd is not None:
            table = table.merge(elpd, on="model", how="left")
        return table.reindex(columns=MODELS)

    def pairs(self) -> tuple[list[tuple[str, str, Nesting]], list[tuple[str, str]]]:
        """Nested pairs, the smaller model first, and pairs that are not nested."""
        nested, apart = [], []
        names = list(self.formulas)
        for k, first in enumerate(names):
            for second in names[k + 1 :]:
                for small, large in ((first, second), (second, first)):
                    if found := nesting(self.moments, self.terms[small], self.terms[large]):
                        nested.append((small, large, found))
                        break
                else:
                    apart.append((first, second))
        return nested, apart

    def tests(self, count: int = 0, seed: int = 1) -> pd.DataFrame:
        """tests.csv: REML's likelihood ratio where only random effects differ, else ML's.

        Parameters
        ----------
        count : int
            Data sets of the parametric bootstrap of each test; 0: none.
        seed : int
        """
        rows = []
        for small, large, nested in self.pairs()[0]:
            ml = not spans(self.moments, self.terms[small].fixed, self.terms[large].fixed)
            null = self.fit(small, ml)
            chisq = max(null.criterion - self.fit(large, ml).criterion, 0.0)
            plain, mixed = p_values(chisq, nested)
            row = {
                "null": small,
                "alternative": large,
                "method": "ML" if ml else "REML",
                "chisq": chisq,
                "df": nested.df,
                "p_value": plain,
                "mixture": ""
                if nested.mixture is None
                else "0.5 chi2({}) + 0.5 chi2({})".format(*nested.mixture),
                "p_mixture": mixed,
                "p_bootstrap": np.nan,
                "mcse": np.nan,
                "bootstrap": count,
            }
            if count:
                key = design_key({"formula": self.formulas[small]})
                own = self.terms[small], self.terms[large]
                drawn = bootstrap(self.moments, *own, ml, null, count, seed, key)
                row["p_bootstrap"], row["mcse"] = p_bootstrap(chisq, drawn)
            rows.append(row)
        return pd.DataFrame(rows, columns=TESTS)

    def notes(self) -> list[str]:
        """Which pairs have no test, and which tests have a known null distribution only by bootstrap."""
        nested, apart = self.pairs()
        said = [f"{a} and {b} are not nested: compared by criteria, without a test" for a, b in apart]
        return said + [
            f"{large} has {found.variances} more variances than {small}, whose null distribution is not known: "
            "the chi-square is conservative, the bootstrap is not"
            for small, large, found in nested
            if found.variances > 1
        ]

"""Comparison of models of the same rows: information criteria, and likelihood-ratio tests of nested pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lmm.comparison.likelihood_ratio import Nesting, bootstrap, nesting, p_bootstrap, p_values, spans
from lmm.core.streams import design_key
from lmm.core.words import listed
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
    log_derivative : float
        Sum over the rows of log |g'(y)| where the response is a function g of the study's.
    response : str
        That response; empty: the study's own.
    """

    def __init__(
        self,
        moments: Moments | SeveralMoments,
        formulas: Mapping[str, str],
        terms: Mapping[str, Terms],
        log_derivative: float = 0.0,
        response: str = "",
    ):
        self.moments, self.formulas, self.terms = moments, formulas, terms
        self.log_derivative, self.response = log_derivative, response
        self._fits: dict[tuple[str, bool], Optimum | SeveralOptimum] = {}

    def fit(self, name: str, ml: bool) -> Optimum | SeveralOptimum:
        """A model's optimum by ML or REML."""
        if (name, ml) not in self._fits:
            terms = self.terms[name]
            self._fits[name, ml] = optimum_of(problem_for(self._narrowed(terms), terms, ml), ml)
        return self._fits[name, ml]

    def _narrowed(self, terms: Terms) -> Any:
        """The moments of a model's grouping factors."""
        return narrowed(self.moments, [grouping.group for grouping in terms.groupings])

    def likelihoods(self) -> pd.DataFrame:
        """ML's log likelihood, AIC and BIC of every model, with lme4's counts, for the study's response.

        By ML, because REML's likelihoods of models with different fixed effects are of different data.
        """
        rows = []
        for name, formula in self.formulas.items():
            own, best = self.terms[name], self.fit(name, True)
            count = len(own.fixed) + sum(len(layout(g.blocks).rows) for g in own.groupings) + 1
            deviance = best.criterion - 2.0 * self.log_derivative
            found = information_criteria(deviance, count, self.moments.n_rows)
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
        return pd.DataFrame(rows)

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
                drawn = bootstrap(self._narrowed(own[1]), *own, ml, null, count, seed, key)
                row["p_bootstrap"], row["mcse"] = p_bootstrap(chisq, drawn)
            rows.append(row)
        return pd.DataFrame(rows, columns=TESTS)

    def notes(self) -> list[str]:
        """Which pairs have no test, and which tests have a known null distribution only by bootstrap."""
        nested, apart = self.pairs()
        said = []
        if apart:
            named = listed([f"{a} with {b}" for a, b in apart])
            said.append(f"by criteria alone, without a test, since they are not nested: {named}")
        if self.response:
            said.append(
                f"{' and '.join(self.formulas)}: the response is {self.response}; logLik, AIC and BIC are those of "
                f"the study's response, by the logarithm of the derivative (in sum {self.log_derivative:.2f}); "
                "no test against models of another response, and no elpd"
            )
        return said + [
            f"{large} has {found.variances} more variances than {small}, whose null distribution is not known: "
            "the chi-square is conservative, the bootstrap is not"
            for small, large, found in nested
            if found.variances > 1
        ]


def criteria(compared: Sequence[Comparison], elpd: pd.DataFrame | None = None) -> pd.DataFrame:
    """models.csv: criteria of all models, differences from the best one, and Akaike weights.

    Parameters
    ----------
    compared : sequence of Comparison
        Of each response.
    elpd : DataFrame, optional
        Of the Bayesian fits by model: see `criticism.elpd.compared`.
    """
    table = pd.concat([one.likelihoods() for one in compared], ignore_index=True)
    for criterion in ("AIC", "BIC"):
        table[f"delta_{criterion}"] = table[criterion] - table[criterion].min()
    weight = np.exp(-0.5 * table["delta_AIC"])
    table["weight"] = weight / weight.sum()
    if elpd is not None:
        table = table.merge(elpd, on="model", how="left")
    return table.reindex(columns=MODELS)


def tests(compared: Sequence[Comparison], count: int = 0, seed: int = 1) -> pd.DataFrame:
    """tests.csv: tests of the nested pairs of each response.

    Parameters
    ----------
    compared : sequence of Comparison
        Of each response.
    count, seed : int
        Of `Comparison.tests`.
    """
    found = [table for one in compared if len(table := one.tests(count, seed))]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=TESTS)

"""Priors of a study's parameters, with the scales that `auto` takes from the data (docs/statistics.md, section 5).

`auto` is weakly informative as rstanarm and bambi have it (Gabry & Goodrich, 'Prior distributions for rstanarm
models'; Capretto et al. 2022, J. Stat. Softw. 103(15)): fixed effects normal(0, 2.5 sd(y) / sd(x)), the intercept of
centred predictors normal(mean(y), 2.5 sd(y)); sd's of random effects half-normal with the scale of the fixed
effect that they vary around (bambi); sigma half-Student-t(4, sd(y)) (bambi); correlations lkj(2).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmm.core.errors import StudyError
from lmm.core.tidy import RESIDUAL, sd_name
from lmm.model.priors import Prior, parse_prior
from lmm.model.terms import INTERCEPT
from lmm.moments.moments import Moments

WIDTH = 2.5  # prior sd's in units of sd(y) / sd(x), rstanarm's and bambi's
AUTO_CORR = Prior("lkj", (2.0,))


@dataclass(frozen=True)
class Priors:
    """Priors with their numbers.

    Attributes
    ----------
    fixed : dict of term to Prior
        The intercept's is on the intercept of centred predictors where `centred`.
    sd : dict of random-effects term to Prior
    sigma, corr : Prior
    mean, precision : (p,), (p, p) arrays or None
        The fixed effects' joint normal prior, original units; None: flat.
    centred : bool
    """

    fixed: dict[str, Prior]
    sd: dict[str, Prior]
    sigma: Prior
    corr: Prior
    mean: np.ndarray | None
    precision: np.ndarray | None
    centred: bool

    def table(self, correlated: bool) -> pd.DataFrame:
        """Parameter and prior, one row each, for the report."""
        rows = [(term, prior.text) for term, prior in self.fixed.items()]
        if self.centred and INTERCEPT in self.fixed:
            rows[0] = (INTERCEPT, f"{rows[0][1]} at the predictors' means")
        rows += [(sd_name(term), prior.text) for term, prior in self.sd.items()]
        rows += [("correlation matrix", self.corr.text)] if correlated else []
        return pd.DataFrame([*rows, (RESIDUAL, self.sigma.text)], columns=["parameter", "prior"])


def _by_term(setting: str | dict[str, str], terms: tuple[str, ...], kind: str) -> dict[str, Prior]:
    """One prior for each term, from one text for all or a mapping (terms left out: auto)."""
    where = f"engines.pymc.priors.{kind}"
    if isinstance(setting, str):
        return {term: parse_prior(setting, kind, where) for term in terms}
    unknown = [term for term in setting if term not in terms]
    if unknown:
        raise StudyError(f"{where}.{unknown[0]}", f"no such term; expected one of {', '.join(terms)}")
    return {term: parse_prior(setting.get(term, "auto"), kind, f"{where}.{term}") for term in terms}


def resolve(
    settings: dict, moments: Moments, fixed: tuple[str, ...], random: tuple[str, ...], marginal: bool
) -> Priors:
    """Priors with all numbers filled in.

    Parameters
    ----------
    settings : dict
        `priors` of the configuration: fixed, sd, sigma, corr.
    moments : Moments
        Where `auto` takes its scales from.
    fixed : tuple of str
        Names of X's columns.
    random : tuple of str
        Names of Z's columns.
    marginal : bool
        Whether beta is integrated out in closed form, which takes flat or normal priors.

    Returns
    -------
    Priors

    Raises
    ------
    StudyError
        For a prior of beta that has no closed form in the marginal model.
    """
    y_sd = moments.y_sd
    x_sd = dict(zip(fixed, moments.column_sd(fixed), strict=True))
    x_sd |= dict(zip(random, moments.column_sd(random), strict=True))
    x_sd = {term: sd if term != INTERCEPT and sd > 0 else 1.0 for term, sd in x_sd.items()}

    betas = _by_term(settings.get("fixed", "auto"), fixed, "fixed")
    centred = INTERCEPT in fixed and betas[INTERCEPT].name == "auto"
    for term, prior in betas.items():
        if prior.name == "auto":
            middle = moments.y_mean if term == INTERCEPT else 0.0
            betas[term] = Prior("normal", (float(middle), WIDTH * y_sd / x_sd[term]))
    sds = _by_term(settings.get("sd", "auto"), random, "sd")
    for term, prior in sds.items():
        if prior.name == "auto":
            sds[term] = Prior("half_normal", (WIDTH * y_sd / x_sd[term],))
    sigma = parse_prior(settings.get("sigma", "auto"), "sigma", "engines.pymc.priors.sigma")
    if sigma.name == "auto":
        sigma = Prior("half_student_t", (4.0, y_sd))
    corr = parse_prior(settings.get("corr", "auto"), "corr", "engines.pymc.priors.corr")
    if corr.name == "auto":
        corr = AUTO_CORR

    odd = [term for term, prior in betas.items() if prior.name not in ("flat", "normal")]
    if odd and marginal:
        raise StudyError(
            f"engines.pymc.priors.fixed.{odd[0]}",
            f"{betas[odd[0]].text} has no closed form in the marginal model; expected flat or normal(mean, sd), "
            "or model: full",
        )
    mean, precision = None, None
    if any(prior.name == "normal" for prior in betas.values()):
        columns = np.eye(len(fixed))
        if centred:  # the intercept at the means is intercept + sum mean_k beta_k
            raw = moments.basis.raw(fixed)
            columns[fixed.index(INTERCEPT)] = moments.total[0, :-1] @ raw / moments.total[0, 0]
        weight = [prior.args[1] ** -2 if prior.name == "normal" else 0.0 for prior in betas.values()]
        centre = [prior.args[0] if prior.name == "normal" else 0.0 for prior in betas.values()]
        precision = columns.T @ np.diag(weight) @ columns
        mean = np.linalg.solve(columns, np.array(centre))
    return Priors(betas, sds, sigma, corr, mean, precision, centred)

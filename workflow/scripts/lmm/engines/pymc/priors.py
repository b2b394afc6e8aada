"""Priors of a study's parameters, with the scales and coordinates that `auto` takes from the data.

`auto` is weakly informative as rstanarm and bambi have it (Gabry & Goodrich, 'Prior distributions for rstanarm
models'; Capretto et al. 2022, J. Stat. Softw. 103(15)): fixed effects normal(0, 2.5 sd(y) / sd(x)), the intercept of
centred predictors normal(mean(y), 2.5 sd(y)) and cell means, which stand for it, around mean(y) as well; sd's of
random effects half-normal with the scale of the fixed effect that they vary around (bambi); sigma
half-Student-t(4, sd(y)) (bambi); correlations lkj(2).

All of them are of centred predictors (`coordinates`), so that a predictor's zero and unit change no conclusion.
Explicit priors are of the parameters as they are reported. For fixed effects each prior has its own coordinates; sd's
and correlations of a block share them: priors are of the centred predictors' effects if those that depend on the
coordinates (correlations, sd's of terms that others contain) are all `auto`, else of the effects as reported, with
the scales of `auto` widened to what they are there.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmm.core.errors import StudyError
from lmm.core.tidy import CORRELATIONS, RESIDUAL, sd_name
from lmm.engines.pymc.coordinates import centred, depending
from lmm.likelihood.problem import Structure, layout
from lmm.model.priors import Prior, parse_prior
from lmm.model.terms import INTERCEPT
from lmm.moments.moments import Moments

WIDTH = 2.5  # prior sd's in units of sd(y) / sd(x), rstanarm's and bambi's
AUTO_CORR = Prior("lkj", (2.0,))
MEANS, ZERO = "at the predictors' means", "at predictors of 0"
CENTRED = "_centred"  # suffix of a parameter at the predictors' means


@dataclass(frozen=True)
class Priors:
    """Priors with their numbers and coordinates.

    Attributes
    ----------
    fixed : dict of term to Prior
        Of fixed_map @ beta.
    sd : dict of random-effects term to Prior
        Of v, u = random_map @ v.
    sigma, corr : Prior
    fixed_map : (p, p) array
    random_map : (q, q) array
    structure : Structure
        Of the random effects.
    depends : tuple of str
        Terms, fixed or random, whose parameters depend on the coordinates.
    """

    fixed: dict[str, Prior]
    sd: dict[str, Prior]
    sigma: Prior
    corr: Prior
    fixed_map: np.ndarray
    random_map: np.ndarray
    structure: Structure
    depends: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def moved_fixed(self) -> np.ndarray:
        """Whether each fixed effect's prior is of another quantity than the reported one, (p,)."""
        return np.any(self.fixed_map != np.eye(len(self.fixed_map)), axis=1)

    @property
    def moved_random(self) -> np.ndarray:
        """Whether each random effect's sd is not the reported one, (q,)."""
        return np.any(self.random_map != np.eye(len(self.random_map)), axis=1)

    @property
    def names(self) -> list[str]:
        """`Structure.terms` as they are in the priors' coordinates, `sd__Intercept_centred` where they differ."""
        moved, pairs = self.moved_random, self.structure.correlations
        differ = [*moved, *(moved[k] or moved[m] for k, m in pairs), False]
        return [name + CENTRED * bool(d) for name, d in zip(self.structure.terms, differ, strict=True)]

    @property
    def moved(self) -> list[str]:
        """Tidy terms of the parameters whose prior is at the predictors' means."""
        fixed = [name for name, one in zip(self.fixed, self.moved_fixed, strict=True) if one]
        return fixed + [t for t, name in zip(self.structure.terms, self.names, strict=True) if t != name]

    @property
    def normal(self) -> dict[str, np.ndarray]:
        """The fixed effects' joint normal prior as `marginal.pack_problem` takes it; empty where all are flat."""
        known = [k for k, prior in enumerate(self.fixed.values()) if prior.name == "normal"]
        if not known:
            return {}
        priors = list(self.fixed.values())
        middle, width = np.array([priors[k].args for k in known]).T
        centre = np.zeros(len(priors))
        centre[known] = middle
        root = self.fixed_map[known] / width[:, None]
        return {"mean": np.linalg.solve(self.fixed_map, centre), "root": root}

    @property
    def centres(self) -> dict[str, float]:
        """The predictors' values at which the intercepts' priors are; empty where no prior is at the means."""
        out: dict[str, float] = {}
        for moved, matrix, names in (
            (self.moved_fixed, self.fixed_map, tuple(self.fixed)),
            (self.moved_random, np.linalg.inv(self.random_map), self.structure.random),
        ):
            at = names.index(INTERCEPT) if INTERCEPT in names else -1
            if at >= 0 and moved[at]:
                out |= {
                    name: float(matrix[at, k]) for k, name in enumerate(names) if matrix[at, k] and k != at
                }
        return out

    def centred(self, fixed: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters whose prior is at the predictors' means, there, by tidy term.

        Parameters
        ----------
        fixed : (p, chains, draws) array
            Draws of the fixed effects as they are reported.
        values : (k, chains, draws) array
            Draws of the variance parameters in the order of `names`.

        Returns
        -------
        dict[str, array]
        """
        own = np.einsum("ab,bcd->acd", self.fixed_map, fixed)
        found = dict(zip((*self.fixed, *self.structure.terms), [*own, *values], strict=True))
        return {term: found[term] for term in self.moved}

    def table(self) -> pd.DataFrame:
        """Parameter, prior, and where the predictors are to which it applies; one row each, for the report."""
        fixed, random = self.depends
        moved = dict(zip(self.fixed, self.moved_fixed, strict=True))
        rows = [
            (term, prior.text, _place(term in fixed and prior.name != "flat", moved[term]))
            for term, prior in self.fixed.items()
        ]
        moved = dict(zip(self.structure.random, self.moved_random, strict=True))
        rows += [
            (sd_name(term), prior.text, _place(term in random, moved[term]))
            for term, prior in self.sd.items()
        ]
        blocks = [self.structure.random[a:b] for a, b in self.structure.blocks if b - a > 1]
        if blocks:
            where = [
                _place(any(t in random for t in block), any(moved[t] for t in block)) for block in blocks
            ]
            told = where[0]
            if len(set(where)) > 1:
                each = zip(where, blocks, strict=True)
                told = "; ".join(f"{place} for {', '.join(block)}" for place, block in each if place)
            rows.append((CORRELATIONS, self.corr.text, told))
        return pd.DataFrame([*rows, (RESIDUAL, self.sigma.text, "")], columns=["parameter", "prior", "at"])


def _place(depends: bool, moved: bool) -> str:
    """Where a parameter's prior is, if that makes a difference."""
    return MEANS if moved else ZERO if depends else ""


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
    settings: dict,
    moments: Moments,
    fixed: tuple[str, ...],
    blocks: tuple[tuple[str, ...], ...],
    marginal: bool,
) -> Priors:
    """Priors with all numbers filled in.

    Parameters
    ----------
    settings : dict
        `priors` of the configuration: fixed, sd, sigma, corr.
    moments : Moments
        Where `auto` takes its scales and coordinates from.
    fixed : tuple of str
        Names of X's columns.
    blocks : tuple of tuple of str
        Names of Z's columns in each block of random effects.
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
    y_sd, structure = moments.y_sd, layout(blocks)
    sigma = parse_prior(settings.get("sigma", "auto"), "sigma", "engines.pymc.priors.sigma")
    if sigma.name == "auto":
        sigma = Prior("half_student_t", (4.0, y_sd))
    corr = parse_prior(settings.get("corr", "auto"), "corr", "engines.pymc.priors.corr")
    betas = _by_term(settings.get("fixed", "auto"), fixed, "fixed")
    sds = _by_term(settings.get("sd", "auto"), structure.random, "sd")
    random_map = np.eye(len(structure.random))
    for (start, stop), block in zip(structure.blocks, blocks, strict=True):
        if all(sds[term].name != "auto" for term in block):
            continue
        own = centred(moments, block)
        given = [
            term for term, moved in zip(block, own.moved, strict=True) if moved and sds[term].name != "auto"
        ]
        scale = own.sd
        if given or corr.name != "auto":
            scale = 1.0 / np.sqrt(np.sum((own.matrix / own.sd) ** 2, axis=1))
        else:
            random_map[start:stop, start:stop] = own.matrix
        for term, width in zip(block, scale, strict=True):
            if sds[term].name == "auto":
                sds[term] = Prior("half_normal", (float(WIDTH * y_sd / width),))
    fixed_map = np.eye(len(fixed))
    automatic = [k for k, prior in enumerate(betas.values()) if prior.name == "auto"]
    if automatic:
        x = centred(moments, fixed)
        for k in automatic:
            term = fixed[k]
            fixed_map[k] = x.inverse[k]
            betas[term] = Prior(
                "normal", (float(moments.y_mean * x.constant[k]), float(WIDTH * y_sd / x.sd[k]))
            )
    odd = [term for term, prior in betas.items() if prior.name not in ("flat", "normal")]
    if odd and marginal:
        raise StudyError(
            f"engines.pymc.priors.fixed.{odd[0]}",
            f"{betas[odd[0]].text} has no closed form in the marginal model; expected flat or normal(mean, sd), "
            "or sampler: full",
        )
    corr = AUTO_CORR if corr.name == "auto" else corr
    depends = depending(fixed), tuple(term for block in blocks for term in depending(block))
    return Priors(betas, sds, sigma, corr, fixed_map, random_map, structure, depends)


def prior_numbers(priors: Priors) -> np.ndarray:
    """The priors' arguments in the order that `model.marginal_model` reads them: two for each sd, sigma, corr."""
    ordered = [*priors.sd.values(), priors.sigma, priors.corr]
    out = np.zeros((len(ordered), 2))
    for row, prior in zip(out, ordered, strict=True):
        row[: len(prior.args)] = prior.args
    return out

"""Likelihood-ratio tests of nested models, their null distributions at a boundary, and the parametric bootstrap.

See docs/statistics.md, section 11.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from lmm.core.progress import Progress
from lmm.core.streams import seed_sequence, stream
from lmm.inference.exact import optimum_of, problem_for
from lmm.inference.optimum import Optimum
from lmm.inference.several_optimum import SeveralOptimum
from lmm.likelihood.problem import layout
from lmm.likelihood.several_problem import SeveralProblem, with_response
from lmm.model.terms import Terms
from lmm.moments.moments import Moments
from lmm.moments.several import SeveralMoments, narrowed
from lmm.simulation import several_moments
from lmm.simulation.moments import draw, prepare

SPANNED = 1e-9  # share of a standardised column's squares that other columns leave unexplained: rounding


@dataclass(frozen=True)
class Nesting:
    """How a model is nested in a larger one.

    Attributes
    ----------
    fixed, random : int
        Number of further fixed effects and of further elements of D.
    variances : int
        Further random effects: variances that are 0 in the smaller model, at the edge of what they can be.
    covariances : int
        Further covariances with those effects.
    """

    fixed: int
    random: int
    variances: int
    covariances: int

    @property
    def df(self) -> int:
        """Further parameters."""
        return self.fixed + self.random

    @property
    def mixture(self) -> tuple[int, int] | None:
        """Degrees of freedom of the two chi-squares whose even mixture is the null distribution.

        Known where one variance is tested, with or without its covariances with effects that the smaller model has
        (Self & Liang 1987, J. Am. Stat. Assoc. 82, 605-610; Stram & Lee 1994, Biometrics 50, 1171-1177, cases 1-3);
        None where no variance is, or several are.
        """
        return (self.df - 1, self.df) if self.variances == 1 else None


def nesting(moments: Moments | SeveralMoments, small: Terms, large: Terms) -> Nesting | None:
    """How `small` is nested in `large`; None if it is not, or if they are the same model.

    Fixed effects count by the space that their columns span, random effects by name.
    """
    if not spans(moments, large.fixed, small.fixed):
        return None
    own, other = _elements(small), _elements(large)
    further = other - own
    found = Nesting(
        fixed=len(large.fixed) - len(small.fixed),
        random=len(further),
        variances=sum(len(element) == 1 for _, element in further),
        covariances=sum(len(element) == 2 for _, element in further),
    )
    return found if own <= other and found.df > 0 else None


def _elements(terms: Terms) -> set[tuple[str, frozenset[str]]]:
    """The free elements of the D's, by grouping factor and the names of their random effects."""
    out = set()
    for grouping in terms.groupings:
        structure = layout(grouping.blocks)
        pairs = zip(structure.rows, structure.cols, strict=True)
        out |= {(grouping.group, frozenset((structure.random[a], structure.random[b]))) for a, b in pairs}
    return out


def spans(moments: Moments | SeveralMoments, columns: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Whether `others` are linear combinations of `columns` over the rows."""
    if set(others) <= set(columns):
        return True
    if len(others) > len(columns):
        return False
    combine, _ = moments.basis.stable(columns)
    wanted, _ = moments.basis.stable(others)
    gram = moments.total[:-1, :-1]
    inside = combine.T @ gram @ combine
    across = combine.T @ gram @ wanted
    left = wanted.T @ gram @ wanted - across.T @ np.linalg.solve(inside, across)
    return bool(np.all(np.diag(left) <= SPANNED * np.diag(wanted.T @ gram @ wanted)))


def p_values(chisq: float, nested: Nesting) -> tuple[float, float]:
    """p by the chi-square with all further parameters, and by the mixture where it is known (else NaN)."""
    plain = float(stats.chi2.sf(chisq, nested.df))
    if nested.mixture is None:
        return plain, np.nan
    first, second = nested.mixture
    lower = float(chisq <= 0.0) if first == 0 else float(stats.chi2.sf(chisq, first))
    return plain, 0.5 * lower + 0.5 * float(stats.chi2.sf(chisq, second))


def bootstrap(
    moments: Moments | SeveralMoments,
    small: Terms,
    large: Terms,
    ml: bool,
    fitted: Optimum | SeveralOptimum,
    count: int,
    seed: int,
    key: str,
) -> np.ndarray:
    """Likelihood-ratio statistics of data sets drawn from the smaller model, (count,).

    Drawn as moments and fitted from them, so that the cost does not depend on the number of rows. Draw k has a seed
    of its own: more draws leave the first ones as they are.

    Parameters
    ----------
    moments : Moments or SeveralMoments
        Of the larger model's grouping factors.
    ml : bool
        ML statistics; else REML's, for models with the same fixed effects.
    fitted : Optimum or SeveralOptimum
        Of the smaller model, by the same criterion.
    seed, key : int, str
        The study's seed and the smaller model's key: data sets do not depend on the larger model.
    """
    simulate = (_drawn if isinstance(moments, Moments) else _drawn_several)(moments, small, fitted)
    criteria = [_criterion(moments, terms, ml) for terms in (small, large)]
    out = np.empty(count)
    with Progress("bootstrap", count) as progress:
        for k in range(count):
            drawn = simulate(seed_sequence(seed, key, k))
            null, alternative = (criterion(drawn) for criterion in criteria)
            out[k] = max(null - alternative, 0.0)
            progress.advance()
    return out


def _drawn(moments: Moments, small: Terms, fitted: Optimum) -> Callable[[np.random.SeedSequence], Moments]:
    """Draws of the smaller model with one grouping factor."""
    design = prepare(moments)

    def simulate(sequence: np.random.SeedSequence) -> Moments:
        normals = stream(sequence, "ranef").standard_normal((moments.n_groups, len(small.random)))
        about = small.fixed, fitted.beta, small.random, normals @ fitted.root.T, fitted.sigma
        return draw(stream(sequence, "moments"), design, *about)

    return simulate


def _drawn_several(
    moments: SeveralMoments, small: Terms, fitted: Optimum | SeveralOptimum
) -> Callable[[np.random.SeedSequence], SeveralMoments]:
    """Draws of the smaller model, with one grouping factor or several, where the larger one has several."""
    design = several_moments.prepare(moments)
    roots = fitted.roots if isinstance(fitted, SeveralOptimum) else (fitted.root,)

    def simulate(sequence: np.random.SeedSequence) -> SeveralMoments:
        effects = {}
        for grouping, root in zip(small.groupings, roots, strict=True):
            rng = stream(sequence, "ranef", f"{grouping.group}|")
            normals = rng.standard_normal((moments.n_groups[grouping.group], len(root)))
            effects[grouping.group] = grouping.random, normals @ root.T
        about = small.fixed, fitted.beta, effects, fitted.sigma
        return several_moments.draw(stream(sequence, "moments"), design, *about)

    return simulate


def _criterion(moments: Moments | SeveralMoments, terms: Terms, ml: bool) -> Callable[[Any], float]:
    """-2 log L at the optimum of a model, as a function of moments that differ in the response."""
    groups = [grouping.group for grouping in terms.groupings]
    first = problem_for(narrowed(moments, groups), terms, ml)

    def criterion(drawn: Moments | SeveralMoments) -> float:
        own = narrowed(drawn, groups)
        again = isinstance(first, SeveralProblem)
        problem = with_response(first, own) if again else problem_for(own, terms, ml)
        return float(optimum_of(problem, ml).criterion)

    return criterion


def p_bootstrap(chisq: float, statistics: np.ndarray) -> tuple[float, float]:
    """Bootstrap p value and its Monte Carlo standard error.

    (1 + number of statistics at least as large) / (1 + count): Davison & Hinkley 1997, Bootstrap Methods and Their
    Application, section 4.2.3.
    """
    count = len(statistics)
    slack = 1e-8 * max(
        chisq, 1.0
    )  # the criteria's rounding: a statistic of 0 is at least as large as one of 0
    p = (1.0 + np.sum(statistics >= chisq - slack)) / (1.0 + count)
    return float(p), float(np.sqrt(p * (1.0 - p) / count))

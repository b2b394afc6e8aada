"""The exact fit of a model with one grouping factor or several, and its fixed effects with degrees of freedom."""

from lmm.inference import several_optimum
from lmm.inference.degrees_of_freedom import fixed_effects
from lmm.inference.derivatives import by_group
from lmm.inference.fixed_effects import FixedEffects
from lmm.inference.optimum import Optimum, optimum
from lmm.inference.several_derivatives import by_factors
from lmm.inference.several_optimum import SeveralOptimum
from lmm.likelihood import several_problem
from lmm.likelihood.problem import Problem, problem_of
from lmm.likelihood.several_problem import SeveralProblem
from lmm.model.terms import Terms
from lmm.moments.moments import Moments
from lmm.moments.several import SeveralMoments


def problem_for(
    moments: Moments | SeveralMoments, terms: Terms, ml: bool = False
) -> Problem | SeveralProblem:
    """The kernels' input for a model; ML or REML is a property of one factor's problem.

    Parameters
    ----------
    moments : Moments | SeveralMoments
        Sufficient statistics of the rows.
    terms : Terms
        Names of the model's columns.
    ml : bool
        Maximum likelihood instead of REML.

    Returns
    -------
    Problem | SeveralProblem
    """
    if isinstance(moments, SeveralMoments):
        return several_problem.build(moments, terms.fixed, [own.blocks for own in terms.groupings])
    return problem_of(moments, terms.fixed, terms.blocks, ml)


def optimum_of(problem: Problem | SeveralProblem, ml: bool = False) -> Optimum | SeveralOptimum:
    """The optimum of REML or maximum likelihood."""
    if isinstance(problem, SeveralProblem):
        return several_optimum.optimum(problem, reml=not ml)
    return optimum(problem)


def tested_by(method: str, problem: Problem | SeveralProblem, best: Optimum | SeveralOptimum) -> FixedEffects:
    """The fixed effects of a fit (of several factors, by REML) with degrees of freedom.

    Parameters
    ----------
    method : str
        One of `degrees_of_freedom.METHODS`.
    problem : Problem or SeveralProblem
        The model over moments, in the kernel's coordinates.
    best : Optimum or SeveralOptimum
        The optimum of the same problem.

    Returns
    -------
    FixedEffects
    """
    if isinstance(problem, SeveralProblem):
        assert isinstance(best, SeveralOptimum)
        return fixed_effects(method, best.beta, by_factors(problem, best))
    assert isinstance(best, Optimum)
    return fixed_effects(method, best.beta, by_group(problem, best), problem.ml)

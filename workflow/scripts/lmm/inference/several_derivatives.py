"""What tests of fixed effects need of a fit with several grouping factors: see `derivatives`.

Everything but tr(V^-1 V_i V^-1 V_j) is a form in F_k = Z_k'V^-1 X and e_k = Z_k'P y. These traces are
-d tr(V^-1 V_i) / d d_j; tr(V^-1 V_i) is known at any D, and analytic as far as V stays positive definite, so that a
polynomial through a few points beside D gives its derivative to rounding, at a singular D too.
"""

import numpy as np
from numpy.polynomial import chebyshev

from lmm.inference.degrees_of_freedom import FixedEffects, fixed_effects, inverse
from lmm.inference.derivatives import Derivatives
from lmm.inference.several_optimum import SeveralOptimum, sums
from lmm.likelihood.several_information import Information, lifted
from lmm.likelihood.several_problem import SeveralProblem

# The nearest pole is two interval lengths from the interval's end: the polynomial's error falls by 9.9 a point.
POINTS = 11
REACH = 0.5  # the interval's length, in distances to that pole


def tested_several(method: str, problem: SeveralProblem, best: SeveralOptimum) -> FixedEffects:
    """Fixed effects with degrees of freedom by one of `degrees_of_freedom.METHODS`."""
    if method == "kenward-roger":
        return fixed_effects(method, best.beta, by_levels(problem, best))
    back = best.own_sigma * problem.x_map
    phi, p = best.information.terms.phi, problem.p
    slopes, spread = np.zeros((0, p, p)), np.zeros((0, 0))
    if method == "satterthwaite":
        slopes, spread = _in_roots(best), 2.0 * inverse(best.hessian)
    slopes = np.einsum("ab,nbc,dc->nad", back, slopes, back)
    covariance = back @ phi @ back.T
    return FixedEffects(method, best.beta, covariance, covariance, slopes, spread)


def _in_roots(best: SeveralOptimum) -> np.ndarray:
    """Minus the derivatives of sigma^2 Phi, at sigma^2 = 1, in the parameters of `SeveralOptimum.hessian`."""
    info = best.information
    phi, out = info.terms.phi, []
    for k, structure in enumerate(info.problem.structures):
        squares, factor = _squares(info.fixed(k)), info.factors[k]
        for row, col in zip(structure.rows, structure.cols, strict=True):
            half = np.tensordot(factor[:, col], squares[row], 1)
            out.append(-phi @ (half + half.T) @ phi)
    return np.array([*out, -2.0 * phi])


def _squares(fixed: np.ndarray) -> np.ndarray:
    """sum_j F_ja F_jb', (q, q, p, p), of F (J, q, p)."""
    _, q, p = fixed.shape
    flat = fixed.reshape(len(fixed), q * p)
    return (flat.T @ flat).reshape(q, p, q, p).transpose(0, 2, 1, 3)


def by_levels(problem: SeveralProblem, best: SeveralOptimum) -> Derivatives:
    """`Derivatives` of a model with several grouping factors, sigma^2 not yet among its parameters."""
    info, s2 = best.information, best.own_sigma**2
    p, counts = problem.p, [len(structure.rows) for structure in problem.structures]
    elements, p_, form, vectors, values = [], [], [], [], []
    for k, structure in enumerate(problem.structures):
        fixed, e, D = info.fixed(k), info.errors(k), info.factors[k] @ info.factors[k].T
        squares, crossed = _squares(fixed), e.T @ e
        own = np.zeros((*fixed.shape[:2], counts[k], p))
        for at, (a, b) in enumerate(zip(structure.rows, structure.cols, strict=True)):
            twice = 1.0 if a == b else 2.0
            elements.append((k, a, b))
            values.append(D[a, b])
            form.append(twice * crossed[a, b])
            p_.append(-(squares[a, b] + squares[b, a]) * twice / 2.0)
            own[:, a, at] = fixed[:, b]
            own[:, b, at] = fixed[:, a]
        vectors.append(own.reshape(*fixed.shape[:2], -1))
    m = len(elements)
    q_ = info.bilinear(vectors).reshape(m, p, m, p).transpose(0, 2, 1, 3)
    trace, traces = _traces(problem, best)
    return Derivatives(
        elements=np.array(elements),
        roots=info.factors,
        values=np.array(values),
        n_rows=problem.n_rows,
        information=np.linalg.inv(info.terms.phi),
        p=np.array(p_),
        q=q_,
        trace=trace,
        traces=traces,
        form=np.array(form) / s2,
        forms=info.average().matrix / s2,
        rss=info.terms.rss / s2,
        back=best.own_sigma * problem.x_map,
    )


def _traces(problem: SeveralProblem, best: SeveralOptimum) -> tuple[np.ndarray, np.ndarray]:
    """tr(V^-1 V_i), (m,), and tr(V^-1 V_i V^-1 V_j), (m, m)."""
    trace = _trace(problem, best.factors)
    m, start = len(trace), 0
    traces = np.empty((m, m))
    for k, structure in enumerate(problem.structures):
        at = {pair: start + i for i, pair in enumerate(zip(structure.rows, structure.cols, strict=True))}
        for (a, b), i in sorted(at.items(), key=lambda item: item[0][0] != item[0][1]):
            direction = np.zeros(len(structure.random))
            direction[[a, b]] = 1.0
            traces[:, i] = -_along(problem, best.factors, k, direction)
            if a != b:  # D stays positive semidefinite along vv' = E_aa + E_bb + E_ab
                traces[:, i] -= traces[:, at[a, a]] + traces[:, at[b, b]]
        start += len(at)
    return trace, 0.5 * (traces + traces.T)


def _along(
    problem: SeveralProblem, factors: tuple[np.ndarray, ...], k: int, direction: np.ndarray
) -> np.ndarray:
    """Derivatives of all tr(V^-1 V_i) in t at 0, D_k + t vv'; (m,).

    The nearest pole is at t = -1 / (the largest eigenvalue of v'Z_k'V^-1 Z_k v), which is at most that of v'Z_k'Z_k v
    and v'D_k^-1 v.
    """
    D = factors[k] @ factors[k].T
    largest = np.sum(np.abs(direction)) * (sums(problem, k)[0] * direction**2).sum(axis=1).max()
    values, vectors = np.linalg.eigh(D)
    inside = vectors.T @ direction
    if values[0] > 0.0:
        largest = min(largest, np.sum(inside**2 / values))
    length = REACH / largest
    nodes = 0.5 * length * (1.0 + np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS))
    found = []
    for t in nodes:
        moved = list(factors)
        moved[k] = lifted([_root(D + t * np.outer(direction, direction))])[0]
        found.append(_trace(problem, moved))
    unit = 2.0 * nodes / length - 1.0
    fitted = chebyshev.chebfit(unit, np.array(found), POINTS - 1)
    return chebyshev.chebval(-1.0, chebyshev.chebder(fitted)) * 2.0 / length


def _root(matrix: np.ndarray) -> np.ndarray:
    """Any root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def _trace(problem: SeveralProblem, factors) -> np.ndarray:
    """tr(V^-1 V_i) of all elements, (m,)."""
    info, out = Information.at(problem, lifted(factors), reml=False), []
    for k, structure in enumerate(problem.structures):
        found = info.trace(k)
        twice = np.where(structure.rows == structure.cols, 1.0, 2.0)
        out.append(twice * found[structure.rows, structure.cols])
    return np.concatenate(out)

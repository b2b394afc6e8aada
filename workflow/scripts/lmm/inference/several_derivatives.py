"""What tests of fixed effects need of a fit of several factors: `derivatives.Derivatives` from moments."""

import numpy as np

from lmm.inference.derivatives import Derivatives
from lmm.inference.several_optimum import SeveralOptimum, level_sums
from lmm.likelihood.several_information import LIFT, Information
from lmm.likelihood.several_problem import SeveralProblem

# Steps of one-sided differences of third order, relative to a variance plus 1 / (z'z of a level): their error is
# about STEP^3, and rounding adds 1e-13 / STEP.
STEP = 1e-3
WEIGHTS = np.array([-11.0, 18.0, -9.0, 2.0]) / 6.0


def by_factors(problem: SeveralProblem, best: SeveralOptimum) -> Derivatives:
    """`Derivatives` of a model with several grouping factors, sigma^2 not yet among its parameters.

    Forms of V's derivatives come from solves. The traces tr(V^-1 V_i V^-1 V_j) are minus the derivatives of tr(V^-1
    V_i) in the elements of the D's; these by differences, because Z'V^-1 Z is not formed.
    """
    information, s2 = best.information, best.own_sigma**2
    terms = information.terms
    elements, vectors = [], []
    for k, structure in enumerate(problem.structures):
        own = np.concatenate([information.fixed(k), information.errors(k)[:, :, None]], axis=2)
        moved = np.zeros((*own.shape[:2], len(structure.rows), own.shape[2]))
        for at, (a, b) in enumerate(zip(structure.rows, structure.cols, strict=True)):
            moved[:, a, at] += own[:, b]
            if a != b:
                moved[:, b, at] += own[:, a]
            elements.append((k, a, b))
        vectors.append(moved)
    m, p = len(elements), problem.p
    flat = [moved.reshape(*moved.shape[:2], -1) for moved in vectors]
    both = information.bilinear(flat).reshape(m, p + 1, m, p + 1)
    P, form, through = [], [], []
    for k, moved in enumerate(vectors):
        fixed, e = information.fixed(k), information.errors(k)
        P.append(-np.einsum("jap,jatq->tpq", fixed, moved[..., :p]))
        form.append(np.einsum("ja,jat->t", e, moved[..., p]))
        through.append(np.einsum("jap,jat->tp", fixed, moved[..., p]))
    moved_e = np.concatenate(through)
    trace, traces = _traces(problem, information)
    covariances = [factor @ factor.T for factor in best.factors]
    return Derivatives(
        elements=np.array(elements),
        roots=tuple(best.factors),
        values=np.array([covariances[k][a, b] for k, a, b in elements]),
        n_rows=problem.n_rows,
        information=np.linalg.inv(terms.phi),
        p=np.concatenate(P),
        q=both[:, :p, :, :p].transpose(0, 2, 1, 3),
        trace=trace,
        traces=traces,
        form=np.concatenate(form) / s2,
        forms=(both[:, p, :, p] - moved_e @ terms.phi @ moved_e.T) / s2,
        rss=terms.rss / s2,
        back=best.own_sigma * problem.x_map,
    )


def _traces(problem: SeveralProblem, information: Information) -> tuple[np.ndarray, np.ndarray]:
    """tr(V^-1 V_i), (m,), and tr(V^-1 V_i V^-1 V_j), (m, m).

    D may be singular, so each step adds to it a matrix that is positive semidefinite: u u', u a unit vector for a
    diagonal element and a sum of two of them for another one, from which those of its diagonal are taken away.
    """

    def trace_at(covariances: list[np.ndarray]) -> np.ndarray:
        roots = [np.linalg.cholesky(D + LIFT**2 * np.eye(len(D))) for D in covariances]
        found = Information.at(problem, roots, False)
        out = []
        for k, structure in enumerate(problem.structures):
            T = found.trace(k)
            rows, cols = structure.rows, structure.cols
            out.append(np.where(rows == cols, 1.0, 2.0) * T[rows, cols])
        return np.concatenate(out)

    base = [factor @ factor.T for factor in information.factors]
    here = trace_at(base)
    places = [
        (k, a, b) for k, s in enumerate(problem.structures) for a, b in zip(s.rows, s.cols, strict=True)
    ]
    sizes = [_scales(problem, k) + np.diag(base[k]) for k in range(len(base))]
    changes = np.empty((len(places), len(places)))
    for at, (k, a, b) in enumerate(places):
        direction = np.zeros(len(base[k]))
        direction[[a, b]] = np.sqrt(sizes[k][[a, b]])
        ends = [here]
        for count in (1, 2, 3):
            moved = list(base)
            moved[k] = base[k] + count * STEP * np.outer(direction, direction)
            ends.append(trace_at(moved))
        changes[at] = WEIGHTS @ np.array(ends) / STEP
    # along u u' a derivative is that of the elements times u_a u_b; the off-diagonal one moves both places at once
    index = {place: at for at, place in enumerate(places)}
    out = np.empty_like(changes)
    for at, (k, a, b) in enumerate(places):
        if a == b:
            out[at] = changes[at] / sizes[k][a]
    for at, (k, a, b) in enumerate(places):
        if a != b:
            own = sizes[k][a] * out[index[k, a, a]] + sizes[k][b] * out[index[k, b, b]]
            out[at] = (changes[at] - own) / np.sqrt(sizes[k][a] * sizes[k][b])
    return here, -0.5 * (out + out.T)


def _scales(problem: SeveralProblem, k: int) -> np.ndarray:
    """1 / (mean of z'z over levels) of each random effect of factor k: where its variance begins to matter."""
    return len(problem.levels[k]) / np.maximum(level_sums(problem, k)[0].sum(axis=0), 1e-300)

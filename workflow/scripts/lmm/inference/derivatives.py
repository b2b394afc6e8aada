"""What tests of fixed effects need of a fit, from moments: traces and forms of the derivatives of V.

V = Var(y) is linear in the elements of the random effects' covariance matrices and in sigma^2:
V = sigma^2 I + sum_i d_i V_i, V_i = Z_k (I x E_i) Z_k', E_i the symmetric matrix with ones at (a, b) and (b, a).
So Satterthwaite's and Kenward and Roger's formulas need only the following, all from

    F = Z'V^-1 X,  K = Z'V^-1 Z,  e = Z'P y,  Phi = (X'V^-1 X)^-1,  P = V^-1 - V^-1 X Phi X'V^-1,

and nothing whose size depends on the number of rows. The terms of sigma^2 follow from those of the d_i, because
I = V - sum_i d_i V_i in units where sigma^2 is 1 (`complete`).
"""

from dataclasses import dataclass, replace

import numpy as np

from lmm.core.compiled import kernel
from lmm.inference.optimum import Optimum, fill
from lmm.likelihood.elimination import factorise, project, solve_lower
from lmm.likelihood.grouped import reml_terms
from lmm.likelihood.problem import Problem


@dataclass(frozen=True)
class Derivatives:
    """Forms of V's derivatives at an optimum, in the kernel's coordinates of beta and units of sigma.

    The parameters are the m free elements of the D's; after `complete` sigma^2 is the last of m + 1.

    Attributes
    ----------
    elements : (m, 3) int array
        Random-effects term, row and column of each free element of the D's and of their roots, row >= column.
    roots : tuple of (q_k, q_k) arrays
        Lower triangular roots of each term's D / sigma^2.
    values : (m,) or (m + 1,) array
        The elements' values, relative to sigma^2; 1 for sigma^2.
    n_rows : int
    information : (p, p) array
        X'V^-1 X.
    p : (m, p, p) array
        P_i = -X'V^-1 V_i V^-1 X.
    q : (m, m, p, p) array
        Q_ij = X'V^-1 V_i V^-1 V_j V^-1 X.
    trace : (m,) array
        tr(V^-1 V_i).
    traces : (m, m) array
        tr(V^-1 V_i V^-1 V_j).
    form : (m,) array
        y'P V_i P y.
    forms : (m, m) array
        y'P V_i P V_j P y.
    rss : float
        y'P y.
    back : (p, p) array
        beta in original units = back @ beta here, an offset apart.
    """

    elements: np.ndarray
    roots: tuple[np.ndarray, ...]
    values: np.ndarray
    n_rows: int
    information: np.ndarray
    p: np.ndarray
    q: np.ndarray
    trace: np.ndarray
    traces: np.ndarray
    form: np.ndarray
    forms: np.ndarray
    rss: float
    back: np.ndarray


@kernel
def _over_groups(gram, factor, beta, n_groups, rows, cols, p_, q_, trace, traces, form, forms, moved):
    """Sums over groups for one grouping factor; the outputs come zeroed.

    `forms` gets sum_j e'E_i K E_j e and `moved` (m, p) sum_j F'E_i e, whose product through Phi is still to be
    subtracted.
    """
    _, q, width, lanes = gram.shape
    p, m = width - q - 1, len(rows)
    chol, product = np.empty((q, q, lanes)), np.ones(lanes)
    half = np.empty((q, width, lanes))  # C^-1 Lambda' [A B c], C the Cholesky factor of M_j
    rest = np.empty((q, width))  # [K F F_y]
    e = np.empty(q)
    swapped = np.empty((m, q, q))  # E_i K
    through = np.empty((m, q, p))  # K E_i F
    through_e = np.empty((m, q))  # K E_i e
    for j in range(n_groups):
        block, lane = j // lanes, j % lanes
        if lane == 0:
            project(factor, gram[block], half)
            factorise(factor, half, chol, product)
            solve_lower(chol, half)
        for a in range(q):
            for b in range(width):
                s = gram[block, a, b, lane]
                for k in range(q):
                    s -= half[k, a, lane] * half[k, b, lane]
                rest[a, b] = s
            e[a] = rest[a, q + p]
            for b in range(p):
                e[a] -= rest[a, q + b] * beta[b]
        for i in range(m):
            r, c = rows[i], cols[i]
            for a in range(q):
                for b in range(q):
                    swapped[i, a, b] = 0.0
                for b in range(p):
                    through[i, a, b] = rest[a, r] * rest[c, q + b]
                    if r != c:
                        through[i, a, b] += rest[a, c] * rest[r, q + b]
                through_e[i, a] = rest[a, r] * e[c]
                if r != c:
                    through_e[i, a] += rest[a, c] * e[r]
            for b in range(q):
                swapped[i, r, b] = rest[c, b]
                swapped[i, c, b] = rest[r, b]
            twice = 1.0 if r == c else 2.0
            trace[i] += twice * rest[r, c]
            form[i] += twice * e[r] * e[c]
            for a in range(p):
                moved[i, a] += rest[r, q + a] * e[c]
                if r != c:
                    moved[i, a] += rest[c, q + a] * e[r]
                for b in range(p):
                    p_[i, a, b] -= rest[r, q + a] * rest[c, q + b]
                    if r != c:
                        p_[i, a, b] -= rest[c, q + a] * rest[r, q + b]
        for i in range(m):
            r, c = rows[i], cols[i]
            for k in range(m):
                s = 0.0
                for a in range(q):
                    for b in range(q):
                        s += swapped[i, a, b] * swapped[k, b, a]
                traces[i, k] += s
                forms[i, k] += e[r] * through_e[k, c]
                if r != c:
                    forms[i, k] += e[c] * through_e[k, r]
                for a in range(p):
                    for b in range(p):
                        q_[i, k, a, b] += rest[r, q + a] * through[k, c, b]
                        if r != c:
                            q_[i, k, a, b] += rest[c, q + a] * through[k, r, b]


def by_group(problem: Problem, best: Optimum) -> Derivatives:
    """`Derivatives` of a model with one grouping factor, sigma^2 not yet among its parameters."""
    sigma = best.sigma / problem.y_scale
    return given(problem, fill(problem.structure, best.phi) / sigma, sigma)


def given(problem: Problem, factor: np.ndarray, sigma: float) -> Derivatives:
    """`by_group` at any parameters.

    Parameters
    ----------
    problem : Problem
        The model over moments, in the kernel's coordinates.
    factor : (q, q) array
        Lambda, a root of D / sigma^2 in the kernel's coordinates.
    sigma : float
        In the kernel's units.

    Returns
    -------
    Derivatives
    """
    (gram, total), own = problem.sums, problem.reduced(factor)
    _, rss, beta, root, _, _ = reml_terms(gram, total, own, np.zeros_like(total), False)
    rows, cols = problem.structure.rows, problem.structure.cols
    m, p = len(rows), problem.p
    shapes = ((m, p, p), (m, m, p, p), (m,), (m, m), (m,), (m, m), (m, p))
    p_, q_, trace, traces, form, forms, moved = (np.zeros(shape) for shape in shapes)
    _over_groups(
        gram, own, beta, problem.n_groups, rows, cols,
        p_, q_, trace, traces, form, forms, moved,
    )  # fmt: skip
    half = np.linalg.solve(root, moved.T)
    covariance = factor @ factor.T
    return Derivatives(
        elements=np.column_stack([np.zeros(m, dtype=int), rows, cols]),
        roots=(factor,),
        values=covariance[rows, cols],
        n_rows=problem.n_rows,
        information=root @ root.T,
        p=p_,
        q=q_,
        trace=trace,
        traces=traces,
        form=form / sigma**2,
        forms=(forms - half.T @ half) / sigma**2,
        rss=rss / sigma**2,
        back=sigma * problem.x_map,
    )


def complete(some: Derivatives) -> Derivatives:
    """With sigma^2 as the last parameter: V_s = I = V - sum_i d_i V_i."""
    m, d = len(some.values), some.values
    p = np.empty((m + 1, *some.information.shape))
    p[:m] = some.p
    p[m] = -some.information - np.tensordot(d, some.p, 1)
    q = np.empty((m + 1, m + 1, *some.information.shape))
    q[:m, :m] = some.q
    q[:m, m] = -some.p - np.tensordot(some.q, d, (1, 0))
    q[m, :m] = q[:m, m].transpose(0, 2, 1)
    q[m, m] = -p[m] - np.tensordot(d, q[:m, m], 1)
    trace = np.append(some.trace, some.n_rows - d @ some.trace)
    form = np.append(some.form, some.rss - d @ some.form)

    def bordered(inner: np.ndarray, edge: np.ndarray) -> np.ndarray:
        """The matrix whose product with (d, 1) is `edge`."""
        out = np.empty((m + 1, m + 1))
        out[:m, :m] = inner
        out[:m, m] = out[m, :m] = edge[:m] - inner @ d
        out[m, m] = edge[m] - d @ out[:m, m]
        return out

    traces, forms = bordered(some.traces, trace), bordered(some.forms, form)
    values = np.append(d, 1.0)
    return replace(some, values=values, p=p, q=q, trace=trace, traces=traces, form=form, forms=forms)

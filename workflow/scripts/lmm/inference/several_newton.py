"""Newton's method on the (RE)ML criterion of several factors: average information far away, differences near.

Average information needs solves only, and is close to the Hessian where the data say much; near the optimum the
Hessian by differences of the analytic gradient ends the search and certifies it (docs/statistics.md, sections 3 and
10). No element of a relative factor is bounded: at a bound the search would stop where there is no optimum.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lmm.likelihood.several_information import Information
from lmm.likelihood.several_problem import SeveralProblem

ROUND = 1e-13  # relative rounding error of the criterion
STEP = 1e-5  # of differences of the gradient, relative to the coordinate or to SCALE
SCALE = 1e-1
# Twice the fall of the criterion that a step promises: below it the Hessian is worth its price,
NEAR = 1e-2
# and one of an earlier point serves while each step promises at most this share of what the last one did.
SLOW = 1e-2
# Where values are enough, average information serves while each step promises at most this share.
LINEAR = 0.1
LONGEST = 3.0  # of a step, in coordinates of order 1, else relative to the largest
ITERATIONS = 200
SADDLE = 1e-7  # negative eigenvalues of a Hessian down to this share of the largest are rounding
EPS = np.finfo(float).eps
# Twice the fall of the criterion that rounding may hide at the most: 1e-2 standard errors.
HIDDEN = 1e-4


class Place(NamedTuple):
    """The model at one point of the coordinates phi.

    Attributes
    ----------
    factors : list of (q_k, q_k) arrays
        lambda_k in the kernel's coordinates.
    s2 : float or None
        sigma^2 in the kernel's units; None: profiled out.
    directions : list of (n, q_k, q_k) arrays
        Derivatives of lambda_k in each coordinate.
    log_s2 : (n,) array
        Derivatives of log sigma^2.
    """

    factors: list[np.ndarray]
    s2: float | None
    directions: list[np.ndarray]
    log_s2: np.ndarray


@dataclass(frozen=True)
class Point:
    """Criterion, gradient and average information at one place, in the kernel's units."""

    phi: np.ndarray
    place: Place
    information: Information
    df: int

    @property
    def s2(self) -> float:
        """sigma^2 in the kernel's units."""
        return self.information.terms.rss / self.df if self.place.s2 is None else self.place.s2

    @property
    def noise(self) -> float:
        """Rounding of a row's share in y'P y, a difference of sums of squares, relative to sigma^2."""
        return float(EPS * self.information.problem.total[-1, -1] / (self.s2 * self.df))

    @cached_property
    def value(self) -> float:
        """-2 log L without `SeveralProblem.constant`; infinite where it does not exist."""
        terms = self.information.terms
        if not (self.information.finite and terms.rss > 0.0):
            return np.inf
        return float(self.df * np.log(2.0 * np.pi * self.s2) + terms.logdet + terms.rss / self.s2)

    @cached_property
    def gradient(self) -> np.ndarray:
        """Derivatives of `value` in phi."""
        out = self.place.log_s2 * (self.df - self.information.terms.rss / self.s2)
        for k, own in enumerate(self.place.directions):
            e = self.information.errors(k)
            slope = self.information.slope(k) - e.T @ e @ self.place.factors[k] / self.s2
            out = out + 2.0 * np.einsum("ab,nab->n", slope, own)
        return out

    def derivative(self, k: int) -> np.ndarray:
        """Derivative of `value` in D_k, (q_k, q_k); in directions that D_k lacks it is 0 here whatever it is."""
        e, factor, information = self.information.errors(k), self.place.factors[k], self.information
        if k == information.problem.order[0]:
            trace = information.trace(k)
        else:
            at, q = information.problem.order.index(k), len(factor)
            trace = information.terms.slopes[at, :q, :q] @ np.linalg.pinv(factor, rcond=1e-12)
        out = trace - e.T @ e / self.s2
        return 0.5 * (out + out.T)

    @cached_property
    def average(self) -> np.ndarray:
        """Average information in phi, with the curvature that the coordinates add where D may shrink."""
        problem, place = self.information.problem, self.place
        found = self.information.average()
        jacobian, curvature = [], 0.0
        for k, structure in enumerate(problem.structures):
            own = place.directions[k]
            change = own @ place.factors[k].T
            change = change + change.transpose(0, 2, 1)
            jacobian.append(change[:, structure.rows, structure.cols])
            values, vectors = np.linalg.eigh(self.derivative(k))
            upward = (vectors * np.maximum(values, 0.0)) @ vectors.T
            curvature = curvature + 2.0 * own.reshape(len(own), -1) @ (upward @ own).reshape(len(own), -1).T
        J = np.hstack(jacobian)
        if place.s2 is None:
            return J @ found.profiled(self.s2) @ J.T + curvature
        J = np.column_stack([J, place.log_s2])
        return J @ found.whole(self.s2) @ J.T + curvature


@dataclass(frozen=True)
class Objective:
    """The criterion in some coordinates.

    Attributes
    ----------
    problem : SeveralProblem
    reml : bool
    place : callable
        phi -> Place, None outside the coordinates' range.
    """

    problem: SeveralProblem
    reml: bool
    place: Callable[[np.ndarray], Place | None]

    def at(self, phi: np.ndarray) -> Point | None:
        """The point, None where the criterion is not finite.

        Parameters
        ----------
        phi : (n,) array
            Coordinates.

        Returns
        -------
        Point or None
        """
        place = self.place(phi)
        if place is None:
            return None
        information = Information.at(self.problem, place.factors, self.reml)
        point = Point(phi, place, information, self.problem.df(self.reml))
        return point if np.isfinite(point.value) else None

    def hessian(self, point: Point, held: int | None = None, central: bool = False) -> np.ndarray:
        """Hessian by differences of the gradient; 0 in the row and column of the `held` coordinate.

        One-sided differences cost half and are right to about 1e-4, central ones to about 1e-8.

        Parameters
        ----------
        point : Point
            Where.
        held : int or None
            The coordinate that is not moved.
        central : bool
            Whether differences are central.

        Returns
        -------
        (n, n) array
        """
        phi, n = point.phi, len(point.phi)
        out = np.zeros((n, n))
        share = max(STEP, np.sqrt(point.noise))
        for k in range(n):
            if k == held:
                continue
            step = share * max(SCALE, abs(phi[k])) * np.eye(n)[k]
            up, down = self.at(phi + step), self.at(phi - step) if central else point
            if up is not None and down is not None:
                out[k] = (up.gradient - down.gradient) / (up.phi[k] - down.phi[k])
        out = 0.5 * (out + out.T)
        if held is not None:
            out[held], out[:, held] = 0.0, 0.0
        return out


def relative(problem: SeveralProblem) -> Callable[[np.ndarray], Place]:
    """Coordinates: the free elements of all lambda_k, factor after factor; sigma profiled out."""
    ends = np.cumsum([0, *(len(structure.rows) for structure in problem.structures)])
    directions = []
    for k, structure in enumerate(problem.structures):
        own = np.zeros((ends[-1], *(len(structure.random),) * 2))
        own[np.arange(ends[k], ends[k + 1]), structure.rows, structure.cols] = 1.0
        directions.append(own)
    nothing = np.zeros(ends[-1])

    def place(phi: np.ndarray) -> Place:
        factors = [np.tensordot(phi, own, 1) for own in directions]
        return Place(factors, None, directions, nothing)

    return place


def free(problem: SeveralProblem, factors: Sequence[np.ndarray]) -> np.ndarray:
    """The coordinates of `relative` of lower triangular factors.

    Parameters
    ----------
    problem : SeveralProblem
        Its structures.
    factors : sequence of (q_k, q_k) arrays
        Lower triangular lambda_k.

    Returns
    -------
    (n,) array
    """
    return np.concatenate([f[s.rows, s.cols] for f, s in zip(factors, problem.structures, strict=True)])


class Stop(NamedTuple):
    """Where a search ended.

    Attributes
    ----------
    point : Point
    converged : bool
        The gradient is 0 to rounding and the Hessian has no negative eigenvalue.
    """

    point: Point
    converged: bool


def minimise(objective: Objective, point: Point, held: int | None = None, enough: float = 0.0) -> Stop:
    """Newton's method from a point over all coordinates but `held`, leaving saddles along negative curvature.

    Parameters
    ----------
    objective : Objective
        The criterion in some coordinates.
    point : Point
        Where the search starts.
    held : int or None
        The coordinate that is not moved.
    enough : float
        Stop where a step promises to lower the criterion by less than half of this, whatever the Hessian: for values
        of the criterion alone. 0: at rounding, with a Hessian that has no negative eigenvalue.

    Returns
    -------
    Stop
    """
    n, df = len(point.phi), point.df
    others = [k for k in range(n) if k != held]
    if not others:
        return Stop(point, True)
    exact, promised = None, np.inf  # Hessian by differences, and what the last step promised
    for _ in range(ITERATIONS):
        gradient, size = point.gradient[others], np.maximum(1.0, np.abs(point.phi[others]))
        if exact is None:
            move, decrement, saddle, along = _step(point.average[np.ix_(others, others)], gradient, size)
        if exact is not None:
            move, decrement, saddle, along = _step(exact, gradient, size)
        fresh = False
        if decrement < enough:
            return Stop(point, True)
        slow = decrement > (SLOW if exact is not None else LINEAR) * promised
        if decrement < NEAR and (slow or (exact is None and enough == 0.0)):
            exact = objective.hessian(point, held)[np.ix_(others, others)]
            move, decrement, saddle, along = _step(exact, gradient, size)
            fresh = True
        elif exact is not None and decrement >= NEAR:
            exact = None
            move, decrement, saddle, along = _step(point.average[np.ix_(others, others)], gradient, size)
        promised = decrement
        if saddle and decrement < 1e-8:  # stationary, and no minimum: leave along the steepest bend
            move = move + 0.5 * along
        longest = LONGEST * max(1.0, np.abs(point.phi).max())
        move *= min(1.0, longest / max(np.abs(move).max(), 1e-300))
        slack, noise = ROUND * (abs(point.value) + df) + df * point.noise, df * point.noise**2
        following, reach = None, 1.0
        for _ in range(30):
            phi = point.phi.copy()
            phi[others] += reach * move
            trial = objective.at(phi)
            if trial is not None and (
                trial.value < point.value or (not saddle and trial.value <= point.value + slack)
            ):
                following = trial
                break
            reach *= 0.4
        if following is None:
            hidden = max(1e-9, min(slack, HIDDEN))
            return Stop(point, decrement < hidden and not saddle and exact is not None)
        length = np.abs(reach * move).max()
        point = following
        least = max(1e-15 * max(1.0, df * 1e-3), noise)
        if exact is not None and not saddle and (decrement < least or length < 1e-13):
            return Stop(point, True)
        if fresh and saddle:
            exact = None
    return Stop(point, False)


def _step(
    matrix: np.ndarray, gradient: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, float, bool, np.ndarray]:
    """Newton's step with absolute eigenvalues, in coordinates that are divided by `size`.

    Returns
    -------
    move : (n,) array
    decrement : float
        Twice the fall of the criterion that it promises.
    saddle : bool
        The matrix has a negative eigenvalue.
    along : (n,) array
        The direction of the least eigenvalue, downhill.
    """
    roots, vectors = np.linalg.eigh(matrix * np.outer(size, size))
    largest = max(np.abs(roots).max(), 1e-200)
    bends = np.maximum(np.abs(roots), 1e-9 * largest)
    along = vectors.T @ (gradient * size)
    move = -size * (vectors @ (along / bends))
    sign = -1.0 if along[0] > 0.0 else 1.0
    downhill = sign * size * vectors[:, 0]
    return move, float(along @ (along / bends)), bool(roots[0] < -SADDLE * largest), downhill

"""Marginal log likelihood of all roots L_k and sigma of several factors, with beta integrated out.

As `marginal` has it for one factor: beta is flat or normal, D_k = L_k L_k' in original units or in coordinates of the
caller's (docs/statistics.md, section 10).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmm.likelihood.marginal import log_density_of, prior_of_fixed
from lmm.likelihood.remainder import Terms
from lmm.likelihood.several_information import Information
from lmm.likelihood.several_points import values_at_points
from lmm.likelihood.several_problem import SeveralProblem


@dataclass(frozen=True)
class SeveralMarginal:
    """The density over moments.

    Attributes
    ----------
    problem : SeveralProblem
    transforms : tuple of (q_k, q_k) arrays
        lambda_k = transform @ L_k / sigma, sigma in the kernel's units.
    prior : (p + 1, p + 1) array
        Gram matrix of beta's normal prior in the kernel's coordinates; zeros where it is flat.
    constant : float
        What -2 log p gains by the change of coordinates and the prior of beta.
    """

    problem: SeveralProblem
    transforms: tuple[np.ndarray, ...]
    prior: np.ndarray
    constant: float

    @classmethod
    def of(
        cls,
        problem: SeveralProblem,
        random_maps: Sequence[np.ndarray],
        mean: np.ndarray | None = None,
        root: np.ndarray | None = None,
    ) -> "SeveralMarginal":
        """The density for roots of the covariance matrices of v_k, u_k = random_map @ v_k.

        Parameters
        ----------
        problem : SeveralProblem
            The model over moments.
        random_maps : sequence of (q_k, q_k) arrays
            To original units.
        mean, root : (p,), (r, p) arrays, optional
            Normal prior of beta: see `marginal.pack_problem`.

        Returns
        -------
        SeveralMarginal
        """
        pairs = zip(problem.z_maps, random_maps, strict=True)
        transforms = tuple(problem.y_scale * np.linalg.solve(z_map, own) for z_map, own in pairs)
        prior, constant = np.zeros_like(problem.total), problem.constant(True)
        if root is not None:
            prior, _, gain = prior_of_fixed(problem, mean, root)
            constant += gain
        return cls(problem, transforms, prior, constant)

    def factors(
        self, roots: Sequence[np.ndarray], sigmas: np.ndarray | float
    ) -> tuple[list[np.ndarray], Any]:
        """Relative factors, and sigma in the kernel's units, of one point or of many.

        Parameters
        ----------
        roots : sequence of (..., q_k, q_k) arrays
            L_k.
        sigmas : (...) array or float
            Residual sd, original units.

        Returns
        -------
        list of (..., q_k, q_k) arrays, (...) array or float
        """
        scale = np.asarray(sigmas)[..., None, None]
        factors = [transform @ root / scale for transform, root in zip(self.transforms, roots, strict=True)]
        return factors, sigmas / self.problem.y_scale

    def at(self, roots: Sequence[np.ndarray], sigma: float) -> tuple[list[np.ndarray], float, Terms]:
        """Relative factors, sigma in the kernel's units, and the criterion's terms with derivatives.

        Parameters
        ----------
        roots : sequence of (q_k, q_k) arrays
            L_k.
        sigma : float
            Residual sd, original units.

        Returns
        -------
        list of (q_k, q_k) arrays, float, Terms
        """
        factors, own = self.factors(roots, sigma)
        return (
            factors,
            float(own),
            self.problem.terms(self.problem.packed(factors), ridge=self.prior * own**2),
        )

    def over(
        self, roots: Sequence[np.ndarray], sigmas: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Log density and GLS of beta at S points.

        Parameters
        ----------
        roots : sequence of (S, q_k, q_k) arrays
            L_k.
        sigmas : (S,) array
            Residual sds, original units.

        Returns
        -------
        value : (S,) array
            NaN where it cannot be evaluated.
        beta, phi : (S, p), (S, p, p) arrays
            GLS estimates and (X'V^-1 X)^-1, kernel's coordinates.
        own : (S,) array
            sigma in the kernel's units.
        """
        factors, own = self.factors(roots, sigmas)
        lams = self.problem.packed(factors)
        df = float(self.problem.df(True))
        found = values_at_points(self.problem.inputs, lams, own, self.prior, df, self.constant)
        return (*found, own)

    def slope(self, roots: Sequence[np.ndarray], sigma: float) -> tuple[float, list[np.ndarray], float]:
        """Log density, and its derivatives in the elements of all L_k and in sigma.

        Parameters
        ----------
        roots : sequence of (q_k, q_k) arrays
            L_k.
        sigma : float
            Residual sd, original units.

        Returns
        -------
        float, list of (q_k, q_k) arrays, float
            NaN where the density cannot be evaluated.
        """
        factors, own, terms = self.at(roots, sigma)
        if not np.isfinite(terms.logdet):
            return np.nan, [np.full_like(root, np.nan) for root in roots], np.nan
        information, s2, df = (
            Information(self.problem, tuple(factors), terms, True),
            own**2,
            self.problem.df(True),
        )
        p = self.problem.p
        d_own = 2.0 * df / own - 2.0 * terms.rss / (s2 * own)
        d_roots = []
        for k, (transform, factor) in enumerate(zip(self.transforms, factors, strict=True)):
            e = information.errors(k)
            change = 2.0 * (information.slope(k) - e.T @ e @ factor / s2)
            d_own -= float(np.sum(change * factor)) / own
            d_roots.append(-0.5 * transform.T @ change / sigma)
        around = np.append(terms.beta, -1.0)  # the prior's share: log|S_X + s2 P| and its quadratic form
        d_own += 2.0 * own * float(np.sum(terms.phi * self.prior[:p, :p]))
        d_own += 2.0 / own * float(around @ self.prior @ around)
        value = float(log_density_of(terms.logdet, terms.rss, own, df, self.constant))
        return value, d_roots, -0.5 * d_own / self.problem.y_scale

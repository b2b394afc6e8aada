"""Priors by name: `normal(0, 2.5)`, `half_student_t(3, 10)`, `lkj(2)`.

A prior is a name and numbers; what it means in a model is the engine's affair, what it means as a
distribution (density, draws) is here, for tables, figures, tests and simulation-based calibration.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmm.core.errors import StudyError


@dataclass(frozen=True)
class _Family:
    """A family of distributions.

    Attributes
    ----------
    arguments : tuple of str
    bounds : tuple of float
        Lower bounds of the arguments (exclusive; -inf: any).
    support : str
        real, positive, interval, correlation or any.
    density : callable
        Of a value within the support and the arguments: the log density, normalised, and its derivative.
    """

    arguments: tuple[str, ...]
    bounds: tuple[float, ...]
    support: str
    density: Callable


def _normal(x, mean, sd):
    z = (x - mean) / sd
    return -0.5 * z * z - math.log(sd) - 0.5 * math.log(2.0 * math.pi), -z / sd


def _student_t(x, df, mean, scale):
    z = (x - mean) / scale
    constant = math.lgamma(0.5 * (df + 1.0)) - math.lgamma(0.5 * df) - 0.5 * math.log(df * math.pi)
    value = constant - math.log(scale) - 0.5 * (df + 1.0) * np.log1p(z * z / df)
    return value, -(df + 1.0) * z / (df + z * z) / scale


def _half(density: Callable) -> Callable:
    """The density of |x|, x symmetric around 0."""

    def folded(x, *args):
        value, slope = density(x, *args)
        return value + math.log(2.0), slope

    return folded


def _none(x):
    raise ValueError("auto: has no density until the data give it a scale")


def _lkj(x, eta):
    """Of one correlation between two effects: a beta distribution on (-1, 1)."""
    constant = math.lgamma(2.0 * eta) - 2.0 * math.lgamma(eta) - (2.0 * eta - 1.0) * math.log(2.0)
    if eta == 1.0:
        return constant + 0.0 * x, 0.0 * x
    rest = (1.0 - x) * (1.0 + x)
    return constant + (eta - 1.0) * np.log(rest), -2.0 * (eta - 1.0) * x / rest


_ANY = -math.inf
FAMILIES = {
    "auto": _Family((), (), "any", _none),
    "flat": _Family((), (), "any", lambda x: (0.0 * x, 0.0 * x)),
    "uniform": _Family(
        ("low", "high"), (_ANY, _ANY), "interval", lambda x, a, b: (0.0 * x - math.log(b - a), 0.0 * x)
    ),
    "normal": _Family(("mean", "sd"), (_ANY, 0), "real", _normal),
    "student_t": _Family(("df", "mean", "scale"), (0, _ANY, 0), "real", _student_t),
    "half_normal": _Family(("sd",), (0,), "positive", _half(lambda x, sd: _normal(x, 0.0, sd))),
    "half_student_t": _Family(
        ("df", "scale"), (0, 0), "positive", _half(lambda x, df, scale: _student_t(x, df, 0.0, scale))
    ),
    "half_cauchy": _Family(
        ("scale",), (0,), "positive", _half(lambda x, scale: _student_t(x, 1.0, 0.0, scale))
    ),
    "exponential": _Family(
        ("rate",), (0,), "positive", lambda x, rate: (math.log(rate) - rate * x, 0.0 * x - rate)
    ),
    "lkj": _Family(("eta",), (0,), "correlation", _lkj),
}
# which families a kind of parameter can have
KINDS = {
    "fixed": ("auto", "flat", "normal", "student_t", "uniform"),
    "sd": ("auto", "flat", "uniform", "half_normal", "half_student_t", "half_cauchy", "exponential"),
    "sigma": ("auto", "flat", "uniform", "half_normal", "half_student_t", "half_cauchy", "exponential"),
    "corr": ("auto", "lkj"),
}
_TEXT = re.compile(r"\s*([a-z_]+)\s*(?:\(([^()]*)\))?\s*")


@dataclass(frozen=True)
class Prior:
    """A prior distribution by name.

    Attributes
    ----------
    name : str
        A key of `FAMILIES`.
    args : tuple of float
        In the order of the family's arguments, in the unit of the parameter.
    """

    name: str
    args: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        """As a configuration writes it; `parse` reads it back."""
        return f"{self.name}({', '.join(f'{a:.15g}' for a in self.args)})" if self.args else self.name

    @property
    def proper(self) -> bool:
        """Whether it integrates to 1. `auto` is: the scaled priors that stand for it all are."""
        return self.name != "flat"

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest value; (-inf, inf) for `flat` and `auto`, whatever the parameter."""
        family = FAMILIES[self.name]
        if family.support == "interval":
            return self.args[0], self.args[1]
        return {"positive": (0.0, math.inf), "correlation": (-1.0, 1.0)}.get(
            family.support, (-math.inf, math.inf)
        )

    def logpdf(self, value: np.ndarray) -> np.ndarray:
        """Log density at `value`, any shape; `lkj`: of one correlation between two effects; `flat`: 0.

        Parameters
        ----------
        value : array of any shape
            In the unit of the parameter.

        Returns
        -------
        array of the same shape
            -inf outside the support.
        """
        return self.density(value)[0]

    def density(self, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log density at `value` and its derivative there; outside the support -inf and 0.

        Parameters
        ----------
        value : array of any shape
            In the unit of the parameter.

        Returns
        -------
        value, slope : arrays of the same shape
        """
        value = np.asarray(value, dtype=np.float64)
        low, high = self.support
        inside = (value >= low) & (value <= high)
        with np.errstate(divide="ignore", invalid="ignore"):
            found, slope = FAMILIES[self.name].density(value, *self.args)
        return np.where(inside, found, -np.inf), np.where(inside, slope, 0.0)

    def sample(self, rng: np.random.Generator, size: int | tuple[int, ...] = ()) -> np.ndarray:
        """Draws of shape `size`; for `lkj` those of one correlation between two effects (see `sample_corr`).

        Raises
        ------
        ValueError
            For `flat` and `auto`, which cannot be drawn from.
        """
        draws = self._distribution().rvs(size=size, random_state=rng)
        return np.abs(draws) if self.name == "half_student_t" else draws

    def sample_corr(self, rng: np.random.Generator, q: int) -> np.ndarray:
        """A (q, q) correlation matrix from LKJ(eta), by partial correlations.

        Lewandowski, Kurowicka & Joe 2009 (J. Multivar. Anal. 100), C-vine method.
        """
        if self.name != "lkj":
            raise ValueError(f"{self.text}: expected lkj(eta)")
        partial = np.eye(q)
        corr = np.eye(q)
        for k in range(q - 1):
            shape = self.args[0] + (q - 2 - k) / 2
            for i in range(k + 1, q):
                partial[k, i] = 2 * rng.beta(shape, shape) - 1
                value = partial[k, i]
                for m in range(k - 1, -1, -1):
                    spread = (1 - partial[m, i] ** 2) * (1 - partial[m, k] ** 2)
                    value = value * math.sqrt(spread) + partial[m, i] * partial[m, k]
                corr[k, i] = corr[i, k] = value
        return corr

    def _distribution(self):
        """scipy's distribution, to draw from; for half_student_t the t before it is folded at 0."""
        from scipy import stats  # slow to import, and a configuration needs only names

        make = {
            "uniform": lambda low, high: stats.uniform(low, high - low),
            "normal": stats.norm,
            "student_t": stats.t,
            "half_normal": lambda sd: stats.halfnorm(0, sd),
            "half_student_t": lambda df, scale: stats.t(df, 0, scale),
            "half_cauchy": lambda scale: stats.halfcauchy(0, scale),
            "exponential": lambda rate: stats.expon(0, 1 / rate),
            "lkj": lambda eta: stats.beta(eta, eta, -1, 2),
        }.get(self.name)
        if make is None:
            raise ValueError(f"{self.name}: has no density of its own")
        return make(*self.args)


def parse_prior(text: str, kind: str, where: str) -> Prior:
    """Read a prior for a kind of parameter.

    Parameters
    ----------
    text : str
        Such as `uniform(0, 100)`.
    kind : str
        `fixed`, `sd`, `sigma` or `corr`.
    where : str
        Key path for the error message.

    Returns
    -------
    Prior

    Raises
    ------
    StudyError
        For an unknown name, wrong arguments, or a family that this kind of parameter cannot have.
    """
    match = _TEXT.fullmatch(text) if isinstance(text, str) else None
    allowed = ", ".join(signature(name) for name in KINDS[kind])
    if match is None or match[1] not in KINDS[kind]:
        raise StudyError(where, f"'{text}': expected a prior for {kind}: {allowed}")
    name, family = match[1], FAMILIES[match[1]]
    try:
        args = tuple(float(piece) for piece in match[2].split(",")) if (match[2] or "").strip() else ()
    except ValueError:
        raise StudyError(where, f"'{text}': expected numbers as in {signature(name)}") from None
    if len(args) != len(family.arguments) or not all(map(math.isfinite, args)):
        raise StudyError(where, f"'{text}': expected {signature(name)} with finite numbers")
    for argument, value, bound in zip(family.arguments, args, family.bounds, strict=True):
        if value <= bound:
            raise StudyError(where, f"'{text}': {argument} is {value:g}; expected more than {bound:g}")
    if name == "uniform" and args[0] >= args[1]:
        raise StudyError(where, f"'{text}': expected low < high")
    if name == "uniform" and kind in ("sd", "sigma") and args[0] < 0:
        raise StudyError(
            where, f"'{text}': low is {args[0]:g}; expected at least 0, as standard deviations are"
        )
    return Prior(name, args)


def signature(name: str) -> str:
    """How a family is written, e.g. `normal(mean, sd)`."""
    arguments = FAMILIES[name].arguments
    return f"{name}({', '.join(arguments)})" if arguments else name


def of_factor(setting: str | Mapping[str, Any], group: str, random: Sequence[str]) -> str | dict[str, str]:
    """The part of `priors.sd` that is of one factor: by factor, or by terms that this factor has.

    Parameters
    ----------
    setting : str or mapping
        `priors.sd`: a text for all, or a mapping by factor (a text, or a mapping by term) or by term.
    group : str
        The factor.
    random : sequence of str
        Its terms.

    Returns
    -------
    str or dict
        For each of its terms, or one for all.
    """
    if isinstance(setting, str):
        return setting
    if group in setting:
        own = setting[group]
        return own if isinstance(own, str) else dict(own)
    return {term: prior for term, prior in setting.items() if term in random and isinstance(prior, str)}

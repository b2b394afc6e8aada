"""Priors of a model with several grouping factors: each factor's own, fixed effects and residual sd shared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lmm.core.errors import StudyError
from lmm.core.tidy import RESIDUAL, variable
from lmm.engines.pymc.priors import Priors, resolve
from lmm.model.priors import of_factor
from lmm.moments.several import SeveralMoments


@dataclass(frozen=True)
class SeveralPriors:
    """Priors with their numbers and coordinates.

    Attributes
    ----------
    groups : tuple of str
        Names of the factors.
    factors : tuple of Priors
        Of each factor; fixed effects and sigma are the same in all.
    """

    groups: tuple[str, ...]
    factors: tuple[Priors, ...]

    @property
    def shared(self) -> Priors:
        """Where the priors of fixed effects and sigma are looked up."""
        return self.factors[0]

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Group and tidy term of each variance parameter; sigma is last."""
        own = [(g, t) for g, p in zip(self.groups, self.factors, strict=True) for t in p.structure.terms[:-1]]
        return [*own, ("Residual", RESIDUAL)]

    @property
    def names(self) -> list[str]:
        """`keys` as they are in the priors' coordinates: one name each."""
        pairs = zip(self.groups, self.factors, strict=True)
        own = [variable(group, name, self.groups) for group, p in pairs for name in p.names[:-1]]
        return [*own, RESIDUAL]

    @property
    def centres(self) -> dict[str, float]:
        """The predictors' values at which the intercepts' priors are; empty where no prior is at the means."""
        out: dict[str, float] = {}
        for priors in self.factors:
            out |= priors.centres
        return out

    @property
    def moved(self) -> np.ndarray:
        """Which of `keys` have a prior of another quantity than the reported one."""
        terms = [variable(*key, self.groups) for key in self.keys]
        return np.array([term != name for term, name in zip(terms, self.names, strict=True)])

    def centred(self, fixed: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters whose prior is at the predictors' means, there; see `Priors.centred`.

        Parameters
        ----------
        fixed : (p, chains, draws) array
            Draws of the fixed effects as they are reported.
        values : (k, chains, draws) array
            Draws of the variance parameters in the order of `keys`, in the priors' coordinates.

        Returns
        -------
        dict[str, array]
            By `variable`.
        """
        own = np.einsum("ab,bcd->acd", self.shared.fixed_map, fixed)
        out = {
            name: draws
            for name, draws, moved in zip(self.shared.fixed, own, self.shared.moved_fixed, strict=True)
            if moved
        }
        for at in np.flatnonzero(self.moved):
            out[variable(*self.keys[at], self.groups)] = values[at]
        return out

    def table(self) -> pd.DataFrame:
        """As `Priors.table`, with the factor of each parameter."""
        tables = [priors.table() for priors in self.factors]
        fixed = len(self.shared.fixed)
        parts = [tables[0].iloc[:fixed].assign(group="")]
        parts += [
            table.iloc[fixed:-1].assign(group=group) for group, table in zip(self.groups, tables, strict=True)
        ]
        return pd.concat([*parts, tables[0].iloc[-1:].assign(group="Residual")], ignore_index=True)


def check_keys(setting: str | Mapping[str, Any], terms: Mapping[str, Sequence[str]], where: str) -> None:
    """Reject keys of `priors.sd` that name neither a factor nor a term of exactly one factor.

    Parameters
    ----------
    setting : str or mapping
        `priors.sd`.
    terms : mapping of factor to its terms
        Of the model.
    where : str
        Key path for the message.

    Raises
    ------
    StudyError
        A key is none of these, or names a term of several factors.
    """
    if isinstance(setting, str):
        return
    for key, value in setting.items():
        if key in terms:
            for term in value if isinstance(value, Mapping) else ():
                if term not in terms[key]:
                    what = f"no such term; expected one of {', '.join(terms[key])}"
                    raise StudyError(f"{where}.{key}.{term}", what)
            continue
        own = [group for group, names in terms.items() if key in names]
        if not own or not isinstance(value, str):
            what = f"no such grouping factor; expected one of {', '.join(terms)}"
            raise StudyError(f"{where}.{key}", what)
        if len(own) > 1:
            example = f"{own[0]}: {{{key}: {value}}}"
            what = f"{', '.join(own)} have this term; expected a mapping by factor such as {example}"
            raise StudyError(f"{where}.{key}", what)


def resolve_several(
    settings: Mapping[str, Any],
    moments: SeveralMoments,
    fixed: tuple[str, ...],
    blocks: Sequence[tuple[tuple[str, ...], ...]],
    marginal: bool = True,
) -> SeveralPriors:
    """Priors with all numbers filled in.

    Parameters
    ----------
    settings : mapping
        `priors` of the configuration: fixed, sd, sigma, corr.
    moments : SeveralMoments
        Where `auto` takes its scales and coordinates from.
    fixed : tuple of str
        Names of X's columns.
    blocks : sequence
        Blocks of random effects of each factor of `moments`.
    marginal : bool
        Whether beta is integrated out in closed form, which takes flat or normal priors.

    Returns
    -------
    SeveralPriors

    Raises
    ------
    StudyError
        For priors that the model cannot take.
    """
    random = [tuple(name for block in own for name in block) for own in blocks]
    sd = settings.get("sd", "auto")
    check_keys(sd, dict(zip(moments.groups, random, strict=True)), "engines.pymc.priors.sd")
    factors = [
        resolve({**settings, "sd": of_factor(sd, factor.group, names)}, factor, fixed, own, marginal)
        for factor, own, names in zip(moments.factors, blocks, random, strict=True)
    ]
    return SeveralPriors(moments.groups, tuple(factors))

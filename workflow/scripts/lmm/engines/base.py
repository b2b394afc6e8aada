"""What an engine is given and what it returns: the same for a single study, a replicate and a replay."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pandas as pd

from lmm.core.tidy import Diagnostics, Fit
from lmm.data.rows import Rows
from lmm.model.design import Design
from lmm.model.terms import Terms


@dataclass(frozen=True)
class Task:
    """One data set to fit.

    Attributes
    ----------
    moments : Moments or SeveralMoments
    rows : callable
        Reads the rows, through the design of the engine's formula.
    design : callable or None
        Rebuilds that design, for what tests terms.
    truth : dict or None
        truth.json's content, of simulated data.
    start : Fit or None
        The exact engine's fit of the same model, where it is at hand.
    cores : int
        Chains sampled at a time; results do not depend on it.
    seed : int or None
        In place of the engine's own: each replicate has one.
    scales : Moments, SeveralMoments or None
        What automatic priors take their scales from, where it is not `moments`.
    brief : bool
        Of replicates: summaries of the parameters and random effects, and nothing that is only for a report.
    """

    moments: Any
    rows: Callable[[], Rows] | None = None
    design: Callable[[], Design] | None = None
    truth: dict[str, Any] | None = None
    start: Fit | None = None
    cores: int = 1
    seed: int | None = None
    scales: Any = None
    brief: bool = False


@dataclass(frozen=True)
class Fitted:
    """What an engine returns.

    Attributes
    ----------
    fit : Fit
    artifacts : mapping of str to callable
        How the further files of its catalogue row are written: name to a function of the path.
    explained : mapping
        Of an engine with draws: `estimate`, `conf_low` and `conf_high` of each measure of variance explained.
    chains : Any
        Of an engine with draws, for replicates: `engines.pymc.chains.Chains`.
    posterior : Any
        Of an engine with draws, for a study: ArviZ's DataTree.
    further : mapping of str to dict
        Columns of the fixed effects' rows by further methods of degrees of freedom.
    """

    fit: Fit
    artifacts: Mapping[str, Callable[[str], None]] = field(default_factory=dict)
    explained: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    chains: Any = None
    posterior: Any = None
    further: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def parameters(self) -> pd.DataFrame:
        """Tidy parameters."""
        return self.fit.parameters

    @property
    def ranef(self) -> pd.DataFrame | None:
        """Tidy random effects; None for an engine without."""
        return self.fit.ranef

    @property
    def diagnostics(self) -> Diagnostics:
        """How the fit ended."""
        return self.fit.diagnostics


class Fitter(Protocol):
    """An engine with its settings and the terms of its formula, ready to fit one data set after the other."""

    def __init__(self, settings: Mapping[str, Any], terms: Terms): ...

    def fit(self, task: Task) -> Fitted:
        """Fit one data set; a failed fit is a `Fit` with its status and message, not an exception."""
        ...

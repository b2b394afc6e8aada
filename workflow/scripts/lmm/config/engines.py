"""Settings of the engines and their defaults."""

from typing import Any, ClassVar, Literal

from pydantic import Field, create_model

from lmm.config.base import Settings
from lmm.core import engines

Df = Literal["satterthwaite", "kenward-roger", "normal"]


class Ols(Settings):
    """Ordinary least squares, grouping ignored."""


class Override(Settings):
    """An engine that fits random effects."""

    formula: str | None = None
    """Another random-effects structure for this engine; response, fixed effects and group are the study's."""


class Mixedlm(Override):
    """statsmodels' MixedLM on the rows, started at reml's optimum."""

    max_rows: int = Field(1_000_000, ge=1)
    """More rows than this: skipped, and the report says so."""
    max_groups: int = Field(5_000, ge=1)
    """More groups than this: skipped (it loops over groups in Python, 50 s an evaluation at 20,000)."""
    max_dense_rows: int = Field(2_000, ge=1)
    """Of several grouping factors: skipped where more rows than this are one dense block. These are all rows if the
    factors cross, and the rows of a level of the outermost factor if they are nested."""


class Reml(Override):
    """REML, or maximum likelihood, from sufficient statistics, to the exact optimum."""

    intervals: Literal["profile", "wald"] | None = None
    """Of standard deviations and correlations: profile (likelihood), or wald (normal on the scales of log sd and of
    Fisher's z). Profile where nothing is said, but wald for replicates of which not everything is recorded."""
    df: Df | list[Df] = "satterthwaite"
    """Degrees of freedom of the fixed effects' t statistics, intervals and F tests: satterthwaite, kenward-roger
    (adjusts the standard errors too) or normal. With `replicates` also a list, to compare them at no new fit."""
    method: Literal["reml", "ml"] = "reml"
    """REML, or maximum likelihood."""


class Priors(Settings):
    """Priors by name; `auto` is weakly informative, scaled by the data."""

    fixed: str | dict[str, str] = "auto"
    """Of the fixed effects: auto, flat, normal(mean, sd), student_t(df, mean, scale), uniform(low, high);
    or a mapping by term (auto for the others). The marginal model takes auto, flat and normal."""
    sd: str | dict[str, str | dict[str, str]] = "auto"
    """Of the random effects' sd's: auto, flat, uniform(low, high), half_normal(sd), half_student_t(df,
    scale), half_cauchy(scale), exponential(rate); or a mapping by term (auto for the others). Of several grouping
    factors a mapping by factor, to a prior of all its sd's or a mapping by term."""
    sigma: str = "auto"
    """Of the residual sd, as for `sd`."""
    corr: str = "auto"
    """Of the random effects' correlation matrix: auto (which is lkj(2)) or lkj(eta)."""


class Pymc(Override):
    """A posterior: PyMC's model sampled by nutpie, or importance sampling of its variance parameters."""

    priors: Priors = Priors()
    """Prior distributions."""
    sampler: Literal["auto", "nuts", "importance", "full"] = "auto"
    """Of the variance parameters, everything else integrated out and drawn exactly afterwards. nuts: the No-U-Turn
    sampler; importance: weighted independent draws around the mode, and nuts where they fail a gate; auto: nuts for
    one grouping factor and fewer than 100 fixed effects, else and for replicates importance. full: nuts, random
    effects sampled too, an oracle."""
    model: Literal["marginal", "full"] = "marginal"
    """full: the same as `sampler: full`."""
    chains: int = Field(4, ge=2, le=64)
    """Chains of NUTS. Importance sampling draws chains x draws points."""
    tune: int = Field(1000, ge=10, le=10**6)
    """Warm-up draws of each chain. A replicate's first attempt takes at most 100, in coordinates of the posterior's
    curvature; where it fails a gate, the second takes twice this number, as that of a single fit does."""
    draws: int = Field(2000, ge=10, le=10**6)
    """Kept draws of each chain."""
    seed: int = Field(123, ge=0, lt=2**31)
    """Seed of the sampler."""
    target_accept: float = Field(0.8, ge=0.5, le=0.999)
    """Acceptance rate that the step size is tuned to."""
    keep_draws: int = Field(5_000_000, ge=0)
    """Draws of random effects (draws x effects), and of groups' log-likelihoods and means (draws x groups), are
    stored up to this many numbers each; beyond it there are summaries only."""

    @property
    def full(self) -> str:
        """The key that asks for the full model; "" if none does."""
        return next((key for key in ("model", "sampler") if getattr(self, key) == "full"), "")


class Listed(Settings):
    """The engines to fit; those that are not listed are left out."""

    empty_key: ClassVar[Any] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The engines that are listed, in the order of the report."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)

    def own(self, name: str) -> Any:
        """An engine's settings; None where it is not listed."""
        return getattr(self, name, None)

    def first(self, family: str) -> Any:
        """The settings of the first listed engine of a family; None without any."""
        found = engines.first(self.names, family)
        return None if found is None else getattr(self, found)


def _field(engine: engines.Engine) -> tuple[Any, Any]:
    """An optional field for an engine's settings, described by the first sentence of their docstring."""
    own = engine.settings_class()
    return own | None, Field(None, description=(own.__doc__ or engine.label).partition("\n")[0])


Engines = create_model(
    "Engines",
    __base__=Listed,
    __doc__=Listed.__doc__,
    __module__=__name__,
    **{name: _field(engine) for name, engine in engines.ENGINES.items()},
)

"""The configuration as its files write it: one frozen model, from which schema and documentation are made."""

import codecs
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from lmm.config.base import NAME, SIGN, STUDY, Settings
from lmm.config.engines import Engines
from lmm.config.search import Search
from lmm.config.simulation import Simulation
from lmm.core.engines import ENGINES

Names = str | Annotated[list[str], Field(min_length=1)]
Level = str | int | float


class Effect(Settings):
    """Estimated marginal means, or slopes, and contrasts of them."""

    means: Names | None = None
    """Categorical predictor, or several for their combinations, whose means are estimated; or `slopes`."""
    slopes: str | None = None
    """Numeric predictor whose average slope is estimated."""
    by: Names | None = None
    """Predictors for whose levels that is done separately; slopes are compared between them."""
    at: dict[str, list[Level]] | None = None
    """Values of predictors, a row for each; else numeric ones are at their mean, categorical ones averaged over."""
    contrasts: Literal["pairwise"] | dict[str, list[float] | dict[Level, float]] | None = None
    """pairwise: all differences; or a mapping of names to weights, by level or in the order of the levels."""
    adjust: Literal["tukey", "holm", "bonferroni", "none"] | None = None
    """How p values and intervals of contrasts are adjusted; tukey for pairwise ones where nothing is said."""


def _named(value: Any) -> Any:
    """Names as text: YAML reads `null:` and `no:` as other than words."""
    if not isinstance(value, dict):
        return value
    return {_word(key) if key is None or isinstance(key, bool) else key: own for key, own in value.items()}


def _levels(value: Any) -> Any:
    """Levels as the files write them: 0 as "0"."""
    named = _named(value)
    return {_as_written(key): own for key, own in named.items()} if isinstance(named, dict) else named


def _word(key: bool | None) -> str:
    return "null" if key is None else str(key).lower()


def _as_written(value: Any) -> Any:
    """-999 as "-999"; true and false, YAML's reading of yes and no, are left to be refused."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _known_encoding(value: str) -> str:
    try:
        codecs.lookup(value)
        "".encode(value)  # some codecs are not of text
    except (LookupError, UnicodeError, ValueError):
        what = f"'{value}': no encoding that is known; expected utf-8, utf-16, latin-1 or another that Python has"
        raise PydanticCustomError("wrong", "{message}", {"message": what}) from None
    return value.lower()


class Label(Settings):
    """What people call a column."""

    name: str = ""
    """Name for people, instead of the column's."""
    unit: str = ""
    """Unit in the singular, such as ms, day or mmHg."""
    levels: Annotated[dict[str, str], BeforeValidator(_levels)] = Field(default_factory=dict)
    """Names of its levels, by the levels as the files write them."""


class Csv(Settings):
    """How CSV and TSV files are written."""

    delimiter: str | None = Field(None, pattern=SIGN)
    """Sign between fields: "," ";" "|" or "\\t", a tab."""
    decimal: Literal[".", ","] | None = None
    """Decimal mark of numbers: a point or a comma."""
    encoding: Annotated[str, AfterValidator(_known_encoding)] | None = None
    """Encoding: utf-8, utf-16, latin-1 (read as Windows-1252), or another that Python knows."""


class Criterion(Settings):
    """A Monte Carlo error to reach in every design."""

    measure: Literal[
        "coverage",
        "power",
        "type_1_error",
        "bias",
        "relative_bias",
        "empirical_se",
        "model_se",
        "rmse",
        "width",
    ]
    """Performance measure."""
    mcse: float = Field(gt=0)
    """Its largest Monte Carlo standard error, in the measure's unit: 0.005 is half a percentage point of coverage."""
    engine: str | None = None
    """Of this engine; of every engine where nothing is said."""
    term: str | None = None
    """Of this term, such as x or sd__x; of every term where nothing is said."""


class Until(Settings):
    """Replicates in batches with fixed ends, until Monte Carlo errors are small enough."""

    until: Criterion | Annotated[list[Criterion], Field(min_length=1)]
    """What to reach; a list: all of it."""
    at_most: int = Field(20_000, ge=500, le=10**7)
    """Replicates of each design at most."""


class Rationale(Settings):
    """Reasons for the choices of a study with replicates, in its author's words."""

    data: str = ""
    """Why these data-generating mechanisms, and what their values are based on."""
    methods: str = ""
    """Why these engines and settings, and which others were considered."""
    measures: str = ""
    """Why these performance measures, and which of them decide."""


class StudySettings(Settings):
    """One study: a formula, and either data or how to simulate them."""

    title: str = ""
    """Headline of the study's section in the report; the formula where it is empty."""
    aims: Names | None = None
    """With `replicates`: the study's aims in its author's words, for the plan (recovery/plan.json) and the report."""
    rationale: Rationale | None = None
    """With `replicates`: reasons for the choices of the plan, in its author's words."""
    formula: str
    """lme4's: (x | g), (1 | g), (x || g), (0 + x | g), ... for one grouping factor or several: (x | a) + (1 | b),
    (1 | a/b), (1 | a:b)."""
    data: str | list[str] | None = None
    """Path, list of paths or glob of CSV, TSV or Parquet files, from the project's directory."""
    truth: str | None = None
    """JSON file of what `data` were simulated from: fixed, sd, corr, sigma, as a simulated study's truth.json has
    them. `make replay` writes one."""
    simulate: Simulation | None = None
    """How to simulate the data, instead of `data`."""
    designs: list[Simulation] | None = Field(None, min_length=1)
    """Explicit designs: each a mapping of keys of `simulate` that it changes. With `replicates` only."""
    missing: Literal["error", "drop"] = "error"
    """Rows with missing values: stop and say where, or drop and report."""
    missing_values: list[Annotated[str, BeforeValidator(_as_written), Field(min_length=1)]] = Field(
        default_factory=list
    )
    """Values that mean missing, as the files write them, such as [".", "n/a", -999]; empty cells, NA, N/A, NaN and
    NULL always do. In every column of `data` and `predict`."""
    csv: Csv = Csv()
    """How CSV and TSV files are written; what is not stated is found in each file, and a line says so."""
    rank_deficient: Literal["drop", "error"] = "drop"
    """Fixed effects that are linear combinations of those before them: drop them as lme4 does and say which, or stop.
    Simulated data always stop."""
    weights: str | None = None
    """Column of precision weights, as lme4's: a row's residual variance is sigma^2 / weight. The same as
    `y | weights(column) ~ ...` in every formula. For own data; without MixedLM."""
    predict: str | None = None
    """File of new rows (and new groups) to predict, beside the fitted rows."""
    engines: Engines = Engines(**{name: {} for name in ENGINES})
    """Engines to fit and their settings; all four with their defaults where nothing is said."""
    effects: list[Effect] | None = None
    """Means, slopes and contrasts to estimate. Where nothing is said: every categorical predictor's means with
    pairwise contrasts (of up to 50 levels), and every numeric predictor's slope. An empty list: none."""
    models: Annotated[dict[Annotated[str, Field(pattern=NAME)], str], BeforeValidator(_named)] | None = Field(
        None, min_length=2
    )
    """Models to compare by name: formulas with the study's response and grouping factor, fitted to the same rows
    (those complete for all of them)."""
    loo: str | None = None
    """Of several grouping factors the one whose levels are left out in pymc's cross-validation, such as subject, and
    in that of `models` where all of them have it; the one with most levels where nothing is said."""
    labels: dict[str, str | Label] = Field(default_factory=dict)
    """Names and units of the formula's columns for the report: `Reaction: {name: reaction time, unit: ms}`, or a name
    alone. They change no artifact but figures, tables and report."""
    conf_level: float = Field(0.95, ge=0.5, le=0.9999)
    """Level of every interval that is called conf_low, conf_high."""
    on_failed_gate: Literal["report", "error"] = "report"
    """Whether a fit that fails a convergence gate fails the run, once its report is written, or is only reported;
    with `replicates`: one that failed in any replicate."""
    replicates: Annotated[int, Field(ge=1, le=10**7)] | Until | None = None
    """Data sets of each design; makes the study a recovery study. A number, or {until: {measure: coverage,
    mcse: 0.005}, at_most: 20000}: batches until every design meets it."""
    search: Search | None = None
    """How large must the design be? The smallest one that reaches a power, a coverage, an error or a width of
    intervals, by simulation. Instead of `replicates`, for `simulate` and for `data` (a pilot study)."""
    replicates_per_job: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Replicates that one job computes; results do not depend on it."""
    record: Literal["auto", "full", "parameters", "sums"] = "auto"
    """What is kept of each replicate. full: all that engines estimate. parameters: fixed effects, standard deviations
    and correlations, by a compiled path of ols and reml that takes a thirtieth of the time. sums: the same, but only
    performance measures, and the first 1,000 replicates of each design. auto: full for up to 10,000 replicates and
    for all that the compiled path cannot do, else parameters, or sums for more than 100,000 replicates in all."""
    simulate_from: Literal["rows", "moments"] | None = None
    """Whether replicates are drawn as rows (default) or as moments (default and only choice with `data`)."""
    bootstrap: Literal["reml", "posterior"] | Annotated[int, Field(ge=1, le=10**6)] | None = None
    """With `replicates` of own data: where their parameters come from, reml's estimates (default) or draws from
    the posterior (default under calibration). With `models`: data sets of the parametric bootstrap of each test."""
    calibration: bool = False
    """Draw the parameters of each replicate from pymc's priors: simulation-based calibration; with `data`
    from the posterior, fitting data and replicate together (posterior calibration)."""


class Report(Settings):
    """The report."""

    title: str = ""
    """Headline of the report; without one it says what the studies are."""


class Configuration(Settings):
    """A configuration file."""

    studies: dict[Annotated[str, Field(pattern=STUDY)], StudySettings] = Field(min_length=1)
    """Studies by name; the name, of a-z, 0-9, _ and -, is that of its directory under results/."""
    report: Report = Report()
    """The report."""

"""The engines, one row each: all that the rest of the project knows of them.

A new engine is a module that defines `Fitter` (see `lmm.engines.base`) and a row here; docs/new-engine.md shows both.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

# Families of estimators
POOLED = "pooled"  # least squares, the groups ignored: no random effects
EXACT = "exact"  # the certified REML optimum from moments: others start there and are compared with it
LIKELIHOOD = "likelihood"  # another optimiser of the likelihood
BAYES = "bayes"  # draws from a posterior

# Status of a fit whose variance parameters the data do not determine: it has no estimates to speak of.
UNIDENTIFIED = "unidentified"


@dataclass(frozen=True)
class Engine:
    """What is known of an engine.

    Attributes
    ----------
    name : str
        Key of the configuration, folder of the results, value of the column `engine`.
    label, title : str
        Its name for people, and what a run prints while it fits.
    family : str
        POOLED, EXACT, LIKELIHOOD or BAYES.
    module : str
        Defines `Fitter`.
    colour, marker : str
        Its colour (hexadecimal) and Matplotlib marker in every figure.
    shades : tuple of str
        Its colour on the report's light and dark page; empty: `colour` on both.
    dash : str
        SVG's dash pattern of its line among the lines of one group; empty: solid.
    settings : str
        `module:class` of its settings in the configuration.
    needs : str
        `moments`; `rows`; or `either`, if it reads rows where there are some.
    rows_if : tuple of (key, value)
        Settings with any of which it needs rows, too.
    starts : bool
        Whether it takes the exact engine's fit of the same model as its start.
    yields : frozenset of str
        Among `ranef`, `intervals`, `criterion`, `draws`.
    artifacts : mapping
        Further files that it writes: name in the workflow to file name.
    several : bool
        Whether it fits several grouping factors.
    packages : tuple of str
        Whose versions its fits record.
    predicts : str
        Its method of prediction, for the report.
    cost : tuple of float
        Seconds of a replicate: constant, per group, per draw of all chains, per draw and group.
    megabytes, minutes, priority : int
        Resources of its job, and its place among jobs that wait.
    """

    name: str
    label: str
    title: str
    family: str
    module: str
    colour: str
    marker: str
    shades: tuple[str, ...] = ()
    dash: str = ""
    settings: str = "lmm.config.engines:Override"
    needs: str = "moments"
    rows_if: tuple[tuple[str, Any], ...] = ()
    starts: bool = False
    yields: frozenset[str] = frozenset({"ranef", "intervals"})
    artifacts: Mapping[str, str] = field(default_factory=dict)
    several: bool = False
    packages: tuple[str, ...] = ("numpy",)
    predicts: str = "normal, at its estimates; prediction errors with the fixed effects' uncertainty"
    cost: tuple[float, ...] = (0.005, 1e-5, 0.0, 0.0)
    megabytes: int = 1000
    minutes: int = 30
    priority: int = 0

    @property
    def files(self) -> dict[str, str]:
        """Name in the workflow to file name of everything that its fit writes."""
        found = {"parameters": "parameters.csv", "diagnostics": "diagnostics.json"}
        return found | ({"ranef": "ranef.parquet"} if "ranef" in self.yields else {}) | dict(self.artifacts)

    def reads_rows(self, settings: Mapping[str, Any]) -> bool:
        """Whether its fit of a study reads rows."""
        return self.needs != "moments" or any(settings.get(key) == value for key, value in self.rows_if)

    def load(self) -> Any:
        """Its module; the import may take seconds."""
        return import_module(self.module)

    def settings_class(self) -> Any:
        """The pydantic model of its settings."""
        module, _, name = self.settings.partition(":")
        return getattr(import_module(module), name)


ENGINES: dict[str, Engine] = {
    row.name: row
    for row in (
        Engine(
            name="ols", label="OLS", title="OLS", family=POOLED, module="lmm.engines.ols",
            colour="#e69f00", marker="s", shades=("#c98a00", "#e69f00"),
            settings="lmm.config.engines:Ols", needs="either",
            yields=frozenset({"intervals"}), several=True, packages=("numpy", "scipy", "statsmodels"),
            cost=(0.0, 0.0, 0.0, 0.0), minutes=10,
        ),
        Engine(
            name="mixedlm", label="MixedLM", title="MixedLM", family=LIKELIHOOD, module="lmm.engines.mixedlm",
            colour="#0072b2", marker="o", shades=("#0072b2", "#4aa8e0"),
            settings="lmm.config.engines:Mixedlm", needs="rows", starts=True,
            yields=frozenset({"ranef", "intervals", "criterion"}), artifacts={"coef": "coef.parquet"},
            several=True, packages=("numpy", "scipy", "statsmodels"),
            predicts="normal, at its estimates of the variances; prediction errors with the fixed effects' "
            "uncertainty",
            cost=(0.05, 3e-3, 0.0, 0.0), megabytes=2000, minutes=60, priority=1,
        ),
        Engine(
            name="reml", label="reml", title="REML from moments", family=EXACT, module="lmm.engines.reml",
            colour="#009e73", marker="D", shades=("#009e73", "#1fbf90"), dash="7 4",
            settings="lmm.config.engines:Reml",
            yields=frozenset({"ranef", "intervals", "criterion"}), several=True,
            artifacts={"tests": "tests.csv", "effects": "fixed_effects.json"},
            packages=("numpy", "numba", "scipy"),
            predicts="normal, at the REML estimates; prediction errors with the fixed effects' uncertainty",
            cost=(0.004, 6e-5, 0.0, 0.0), priority=2,
        ),
        Engine(
            name="pymc", label="PyMC", title="PyMC", family=BAYES, module="lmm.engines.pymc.fit",
            colour="#d55e00", marker="^", shades=("#d55e00", "#ee7a2b"), dash="2 4",
            settings="lmm.config.engines:Pymc",
            rows_if=(("model", "full"), ("sampler", "full"), ("several", True)),
            yields=frozenset({"ranef", "intervals", "draws"}), artifacts={"posterior": "posterior.nc"}, several=True,
            packages=("pymc", "nutpie", "pytensor", "arviz", "numba", "numpy"),
            predicts="posterior mean; normal with the posterior's variance, Rao-Blackwellised over up to 200 draws",
            cost=(0.03, 2e-4, 1.05e-5, 8.75e-8), megabytes=2000, minutes=60, priority=3,
        ),
    )
}  # fmt: skip


def row(name: str) -> Engine:
    """An engine's row.

    Raises
    ------
    KeyError
        There is no engine of this name.
    """
    return ENGINES[name]


def ordered(names: Iterable[str]) -> list[str]:
    """Engines in the order of the report; names that are none of ours come last."""
    place = {name: at for at, name in enumerate(ENGINES)}
    return sorted(names, key=lambda name: (place.get(name, len(place)), name))


def of_family(names: Iterable[str], *families: str) -> list[str]:
    """Those of some engines that belong to the families, family after family."""
    known = [name for name in ordered(names) if name in ENGINES]
    return [name for family in families for name in known if ENGINES[name].family == family]


def belongs(name: str, *families: str) -> bool:
    """Whether an engine is of one of the families; one that is none of ours is of no family."""
    return bool(of_family([name], *families))


def first(names: Iterable[str], *families: str) -> str | None:
    """The first of `of_family`; None without any."""
    return next(iter(of_family(names, *families)), None)


def mixed(names: Iterable[str]) -> list[str]:
    """Those of some engines that fit random effects."""
    return [name for name in ordered(names) if name not in ENGINES or "ranef" in ENGINES[name].yields]


def pooled(name: str) -> bool:
    """Whether an engine takes the rows as independent."""
    return name in ENGINES and ENGINES[name].family == POOLED


def of_rows() -> list[str]:
    """Engines that cannot be fitted from moments."""
    return [name for name, engine in ENGINES.items() if engine.needs == "rows"]

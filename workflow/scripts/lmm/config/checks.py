"""What types and bounds cannot say of a study: whether its parts fit together. Before any job."""

import glob
import math
import re
from collections.abc import Sequence
from pathlib import Path

from lmm.config.designs import DesignPoint
from lmm.config.engines import Priors
from lmm.config.simulation_checks import not_among
from lmm.config.study import StudySettings
from lmm.core import engines
from lmm.core.errors import StudyError
from lmm.core.store import read_json
from lmm.model.design import Terms, numeric_design
from lmm.model.formula import Formula, parse
from lmm.model.priors import Prior, parse_prior
from lmm.model.syntax import original

BRACES = re.compile(r"\{[^{}]+\}")  # what Snakemake takes for a wildcard


def check_data_files(settings: StudySettings, root: Path) -> tuple[str, ...]:
    """The files that `data` names; each pattern must match some. Their content is ingest's to check."""
    patterns = [settings.data] if isinstance(settings.data, str) else settings.data
    files = []
    for pattern in patterns:
        found = sorted(glob.glob(str(pattern), root_dir=root, recursive=True))
        if not found:
            raise StudyError(
                "data", f"'{pattern}': no such file; expected CSV, TSV or Parquet files in {root}"
            )
        files += found
    for file in files:
        check_path(file, "data", root)
        if (root / file).is_dir():
            raise StudyError(
                "data", f"'{file}' is a directory; expected files, such as '{file.rstrip('/')}/*.csv'"
            )
    if not files:
        raise StudyError("data", "[]: expected at least one file")
    if settings.predict is not None and not (root / settings.predict).is_file():
        raise StudyError(
            "predict", f"'{settings.predict}': no such file; expected new rows as CSV, TSV or Parquet"
        )
    for key in ("predict", "truth"):
        if (file := getattr(settings, key)) is not None:
            check_path(file, key, root)
    if settings.truth is not None:
        check_truth(settings, root)
    return tuple(files)


def check_path(file: str, key: str, root: Path) -> None:
    """Refuse a link that leads nowhere, and a name that Snakemake does not take for a file's."""
    if (root / file).is_symlink() and not (root / file).exists():
        raise StudyError(key, f"'{file}': a link to a file that is not there, or to itself; expected a file")
    if BRACES.search(file):
        raise StudyError(
            key, f"'{file}': Snakemake reads {{...}} as a wildcard; expected a path without braces"
        )


def check_truth(settings: StudySettings, root: Path) -> None:
    """Refuse a file that does not say what data were simulated from."""
    if settings.replicates is not None:
        raise StudyError("truth", f"'{settings.truth}': replicates have their own; expected no such key")
    try:
        found = read_json(root / settings.truth)
    except (OSError, ValueError, RecursionError):
        raise StudyError("truth", f"'{settings.truth}': cannot be read; expected a JSON file") from None
    for key, kind in (("fixed", dict), ("sd", dict), ("corr", dict), ("sigma", (int, float))):
        if not isinstance(found, dict) or not isinstance(found.get(key), kind):
            what = "a number" if key == "sigma" else "a mapping of terms to numbers"
            raise StudyError("truth", f"'{settings.truth}': has no '{key}'; expected {what}")
    numbers = {
        f"{key}.{term}": value for key in ("fixed", "sd", "corr") for term, value in found[key].items()
    }
    for name, value in {**numbers, "sigma": found["sigma"]}.items():
        kind = name.partition(".")[0]
        if value is None and kind == "corr":  # beside an sd of 0
            continue
        least, most = {"corr": (-1, 1), "sd": (0, math.inf), "sigma": (0, math.inf)}.get(
            kind, (-math.inf, math.inf)
        )
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not number or not least <= value <= most:
            what = {"corr": "a number from -1 to 1", "fixed": "a finite number"}.get(
                kind, "a number of at least 0"
            )
            raise StudyError("truth", f"'{settings.truth}': {name} is {str(value)[:40]}; expected {what}")


def check_engines(settings: StudySettings, formula: Formula, simulated: bool) -> None:
    """Refuse engines whose own formula is another model, and priors that do not parse."""
    if not settings.engines.names:
        raise StudyError("engines", f"none is listed; expected some of {', '.join(engines.ENGINES)}")
    for name in settings.engines.names:
        text = getattr(settings.engines.own(name), "formula", None)
        if text is None:
            continue
        where = f"engines.{name}.formula"
        own = parse(text, where)
        for part in ("response", "fixed", "group"):
            met, expected = getattr(own, part), getattr(formula, part)
            if met != expected:
                raise StudyError(
                    where,
                    f"'{text}': {part} is '{original(met)}'; expected the study's, '{original(expected)}' "
                    "(an engine may change the random effects only)",
                )
        if simulated:
            numeric_design(own)
            for column in own.predictors:
                if column not in formula.predictors:
                    what = not_among(column, formula.predictors, "a predictor that the study simulates")
                    raise StudyError(where, f"'{text}': '{column}' is {what}")
    name, bayes = engines.first(settings.engines.names, engines.BAYES), settings.engines.first(engines.BAYES)
    if bayes is None:
        return
    own = formula if bayes.formula is None else parse(bayes.formula)
    terms = numeric_design(own).terms if simulated else None
    for path, prior in all_priors(bayes.priors, terms, f"engines.{name}.priors"):
        where = f"engines.{name}.priors.{path}"
        if (
            path.startswith("fixed")
            and bayes.model == "marginal"
            and prior.name not in ("auto", "flat", "normal")
        ):
            raise StudyError(
                where,
                f"'{prior.text}': the marginal model integrates fixed effects out; "
                "expected flat, normal(mean, sd) or auto, or model: full",
            )
        if not simulated or not settings.calibration:
            continue
        if not prior.proper:
            raise StudyError(
                where, f"'{prior.text}' is improper; calibration draws from it, expected a proper prior"
            )
        if prior.name == "auto" and not path.startswith("corr"):
            raise StudyError(
                where,
                "'auto' is scaled by data that calibration has yet to draw; expected a prior with numbers",
            )


def all_priors(priors: Priors, terms: Terms | None, where: str) -> list[tuple[str, Prior]]:
    """Every prior with its key path under `priors`; mappings by term must name `terms` where known."""
    found = []
    for kind in ("fixed", "sd"):
        value = getattr(priors, kind)
        if isinstance(value, str):
            found.append((kind, parse_prior(value, kind, f"{where}.{kind}")))
            continue
        known = tuple(value) if terms is None else (terms.fixed if kind == "fixed" else terms.random)
        for term in value:
            if term not in known:
                what = not_among(term, known, "a term of the formula")
                raise StudyError(f"{where}.{kind}.{term}", what)
        for term in known:
            path = f"{kind}.{term}"
            found.append((path, parse_prior(value.get(term, "auto"), kind, f"{where}.{path}")))
    single = [(kind, getattr(priors, kind)) for kind in ("sigma", "corr")]
    return found + [(kind, parse_prior(text, kind, f"{where}.{kind}")) for kind, text in single]


def check_replicates(settings: StudySettings, designs: Sequence[DesignPoint]) -> None:
    """Refuse settings of recovery studies that contradict each other."""
    own_data = designs[0].settings is None
    if settings.replicates is None:
        for key in ("simulate_from", "bootstrap", "calibration"):
            if getattr(settings, key):
                value = str(getattr(settings, key)).lower()
                raise StudyError(key, f"{value}: is for a study with `replicates`; expected both or neither")
        return
    bayes, name = settings.engines.first(engines.BAYES), engines.first(engines.ENGINES, engines.BAYES)
    if settings.calibration and bayes is None:
        raise StudyError(
            "calibration", f"true: calibration is of the {name} engine; expected {name} under engines"
        )
    if settings.bootstrap and not own_data:
        raise StudyError(
            "bootstrap", f"'{settings.bootstrap}': is for a study with `data`; expected it without `simulate`"
        )
    if settings.bootstrap == "reml" and settings.calibration:
        raise StudyError(
            "bootstrap", "'reml': calibration with `data` draws from the posterior; expected posterior"
        )
    if settings.bootstrap == "posterior" and bayes is None:
        raise StudyError("bootstrap", f"'posterior': is of the {name} engine; expected {name} under engines")
    if bayes is not None and bayes.model == "full":
        raise StudyError(
            f"engines.{name}.model",
            "'full': replicates are fitted with the marginal model; expected marginal",
        )
    listed = set(settings.engines.names) if "engines" in settings.model_fields_set else set()
    of_rows = next((engine for engine in engines.of_rows() if engine in listed), None)
    if own_data and of_rows:
        raise StudyError(
            f"engines.{of_rows}",
            "needs rows, and replicates of own data are drawn as moments; expected others",
        )
    if own_data and settings.simulate_from == "rows":
        raise StudyError(
            "simulate_from", "'rows': replicates of own data are drawn as moments; expected moments"
        )
    if settings.simulate_from != "moments" or own_data:
        return
    for design in designs:
        simulation = design.settings
        if simulation.errors.distribution != "normal":
            raise StudyError(
                "simulate_from", "'moments': errors that are not normal need rows; expected rows"
            )
        if simulation.generator == "r":
            raise StudyError("simulate_from", "'moments': generator 'r' draws rows; expected rows")
    if of_rows:
        raise StudyError(
            "simulate_from", f"'moments': {of_rows} needs rows; expected rows, or engines without {of_rows}"
        )

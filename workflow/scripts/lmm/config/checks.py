"""What types and bounds cannot say of a study: whether its parts fit together. Before any job."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lmm.config.base import nearest
from lmm.config.designs import DesignPoint
from lmm.config.engines import Priors
from lmm.config.simulation_checks import not_among
from lmm.config.study import Criterion, StudySettings
from lmm.core import engines
from lmm.core.errors import StudyError
from lmm.model.design import Terms, numeric_design
from lmm.model.formula import parse
from lmm.model.parts import Formula
from lmm.model.priors import Prior, of_factor, parse_prior


def check_beside(settings: StudySettings, formula: Formula, simulated: bool) -> None:
    """Refuse weights and offsets where they would not be used."""
    if not (formula.weights or formula.offsets):
        return
    what = "weights" if formula.weights else "offset"
    name = formula.weights or formula.offsets[0]
    if simulated or settings.replicates is not None:
        raise StudyError(
            what, f"'{name}': is for a study with `data` and no `replicates`; expected it without"
        )
    bayes = settings.engines.first(engines.BAYES)
    if formula.weights and bayes is not None and bayes.full:
        where = f"engines.{engines.first(settings.engines.names, engines.BAYES)}.{bayes.full}"
        raise StudyError(where, "'full': has no weights; expected the marginal model")


def check_several(settings: StudySettings, formula: Formula) -> None:
    """Reject what is possible with one grouping factor only, and a factor that is none."""
    names = [factor.group for factor in formula.factors]
    if settings.loo is not None and settings.loo not in names:
        raise StudyError("loo", f"{settings.loo!r}: no grouping factor; expected one of {', '.join(names)}")
    if not formula.several:
        return
    groups = ", ".join(factor.group for factor in formula.factors)
    if settings.simulate_from == "moments" and settings.data is None:
        what = f"'moments': are drawn of one grouping factor, not {groups}; expected rows"
        raise StudyError("simulate_from", what)
    able = [name for name, engine in engines.ENGINES.items() if engine.several]
    for name in settings.engines.names:
        if name not in able:
            what = (
                f"does not fit several grouping factors ({groups}); expected engines among {', '.join(able)}"
            )
            raise StudyError(f"engines.{name}", what)
    bayes, name = settings.engines.first(engines.BAYES), engines.first(engines.ENGINES, engines.BAYES)
    if bayes is not None and bayes.full:
        what = f"'full': is for one grouping factor, not {groups}; expected auto, importance or nuts"
        raise StudyError(f"engines.{name}.{bayes.full}", what)


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
            met, expected = (
                ", ".join(sorted(factor.group for factor in side.factors))
                if part == "group"
                else getattr(side, {"response": "measured"}.get(part, part))
                for side in (own, formula)
            )
            if met != expected:
                raise StudyError(
                    where,
                    f"'{text}': {part} is '{met}'; expected the study's, '{expected}' "
                    "(an engine may change the random effects only)",
                )
        if simulated:
            numeric_design(own)
            for column in own.predictors:
                if column not in formula.predictors:
                    what = not_among(column, formula.predictors, "a predictor that the study simulates")
                    raise StudyError(where, f"'{text}': '{column}' is {what}")
    check_df(settings)
    name, bayes = engines.first(settings.engines.names, engines.BAYES), settings.engines.first(engines.BAYES)
    if bayes is None:
        return
    if bayes.model == "full" and bayes.sampler not in ("auto", "full"):
        what = f"'{bayes.sampler}': contradicts model: full; expected one of the two keys"
        raise StudyError(f"engines.{name}.sampler", what)
    own = formula if bayes.formula is None else parse(bayes.formula)
    for key, value in bayes.priors.sd.items() if isinstance(bayes.priors.sd, dict) else ():
        if isinstance(value, dict) and not own.several:
            what = f"{value}: a mapping by factor is for several grouping factors; expected a prior"
            raise StudyError(f"engines.{name}.priors.sd.{key}", what)
    terms = numeric_design(own).terms if simulated else None
    for path, prior in all_priors(bayes.priors, terms, f"engines.{name}.priors"):
        where = f"engines.{name}.priors.{path}"
        if path.startswith("fixed") and not bayes.full and prior.name not in ("auto", "flat", "normal"):
            raise StudyError(
                where,
                f"'{prior.text}': the marginal model integrates fixed effects out; "
                "expected flat, normal(mean, sd) or auto, or sampler: full",
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


def check_df(settings: StudySettings) -> None:
    """Refuse methods of degrees of freedom that the exact engine's fit has no answer to."""
    exact, name = settings.engines.first(engines.EXACT), engines.first(settings.engines.names, engines.EXACT)
    if exact is None:
        return
    methods = [exact.df] if isinstance(exact.df, str) else exact.df
    where, known = f"engines.{name}.df", "satterthwaite, kenward-roger or normal"
    if not methods:
        raise StudyError(where, f"[]: expected {known}, or a list of them")
    if len(set(methods)) < len(methods):
        raise StudyError(where, f"{', '.join(methods)}: one is there twice; expected each once")
    if len(methods) > 1 and settings.replicates is None:
        raise StudyError(where, f"a list is for a study with `replicates`; expected one of {known}")
    if exact.method == "ml" and "kenward-roger" in methods:
        what = "kenward-roger adjusts REML's fits, and method is ml; expected satterthwaite or normal"
        raise StudyError(where, what)


def check_effects(settings: StudySettings, formula: Formula) -> None:
    """Refuse effects of what the formula does not have; what only the data can tell is the effects stage's."""
    for k, effect in enumerate(settings.effects or ()):
        where = f"effects.{k}"
        if (effect.means is None) == (effect.slopes is None):
            raise StudyError(where, "expected one of means and slopes")
        asked = effect.means if effect.slopes is None else effect.slopes
        named = [*_listed(asked), *_listed(effect.by or []), *(effect.at or {})]
        for name in named:
            if name not in formula.predictors:
                raise StudyError(where, f"'{name}' is {not_among(name, formula.predictors, 'a predictor')}")
        if effect.adjust == "tukey" and isinstance(effect.contrasts, dict):
            raise StudyError(
                f"{where}.adjust", "tukey is for pairwise contrasts; expected holm, bonferroni or none"
            )
    if settings.effects and settings.replicates is not None:
        raise StudyError("effects", "is for a study without `replicates`; expected one of the two")


def check_labels(settings: StudySettings, formula: Formula) -> None:
    """Refuse labels of columns that the formula does not have."""
    for column in settings.labels:
        if column not in formula.variables:
            raise StudyError(
                f"labels.{column}", f"no column of the formula; {nearest(column, list(formula.variables))}"
            )


def check_models(settings: StudySettings, formula: Formula, simulated: bool) -> None:
    """Refuse models that are not of the study's rows, or whose likelihoods are of different responses."""
    if settings.models is None:
        if isinstance(settings.bootstrap, int):
            what = (
                f"{settings.bootstrap}: data sets of a bootstrap are for `models`; expected both or neither"
            )
            raise StudyError("bootstrap", what)
        return
    if settings.replicates is not None:
        raise StudyError("models", "is for a study without `replicates`; expected one of the two")
    for name, text in settings.models.items():
        own = parse(text, f"models.{name}")
        if own.measured != formula.measured:
            same = replace(own, response=formula.response).measured == formula.measured
            if simulated or not same or own.measures != formula.measures or len(own.measures) != 1:
                what = (
                    f"'{text}': response is '{own.measured}'; expected the study's, '{formula.measured}', or a "
                    "function of its column: likelihoods, AIC and BIC of different data cannot be compared"
                )
                raise StudyError(f"models.{name}", what)
        known = {factor.group for factor in formula.factors}
        for factor in own.factors:
            if factor.group not in known:
                what = f"'{text}': '{factor.group}' is no grouping factor of the study; expected {', '.join(known)}"
                raise StudyError(f"models.{name}", what)
        for column in own.predictors:
            if simulated and column not in formula.predictors:
                what = not_among(column, formula.predictors, "a predictor that the study simulates")
                raise StudyError(f"models.{name}", f"'{text}': '{column}' is {what}")


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def all_priors(priors: Priors, terms: Terms | None, where: str) -> list[tuple[str, Prior]]:
    """Every prior with its key path under `priors`; mappings by term must name `terms` where known."""
    found = []
    for kind in ("fixed", "sd"):
        value = getattr(priors, kind)
        if isinstance(value, str):
            found.append((kind, parse_prior(value, kind, f"{where}.{kind}")))
            continue
        if terms is None or (kind == "sd" and terms.several):  # by factor: looked at with the moments
            known = tuple(value)
        else:
            known = terms.fixed if kind == "fixed" else terms.random
        for term in value:
            if term not in known:
                what = not_among(term, known, "a term of the formula")
                raise StudyError(f"{where}.{kind}.{term}", what)
        for term in known:
            own = value.get(term, "auto")
            by_term = (
                {f"{term}.{key}": text for key, text in own.items()} if isinstance(own, dict) else {term: own}
            )
            for name, text in by_term.items():
                path = f"{kind}.{name}"
                found.append((path, parse_prior(text, kind, f"{where}.{path}")))
        if kind == "sd" and terms is not None and terms.several:
            found += _left_out(value, terms)
    single = [(kind, getattr(priors, kind)) for kind in ("sigma", "corr")]
    return found + [(kind, parse_prior(text, kind, f"{where}.{kind}")) for kind, text in single]


def _left_out(setting: Mapping[str, Any], terms: Terms) -> list[tuple[str, Prior]]:
    """Of several grouping factors, sd's that a mapping does not name: their priors are automatic."""
    return [
        (f"sd.{own.group}.{term}", parse_prior("auto", "sd", ""))
        for own in terms.groupings
        if not isinstance(known := of_factor(setting, own.group, own.random), str)
        for term in own.random
        if term not in known
    ]


def check_until(until: Sequence[Criterion], settings: StudySettings) -> None:
    """Refuse Monte Carlo errors of what the study does not estimate."""
    for criterion in until:
        if criterion.engine is not None and criterion.engine not in settings.engines.names:
            raise StudyError(
                "replicates.until.engine",
                not_among(criterion.engine, settings.engines.names, "an engine of the study"),
            )
        if settings.calibration:
            raise StudyError(
                "replicates.until", "calibration needs the replicates that it needs; expected a number"
            )


def check_replicates(settings: StudySettings, designs: Sequence[DesignPoint]) -> None:
    """Refuse settings of recovery studies that contradict each other."""
    own_data = designs[0].settings is None
    if settings.replicates is None:
        for key in ("simulate_from", "bootstrap", "calibration"):
            if getattr(settings, key) and type(getattr(settings, key)) is not int:
                value = str(getattr(settings, key)).lower()
                raise StudyError(key, f"{value}: is for a study with `replicates`; expected both or neither")
        for key in ("aims", "rationale"):
            if getattr(settings, key) is not None:
                raise StudyError(key, "is of the plan of a study with `replicates`; expected both or neither")
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
    if bayes is not None and bayes.full:
        raise StudyError(
            f"engines.{name}.{bayes.full}",
            "'full': replicates are fitted with the marginal model; expected it here",
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

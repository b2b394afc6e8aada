"""The sections of a study: which text, tables and figures stand together, in the order of the story."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lmm.core.words import label, number, p_value
from lmm.report.tables import bayes
from lmm.report.tables import criticism as report_criticism
from lmm.report.tables import effects as report_effects
from lmm.report.tables import fits as tables
from lmm.report.text import criticism, effects
from lmm.report.text import fits as text
from lmm.results.study import Results

PARAGRAPH = 4  # findings that read well as running text; more of them are a list


def sections(results: Results, figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All sections that the results allow: key, title, text (or points), tables, figures, footer."""
    made = [
        _data(results),
        _ols(results),
        _mixed(results),
        _bayes(results),
        _effects(results),
        _models(results),
    ]
    made.append(_comparison(results))
    if len(results.by_factor) > 1:
        made += [_factor(own, k + 1) for k, own in enumerate(results.by_factor)]
    return [
        section
        | {
            "tables": [table for table in section["tables"] if table is not None],
            "figures": [figures[name] for name in section["figures"] if name in figures],
        }
        for section in made
        if section
    ]


def _section(
    key: str, title: str, said: list[str], blocks: list, figures: tuple[str, ...], footer: str = ""
) -> dict:
    said = [sentence for sentence in said if sentence]
    many = len(said) > PARAGRAPH
    return {
        "key": key, "title": title, "tables": blocks, "figures": figures, "footer": footer,
        "text": [] if many else said, "points": said if many else [],
    }  # fmt: skip


def _factor(results: Results, number: int) -> dict:
    """What is known of one of several grouping factors."""
    if not results.mixed:
        return {}
    blocks = [tables.ranef(results), tables.differences(results), report_criticism.influence(results)]
    shown = tuple(f"{name}-{number}" for name in ("differences", "caterpillar", "shrinkage", "influence"))
    compared = results.pair is not None and "ranef_differences" in results.tables
    said = [*(text.agreement(results) if compared else []), *criticism.influence(results)]
    return _section(
        f"factor-{number}",
        f"Random effects of {results.group}",
        said,
        [block and replace(block, key=f"{block.key}-{number}") for block in blocks],
        shown,
    )


def _numbered(results: Results, name: str) -> tuple[str, ...]:
    """The figures of a name that each of several factors has."""
    return tuple(f"{name}-{k + 1}" for k in range(len(results.by_factor)))


def _data(results: Results) -> dict:
    title = "What was simulated" if results.truth else "The data"
    return _section(
        "data",
        title,
        [*text.data(results), *text.predicted(results)],
        [tables.truth_table(results)],
        ("groups", *_numbered(results, "groups"), "pooled"),
    )


def _ols(results: Results) -> dict:
    if "ols" not in results.fits:
        return {}
    summary = results.fits["ols"].diagnostics.summary
    blocks = [
        tables.coefficients(results, "ols"),
        tables.quantiles(summary.get("residual_quantiles"), "ols-residuals", "OLS: residuals."),
    ]
    return _section("ols", "OLS: groups ignored", text.ols(results), blocks, (), _closing_lines(summary))


def _closing_lines(summary: Mapping[str, Any]) -> str:
    """The last lines of R's summary(lm)."""
    if "sigma" not in summary:
        return ""
    said = f"Residual standard error: {number(summary['sigma'], 4)} on {summary['df_resid']:,} degrees of freedom. "
    if summary["r2"]:  # 0 without predictors
        said += f"Multiple R²: {number(summary['r2'], 4)}, adjusted R²: {number(summary['adj_r2'], 4)}."
    if summary.get("f") is not None:
        first, second = summary["f_df"]
        said += f" F-statistic: {number(summary['f'], 4)} on {first:,g} and {second:,g} DF, "
        said += f"p-value: {p_value(summary['f_p'])}."
    return said


def _mixed(results: Results) -> dict:
    engines = [name for name in results.fits if name not in ("ols", "pymc")]
    if not engines:
        return {}
    blocks, several = [], len(results.by_factor) > 1
    for name in engines:
        summary = results.fits[name].diagnostics.summary
        scaled = summary.get("scaled_residuals")
        blocks += [
            tables.random_effects(results, name),
            tables.coefficients(results, name),
            tables.correlations(summary, name),
            tables.quantiles(scaled, f"{name}-scaled", f"{label(name)}: scaled residuals."),
        ]
    blocks.append(tables.explained(results))
    if not several:
        blocks += [tables.ranef(results), report_criticism.influence(results)]
    title = " and ".join(label(name) for name in engines) + ": restricted maximum likelihood"
    said = [
        *text.mixed(results),
        text.optimum(results),
        text.standard_errors(results),
        *([] if several else criticism.influence(results)),
    ]
    shown = ("residuals", "influence") if "influence" in results.tables else ("residuals",)
    return _section("mixed", title, said, blocks, shown)


def _bayes(results: Results) -> dict:
    if "pymc" not in results.fits:
        return {}
    blocks = [bayes.priors(results), bayes.posterior(results), bayes.gates(results)]
    blocks += [report_criticism.predictive(results), report_criticism.sensitivity(results)]
    blocks += [report_criticism.loo(results)]
    said = [*text.bayes(results), *criticism.bayes(results)]
    # what was left out is in the text, with its reason: an empty frame would add nothing
    checks = ("predictive", "prior_predictive", "loo")
    made = [name for name in checks if "criticism" in results.notes and not criticism.left_out(results, name)]
    return _section("bayes", "PyMC: the Bayesian fit", said, blocks, ("priors", "ranks", "traces", *made))


def _effects(results: Results) -> dict:
    blocks = [report_effects.tests(results), report_effects.effects(results)]
    if all(block is None for block in blocks):
        return {}
    return _section("effects", "Tests, means and slopes", effects.effects(results), blocks, ())


def _models(results: Results) -> dict:
    if "models" not in results.tables:
        return {}
    blocks = [report_effects.models(results), report_effects.model_tests(results)]
    return _section("models", "Comparison of models", effects.models(results), blocks, ())


def _comparison(results: Results) -> dict:
    if not results.mixed:
        return {}
    title = "Comparison: truth and engines" if results.truth else "Comparison of the engines"
    blocks = [tables.recovery(results)]
    if len(results.by_factor) == 1:
        blocks.append(tables.differences(results))
    shown = (
        "variances",
        *_numbered(results, "variances"),
        "effects",
        "differences",
        "caterpillar",
        "shrinkage",
    )
    return _section("comparison", title, text.comparison(results), blocks, shown)

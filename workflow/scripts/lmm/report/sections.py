"""The sections of a study: which text, tables and figures stand together, in the order of the page."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from lmm.core import engines
from lmm.core.words import label, listed, number, p_said, p_value
from lmm.report.tables import bayes, paper
from lmm.report.tables import criticism as report_criticism
from lmm.report.tables import effects as report_effects
from lmm.report.tables import fits as tables
from lmm.report.tables.table import Table
from lmm.report.text import criticism, effects
from lmm.report.text import fits as text
from lmm.results.labels import INTERCEPT
from lmm.results.study import Results

PARAGRAPH = 4  # findings that read well as running text; more of them are a list


def sections(results: Results, figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Results, data and appendix: key, title, text (or points), papers, tables, figures, footer, folded."""
    made = [
        _results(results),
        _random(results),
        _models(results),
        _data(results),
        *_appendix(results),
    ]
    return [
        section
        | {
            "tables": [table for table in section["tables"] if table is not None],
            "papers": [one for one in section["papers"] if one is not None],
            "figures": [figures[name] for name in section["figures"] if name in figures],
        }
        for section in made
        if section
    ]


def section(
    key: str,
    title: str,
    said: list[str],
    blocks: list | None = None,
    figures: tuple[str, ...] = (),
    papers: list | None = None,
    footer: str = "",
    folded: bool = False,
) -> dict[str, Any]:
    """A section as the template takes it."""
    said = [sentence for sentence in said if sentence]
    many = len(said) > PARAGRAPH
    return {
        "key": key, "title": title, "tables": blocks or [], "figures": figures, "papers": papers or [],
        "footer": footer, "folded": folded, "text": [] if many else said, "points": said if many else [],
    }  # fmt: skip


def _results(results: Results) -> dict:
    papers = [
        paper.results_table(results),
        report_effects.effects(results),
        report_effects.tests(results),
    ]
    said = [*text.explained(results, results.leading), *effects.effects(results)]
    # without predictors there is nothing to draw, which is no finding
    predicted = results.leading and set(results.fixed(results.leading)) - {INTERCEPT}
    shown = ("effects",) if predicted else ()
    return section("results", "Results", said, [], shown, papers)


def _random(results: Results) -> dict:
    if not results.mixed:
        return {}
    shown = by_factor(results, "caterpillar", "differences", "shrinkage")
    said = [text.rounding(own) for own in results.by_factor]
    of_each = by_factor(results, "differences")[-len(said) :]
    same = [name for name, one in zip(of_each, said, strict=True) if one]
    return section("random", "Random effects", said, [], tuple(name for name in shown if name not in same))


def _models(results: Results) -> dict:
    if "models" not in results.tables:
        return {}
    papers = [report_effects.models(results), report_effects.model_tests(results)]
    return section("models", "Comparison of models", effects.models(results), papers=papers)


def _data(results: Results) -> dict:
    said = [*text.data(results), *text.predicted(results)]
    return section("data", "Data", said, [], by_factor(results, "groups"))


# ---- appendix, folded


def _appendix(results: Results) -> list[dict]:
    checks = ("influence", "predictive", "prior_predictive", "loo")
    there = [name for name in checks if not _left_out(results, name)]
    blocks = [*_of_factors(results, report_criticism.influence), report_criticism.predictive(results)]
    blocks += [report_criticism.loo(results), report_criticism.sensitivity(results)]
    found = [_pooled(results), _likelihood(results), _bayes(results)]
    if any(block is not None for block in blocks):
        said = "Tables and figures of the checks above."
        shown = tuple(name for one in there for name in by_factor(results, one))
        found.append(section("criticism", "Checks in detail", [said], blocks, shown, folded=True))
    if results.mixed:
        blocks = [tables.explained(results), *_of_factors(results, tables.ranef, tables.differences)]
        found.append(section("groups", "Groups in detail", [], blocks, folded=True))
    return found


def by_factor(results: Results, *names: str) -> tuple[str, ...]:
    """Figures by name, and of each factor its own where there are several: `caterpillar-1`."""
    count = len(results.by_factor)
    numbered = tuple(f"{name}-{k + 1}" for k in range(count) for name in names)
    return names if count == 1 else (*names, *numbered)


def _of_factors(results: Results, *made: Callable[[Results], Table | None]) -> list[Table | None]:
    """Tables of each grouping factor."""
    if len(results.by_factor) == 1:
        return [one(results) for one in made]
    found = [(one(own), k + 1) for k, own in enumerate(results.by_factor) for one in made]
    return [block and replace(block, key=f"{block.key}-{k}") for block, k in found]


def _left_out(results: Results, check: str) -> bool:
    """Whether there is nothing to draw of a check: the reason is among the checks."""
    if check == "influence":
        return not len(results.tables.get("influence", ()))
    return "criticism" not in results.notes or bool(criticism.left_out(results, check))


def _pooled(results: Results) -> dict:
    engine = results.pooled
    if engine is None:
        return {}
    summary, name = results.fits[engine].diagnostics.summary, label(engine)
    blocks = [
        tables.coefficients(results, engine, name),
        tables.quantiles(summary.get("residual_quantiles"), f"{engine}-residuals", f"{name}: residuals."),
    ]
    title = f"{name}: least squares, groups ignored"
    said = text.pooled(results)
    return section(engine, title, said, blocks, ("pooled",), footer=_closing_lines(summary), folded=True)


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
        said += f"{p_said(p_value(summary['f_p']))}."
    return said


def _likelihood(results: Results) -> dict:
    """Summaries of the fits by likelihood; engines share the tables that are the same."""
    names = engines.of_family(results.fits, engines.LIKELIHOOD, engines.EXACT)
    names += [name for name in results.mixed if name not in engines.ENGINES]
    if not names:
        return {}
    found = {name: results.fits[name].parameters for name in names}
    shown = {
        name: (("p",) * bool(table["p_value"].notna().any()), paper.numbers(table))
        for name, table in found.items()
    }
    blocks = []
    for same in paper.together(shown):
        blocks += _summary(results, same)
    said = text.likelihood(results, names)
    title = f"{listed([label(name) for name in names])}: summaries"
    return section("likelihood", title, said, blocks, ("residuals",), folded=True)


def _summary(results: Results, same: list[str]) -> list:
    """The tables of engines that agree: each by the first of them that has it, the exact one before others."""
    names = listed([label(name) for name in same])
    found: list[Table | None] = [None] * 4
    for engine in sorted(same, key=lambda name: name != results.exact):
        summary = results.fits[engine].diagnostics.summary
        residuals = summary.get("scaled_residuals")
        own = [
            tables.random_effects(results, engine, names),
            tables.coefficients(results, engine, names),
            tables.correlations(summary, engine, names, results.labels.term),
            tables.quantiles(residuals, f"{engine}-scaled", f"{label(engine)}: scaled residuals."),
        ]
        found = [first or second for first, second in zip(found, own, strict=True)]
    return found


def _bayes(results: Results) -> dict:
    engine = results.bayes
    if engine is None:
        return {}
    blocks = [bayes.posterior(results), bayes.priors(results), bayes.gates(results)]
    title = f"{label(engine)}: posterior, priors and chains"
    shown = ("priors", "traces") if results.one_chain else ("priors", "ranks", "traces")
    return section(engine, title, text.skewed(results), blocks, shown, folded=True)

"""The page on all studies: one self-contained HTML file, and the same verdicts for machines.

Text, tables and figures come from their own modules; here they are put in order. The page carries its style sheet,
its scripts (DataTables, as itables bundles it, once) and its data: nothing is fetched from anywhere.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lmm import report_methods, report_provenance, report_tables, report_text
from lmm.report_verdicts import cards, headline
from lmm.results import Results, read
from lmm.store import plain, read_json, write_json, write_text
from lmm.words import label, number, p_value

TEMPLATES = Path(__file__).parents[2] / "report" / "templates"
FIGURES_OF = {
    "data": ("groups", "pooled"),
    "ols": (),
    "mixed": ("residuals",),
    "bayes": ("priors", "ranks", "traces"),
    "comparison": ("variances", "effects", "differences", "caterpillar", "shrinkage"),
}


@dataclass(frozen=True)
class Page:
    """The rendered report.

    Attributes
    ----------
    html : str
    summary : dict
        Every verdict and headline number on it, as plain types.
    """

    html: str
    summary: dict[str, Any]


def render(
    studies: Mapping[str, Mapping[str, Any]],
    paths: Mapping[str, Any],
    settings: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> Page:
    """The report on all studies.

    Parameters
    ----------
    studies : mapping
        Name -> settings as plain types: title, formula, engines, conf_level, configuration (the study's, validated).
    paths : mapping
        `<study>/<input>` -> path, inputs as `results.read` names them, and `<study>/figures`, the directory that
        `figures.write` filled.
    settings : mapping
        The report's: title.
    provenance : mapping
        As `report_provenance.collect` gives it.
    """
    read_studies, sections = [], []
    for name, own in studies.items():
        mine = {key.removeprefix(f"{name}/"): path for key, path in paths.items() if key.startswith(f"{name}/")}
        results = read(name, own, mine)
        read_studies.append(results)
        sections.append(_study(results, Path(str(mine["figures"])), provenance))
    summary = plain(
        {
            "title": settings.get("title") or "Do linear mixed models recover what is there?",
            "studies": {results.study: headline(results) for results in read_studies},
            "provenance": {key: provenance[key] for key in ("rendered", "revision", "versions", "system")},
        }
    )
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["table_json"] = table_json
    script, style = _datatables()
    html = environment.get_template("report.html.j2").render(
        title=summary["title"],
        studies=sections,
        provenance=provenance,
        bibtex=report_methods.bibtex(read_studies),
        style=Markup(style + (TEMPLATES / "report.css").read_text(encoding="utf-8")),
        datatables=Markup(script),
        script=Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
    )
    return Page(html, summary)


def write(page: Page, html: str | Path, summary: str | Path) -> None:
    """Write the page and its verdicts."""
    write_text(html, page.html)
    write_json(summary, page.summary)


def _datatables() -> tuple[str, str]:
    """itables' bundle of DataTables as a classic script (it leaves `lmmDataTable` behind) and its style sheet."""
    folder = Path(find_spec("itables").origin).parent / "html"
    script = (folder / "dt_bundle.js").read_text(encoding="utf-8")
    found = re.search(r"export\s*\{[^}]*?(\w+) as default[^}]*\};?", script)
    if found is None:
        raise RuntimeError("itables' DataTables bundle has no default export; expected itables 2.7 to 2.x")
    # `export` is not allowed in a classic script, and a module could not be inlined and named at once
    script = f"{script[: found.start()]}globalThis.lmmDataTable={found.group(1)};{script[found.end() :]}"
    # the style sheet has no url(http...) but must not end its own element early, nor the script its
    css = (folder / "dt_bundle.css").read_text(encoding="utf-8")
    return "(()=>{" + script.replace("</script", "<\\/script") + "\n})();", css.replace("</style", "<\\/style")


def _figures(directory: Path) -> dict[str, dict[str, Any]]:
    about = read_json(directory / "figures.json")
    return {
        figure["name"]: figure | {"svg": Markup((directory / f"{figure['name']}.svg").read_text(encoding="utf-8"))}
        for figure in about
    }


def _groups(directory: Path) -> Markup:
    """Every group's detail as JSON that may stand in a script element."""
    text = (directory / "groups.json").read_text(encoding="utf-8").strip() if (directory / "groups.json").exists() else "null"
    return Markup(text.replace("<", "\\u003c"))


def _section(key: str, title: str, text: list[str], tables: list, figures: dict) -> dict[str, Any]:
    return {
        "key": key,
        "title": title,
        "text": text,
        "tables": [table for table in tables if table is not None],
        "figures": [figures[name] for name in FIGURES_OF.get(key, ()) if name in figures],
        "footer": "",
    }


def _study(results: Results, directory: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
    figures, tables = _figures(directory), report_tables
    sections = [_section("data", "What was simulated" if results.truth else "The data", report_text.data(results),
                         [tables.truth_table(results)], figures)]  # fmt: skip
    if "ols" in results.fits:
        summary = results.fits["ols"].diagnostics.get("summary") or {}
        sections.append(_section("ols", "OLS: groups ignored", report_text.ols(results), [
            tables.coefficients(results, "ols"),
            tables.quantiles(summary.get("residual_quantiles"), "ols-residuals", "Residuals."),
        ], figures) | {"footer": _ols_footer(summary)})  # fmt: skip
    mixed = [name for name in results.fits if name not in ("ols", "pymc")]
    if mixed:
        blocks = []
        for name in mixed:
            summary = results.fits[name].diagnostics.get("summary") or {}
            blocks += [
                tables.random_effects(results, name), tables.coefficients(results, name), tables.correlations(summary, name),
                tables.quantiles(summary.get("scaled_residuals"), f"{name}-scaled", f"{label(name)}: scaled residuals."),
            ]  # fmt: skip
        blocks += [tables.explained(results), tables.ranef(results)]
        title = " and ".join(label(name) for name in mixed) + ": restricted maximum likelihood"
        said = [*report_text.mixed(results), report_text.optimum(results)]
        sections.append(_section("mixed", title, [text for text in said if text], blocks, figures))
    if "pymc" in results.fits:
        sections.append(_section("bayes", "PyMC: the Bayesian fit", report_text.bayes(results), [
            tables.priors(results), tables.posterior(results), tables.gates(results),
        ], figures))  # fmt: skip
    if results.mixed:
        title = "Comparison: truth and engines" if results.truth else "Comparison of the engines"
        blocks = [tables.recovery(results), tables.differences(results)]
        sections.append(_section("comparison", title, report_text.comparison(results), blocks, figures))
    seconds: dict[str, float] = {}
    for row in provenance["run_times"]:
        if row["study"] in (results.study, "") and row["seconds"] is not None:
            name = {"simulate": "data", "ingest": "data"}.get(row["rule"], row["rule"])
            seconds[name] = seconds.get(name, 0.0) + row["seconds"]
    return {
        "name": results.study,
        "title": results.title,
        "formula": results.settings.get("formula", ""),
        "cards": cards(results),
        "sections": sections,
        "methods": report_methods.methods(results),
        "configuration": yaml.safe_dump(plain(results.settings.get("configuration") or {}), sort_keys=False, allow_unicode=True),
        "graph": Markup(report_provenance.graph(report_provenance.edges(results.fits), seconds)),
        "groups": _groups(directory),
        "warnings": [(label(name), text) for name, fit in results.fits.items() for text in fit.diagnostics.get("warnings") or []],
    }


def _ols_footer(summary: Mapping[str, Any]) -> str:
    """The closing lines of R's summary(lm)."""
    if "sigma" not in summary:
        return ""
    said = f"Residual standard error: {number(summary['sigma'], 4)} on {summary['df_resid']} degrees of freedom. Multiple R²: "
    said += f"{number(summary['r2'], 4)}, adjusted R²: {number(summary['adj_r2'], 4)}."
    if summary.get("f") is not None:
        first, second = summary["f_df"]
        said += f" F-statistic: {number(summary['f'], 4)} on {first:g} and {second:g} DF, p-value: {p_value(summary['f_p'])}."
    return said


def table_json(table: report_tables.Table) -> Markup:
    """A streamed table's rows as JSON that may stand in a script element."""
    return Markup(json.dumps(table.data(), separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c"))

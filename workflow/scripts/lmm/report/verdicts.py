"""All verdicts of a study, computed once for page and summary.json."""

from lmm.comparison.engines import verdict
from lmm.core.tidy import variable
from lmm.report import interest
from lmm.report.adequacy import checks
from lmm.report.answer import answers, sentences
from lmm.report.card import Card
from lmm.results.study import Results


def cards(results: Results) -> list[Card]:
    """Cards of a study: the answer, then the checks."""
    return [*answers(results), *checks(results)]


def headline(results: Results) -> dict:
    """Verdicts and headline numbers of a study as plain types, for summary.json."""
    found = verdict(results.fits, results.tables.get("ranef_differences"), results.conf_level)
    estimates = {
        name: {
            variable(group, term, results.groups): float(value)
            for group, term, value in zip(
                *(fit.parameters[c] for c in ("group", "term", "estimate")), strict=True
            )
        }
        for name, fit in results.fits.items()
    }
    return {
        "title": results.title,
        "formula": results.settings.get("formula"),
        "rows": results.data["rows"],
        "groups": results.data.get("groups", {own.group: own.data["groups"] for own in results.by_factor}),
        "conf_level": results.conf_level,
        "answer": sentences(results),
        "effects": [
            {
                "effect": one.title,
                "unit": one.unit,
                "by_engine": {name: dict(row) for name, row in one.rows.items()},
            }
            for one in interest.interests(results)
        ],
        "cards": [card.plain() for card in cards(results)],
        "verdict": found,
        "criticism": results.notes.get("criticism"),
        "predictions": results.notes.get("predictions"),
        "estimates": estimates,
        "truth": {
            k: v
            for k, v in (results.truth or {}).items()
            if k in ("fixed", "sd", "corr", "sigma", "realised")
        }
        or None,
    }

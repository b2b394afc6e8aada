"""A self-contained page from a template: style sheet, scripts (DataTables, as itables bundles it, once) and data."""

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lmm.report.tables.table import Table

TEMPLATES = Path(__file__).parents[3] / "report" / "templates"


def assemble(template: str, **values: Any) -> str:
    """The page's HTML; nothing in it is fetched from anywhere.

    Parameters
    ----------
    template : str
        A file below workflow/report/templates.
    **values
        What the template shows.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_unbroken,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["table_json"] = table_json
    script, style = _datatables()
    return environment.get_template(template).render(
        style=Markup(style + (TEMPLATES / "report.css").read_text(encoding="utf-8")),
        datatables=Markup(script),
        script=Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
        **values,
    )


def _unbroken(value: Any) -> Any:
    """Plain text with ± and % on the line of their numbers."""
    return re.sub(r" (?=%)| (?=± )|(?<=±) ", "\u00a0", value) if type(value) is str else value


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
    return "(()=>{" + script.replace("</script", "<\\/script") + "\n})();", css.replace(
        "</style", "<\\/style"
    )


def table_json(table: Table) -> Markup:
    """A streamed table's rows as JSON that may stand in a script element."""
    return Markup(json.dumps(table.data(), separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c"))

"""A self-contained page from a template: style sheet, scripts (DataTables, as itables bundles it, once) and data.

Its Content-Security-Policy lets a browser run these scripts and this style sheet alone, known by their hashes, and
open no connection. What a data file put into the page as a script would not run, even if it were not escaped.
"""

import base64
import hashlib
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lmm.core.engines import ENGINES
from lmm.report.tables.documents import links
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
    environment.filters["links"] = links
    datatables, style = _datatables()
    style += _read("report.css") + engine_colours()
    scripts = {"theme": _read("theme.js"), "datatables": datatables, "script": _read("report.js")}
    return environment.get_template(template).render(
        policy=_policy(list(scripts.values()), [style]),
        style=Markup(style),
        **{name: Markup(text) for name, text in scripts.items()},
        **values,
    )


def engine_colours() -> str:
    """The style sheet's part that gives each engine's lines and areas its shade of the theme.

    Figures hold an engine's colour as an attribute; here it stands for the variable of the engine's name.
    """
    themes = zip(
        *(engine.shades or (engine.colour, engine.colour) for engine in ENGINES.values()), strict=True
    )
    light, dark = (
        "; ".join(f"--{name}: {shade}" for name, shade in zip(ENGINES, theme, strict=True))
        for theme in themes
    )
    system, chosen = ':root:not([data-theme="light"])', ':root[data-theme="dark"]'
    rules = [
        f":root {{ {light}; }}",
        f"@media (prefers-color-scheme: dark) {{ {system} {{ {dark}; }} }}",
        f"{chosen} {{ {dark}; }}",
        f"@media print {{ :root, {system}, {chosen} {{ {light}; }} }}",
    ]
    for name, engine in ENGINES.items():
        rules += [f'[{part}="{engine.colour}"] {{ {part}: var(--{name}); }}' for part in ("stroke", "fill")]
    return "\n".join(rules) + "\n"


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _policy(scripts: list[str], styles: list[str]) -> str:
    """The page's Content-Security-Policy. It hashes our own files, not what the finished page contains."""

    def hashes(parts: list[str]) -> str:
        digests = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    own = {
        "default-src": "'none'",
        "script-src": hashes(scripts),
        "style-src": hashes(styles),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{kind} {allowed}" for kind, allowed in own.items())


def _unbroken(value: Any) -> Any:
    """Plain text with ±, % and `p =` on the line of their numbers."""
    if type(value) is not str:
        return value
    return re.sub(r" (?=%)| (?=± )|(?<=±) |(?<=\bp) (?=[<=>] \.)|(?<=\bp [<=>]) (?=\.)", "\u00a0", value)


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

"""pydantic's errors as one line: key path, value met, what was expected."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from lmm.config.base import PATTERNS

EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
}
BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def message(error: ValidationError, raw: Any) -> tuple[tuple, str]:
    """Key path and message of the first mistake.

    Of a value that may have several forms pydantic reports each form's objection: the ones that got deepest
    into the value speak, together.

    Parameters
    ----------
    error : ValidationError
    raw : any
        What was validated; key paths that are not in it (pydantic's names for forms) are left out.
    """
    found = [(_path(item["loc"], raw), item) for item in error.errors(include_url=False)]
    first = found[0][0][:1]
    same = [(path, item) for path, item in found if path[:1] == first]
    deepest = max(len(path) for path, _ in same)
    path = next(path for path, _ in same if len(path) == deepest)
    items = [item for at, item in same if at == path]
    # a bound that is broken tells more than a form that the value never had
    known = [item for item in items if item["type"] in BOUNDS]
    known = known or [item for item in items if item["type"] not in ("unknown_key", "missing")] or items
    item = known[0]
    if item["type"] == "unknown_key":
        return (*path, item["ctx"]["key"]), item["msg"]
    if item["type"] == "wrong" or (item["type"] == "mapping" and len(known) == 1):
        return path, item["msg"]
    if item["type"] == "missing":
        key = item["loc"][-1]
        return (path if path[-1:] == (key,) else (*path, key)), f"is missing; expected {_describe(item)}"
    if hint := _hint(item):  # a number in quotes is a number, whatever else there may be
        return path, f"{_met(item['input'])}: expected {_describe(item)}{hint}"
    forms = [_describe(one) for one in items if one["type"] == "unknown_key"]
    expected = " or ".join(dict.fromkeys([_describe(one) for one in known] + forms))
    return path, f"{_met(item['input'])}: expected {expected}"


def _path(loc: tuple, raw: Any) -> tuple:
    """The parts of pydantic's location that are keys of the configuration."""
    path = []
    for part in loc:
        known = range(len(raw)) if isinstance(raw, list) else raw if isinstance(raw, Mapping) else ()
        if part in known:
            raw = raw[part]
            path.append(part)
    return tuple(path)


def _describe(item: Mapping[str, Any]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind in EXPECTED:
        return EXPECTED[kind]
    if kind in BOUNDS:
        name, words = BOUNDS[kind]
        return f"{words} {context[name]:.15g}"
    if kind == "string_pattern_mismatch":
        return PATTERNS[context["pattern"]]
    if kind == "literal_error":
        return context["expected"]
    if kind == "missing":
        return "a value"
    if kind == "mapping":
        return f"a mapping {context['known']}"
    if kind == "unknown_key":
        return f"a mapping with {context['hint'].rpartition(': ')[2]}"
    if kind == "too_short":
        least = context["min_length"]
        return f"at least {least} {'entry' if least == 1 else 'entries'}"
    return item["msg"][:1].lower() + item["msg"][1:]


def _met(value: Any) -> str:
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 80 else text[:77] + "..."


def _hint(item: Mapping[str, Any]) -> str:
    """YAML 1.1 reads 1e-3 as text."""
    if item["type"] not in ("float_type", "int_type") or not isinstance(item["input"], str):
        return ""
    try:
        float(item["input"])
    except ValueError:
        return ""
    number, power, exponent = item["input"].lower().partition("e")
    sign = "" if exponent[:1] in ("-", "+") else "+"
    point = "" if "." in number else ".0"
    return f" without quotes{f' and with a point: {number}{point}e{sign}{exponent}' if power else ''}"

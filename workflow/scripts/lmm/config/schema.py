"""JSON schema and table of keys, made from the configuration's models so that they cannot drift apart."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from lmm.config.designs import NOT_CROSSED, SINGLE
from lmm.config.study import Configuration

CROSSED = ("Simulation", "Poisson", "Nested")
NAMES = {"studies": "<study>", "predictors": "<x>"}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
SKIPPED = ("designs",)  # keys of `simulate` again


def schema() -> dict[str, Any]:
    """Draft 2020-12 schema of a configuration file; values in `simulate` may be lists, which cross."""
    whole = _tidy(Configuration.model_json_schema())
    whole["properties"]["studies"]["additionalProperties"] = False
    for name in CROSSED:
        for key, value in whole["$defs"][name]["properties"].items():
            if key in NOT_CROSSED + SINGLE:
                continue
            if "additionalProperties" in value:
                value["additionalProperties"] = _or_list(value["additionalProperties"])
            else:
                description = {k: value.pop(k) for k in ("description", "default") if k in value}
                whole["$defs"][name]["properties"][key] = _or_list(value) | description
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | whole


def _or_list(value: dict[str, Any]) -> dict[str, Any]:
    """A value, or a list of such values; so is each entry of a mapping."""
    forms = value["anyOf"] if set(value) == {"anyOf"} else [value]
    own = [
        form | {"additionalProperties": _or_list(form["additionalProperties"])}
        if isinstance(form.get("additionalProperties"), dict)
        else form
        for form in forms
    ]
    return {"anyOf": [*own, {"type": "array", "minItems": 1, "items": value}]}


def _tidy(node: Any, inside_properties: bool = False) -> Any:
    """Without pydantic's titles and the default null, which means absent."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidy = {}
    for key, value in node.items():
        if not inside_properties and (key == "title" or (key == "default" and value is None)):
            continue
        is_text = key == "description" and isinstance(value, str)
        tidy[key] = " ".join(value.split()) if is_text else _tidy(value, key == "properties")
    return tidy


def key_table() -> str:
    """Every key as a Markdown table: key, values, default, meaning."""
    lines = ["| key | values | default | meaning |", "|---|---|---|---|"]
    for path, field, prop in _keys(Configuration, ""):
        default = (
            "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
        )
        meaning = " ".join((field.description or "").split())
        cells = [f"`{path}`", _values(prop, path), default, meaning]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _keys(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    properties = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        yield path, field, properties[name]
        if name in SKIPPED:
            continue
        below = f"{path}.{NAMES[name]}." if name in NAMES else f"{path}."
        for inner in _models(field.annotation):
            yield from _keys(inner, below)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _values(prop: dict[str, Any], path: str) -> str:
    """Type and range in words."""
    if "anyOf" in prop:
        forms = [_values(form, path) for form in prop["anyOf"] if form.get("type") != "null"]
        return " or ".join(dict.fromkeys(forms))
    if "enum" in prop:
        return ", ".join(map(str, prop["enum"]))
    if "const" in prop:
        return str(prop["const"])
    kind = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true, false"}.get(
        prop.get("type"), "mapping"
    )
    if prop.get("type") == "array":
        return "list"
    bounds = [f"{sign} {prop[key]:.12g}" for key, sign in BOUNDS.items() if key in prop]
    return ", ".join([kind, *bounds])


def _default(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel) or value == {}:
        return ""
    return str(value) if value != "" else ""

"""What all parts of the configuration share: frozen, strict, unknown keys answered with the nearest known."""

import difflib
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

# Patterns of texts, and the words for what they match.
STUDY = r"^[a-z0-9_-]+$"
NAME = r"^[A-Za-z0-9_.-]+$"
SIGN = r"^([^\w\s\"\\]|\t)$"
DESIGN_KEY = r"^[0-9a-f]{12}$"
PATTERNS = {
    STUDY: "lower-case letters, digits, _ and -",
    NAME: "a name of letters, digits, _, . and -",
    SIGN: 'one sign such as "," ";" "|" or a tab',
    DESIGN_KEY: "a design's key: 12 of the digits 0-9 and a-f",
}
REFUSED = {
    "offset": "expected no such key: write + offset(column) in the formula",
}


def nearest(name: Any, known: list[str]) -> str:
    """`did you mean 'seed'?`, or nothing where no known name is near, and all that are known."""
    if not known:
        return "expected no keys"
    close = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}expected one of: {', '.join(known)}"


class Settings(BaseModel):
    """A mapping of the configuration."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    # `title:` with nothing behind it is an absent key; of engines, `ols:` is an engine with its defaults
    empty_key: ClassVar[Any] = None

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        known = list(cls.model_fields)
        if value is None:
            return {}
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise PydanticCustomError(
                "mapping", "{met}: expected a mapping {known}",
                {"met": repr(value), "known": f"with the keys {', '.join(known)}" if known else "without keys: {}"},
            )  # fmt: skip
        for key in value:
            if key not in known:
                hint = REFUSED.get(str(key)) or f"unknown key; {nearest(key, known)}"
                raise PydanticCustomError("unknown_key", "{hint}", {"key": str(key), "hint": hint})
        filled = {key: cls.empty_key if item is None else item for key, item in value.items()}
        return {key: item for key, item in filled.items() if item is not None}

    def plain(self) -> dict[str, Any]:
        """As built-in types, for a rule's params; `from_plain` reads it back."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> Self:
        """The settings whose `plain` this is."""
        return cls.model_validate(value)

"""What the report and its figures see of every study, be it fitted once or replicated."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reported:
    """A study's name and settings.

    Attributes
    ----------
    study : str
    settings : dict
        The study's validated settings as plain types: title, formula, engines, conf_level, ...
    """

    study: str
    settings: dict[str, Any]

    @property
    def title(self) -> str:
        """The study's heading."""
        return self.settings.get("title") or self.study

    @property
    def conf_level(self) -> float:
        """The level of every interval."""
        return float(self.settings.get("conf_level") or 0.95)

    def engine_settings(self, engine: str) -> dict[str, Any]:
        """An engine's settings as they are configured; empty where none are recorded."""
        return self.settings.get("configuration", {}).get("engines", {}).get(engine) or {}

    @property
    def level(self) -> str:
        """`conf_level` in words: `95 %`."""
        return f"{100 * self.conf_level:g}\u00a0%"

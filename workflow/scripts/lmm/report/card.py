"""A verdict as the page and summary.json show it."""

from dataclasses import dataclass
from typing import Any

MARKS = {"good": "✓", "bad": "✗", "warn": "!", "plain": "·"}


@dataclass(frozen=True)
class Card:
    """A verdict: `tone` is good, warn, bad or plain; `lines` are (tone, text); `advice`: what to do about it."""

    key: str
    tone: str
    title: str
    value: str
    lines: tuple[tuple[str, str], ...] = ()
    advice: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """The tone as a sign: colour alone does not reach everyone."""
        return MARKS[self.tone]

    def plain(self) -> dict[str, Any]:
        """As built-in types, for summary.json: lines without their tones."""
        found = {name: getattr(self, name) for name in ("key", "tone", "title", "value")}
        return found | {"lines": [text for _, text in self.lines], "advice": list(self.advice)}

"""Names of a model's columns: all that engines need to know of a formula, readable without formulaic."""

from dataclasses import dataclass

INTERCEPT = "Intercept"


@dataclass(frozen=True)
class Terms:
    """Names of a design's columns, formulaic's (`Intercept`, `x`, `C(Diet)[T.2]`).

    Attributes
    ----------
    fixed : tuple of str
        Columns of X.
    blocks : tuple of tuples of str
        Columns of Z, a tuple for each independent block of random effects.
    group : str
        The grouping factor.
    columns : tuple of str
        Distinct columns W of Z and X: the intercept first where there is one, then Z's, then X's own.
    dropped : tuple of str
        Columns of the fixed effects that are linear combinations of those before them: they are not in X.
    """

    fixed: tuple[str, ...]
    blocks: tuple[tuple[str, ...], ...]
    group: str
    columns: tuple[str, ...]
    dropped: tuple[str, ...] = ()

    @property
    def random(self) -> tuple[str, ...]:
        """Columns of Z, block after block."""
        return tuple(name for block in self.blocks for name in block)

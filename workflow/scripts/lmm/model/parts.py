"""What a formula says: its response, its fixed part and the random effects of each grouping factor."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RandomTerm:
    """`(x | g)` or `(x || g)`.

    Attributes
    ----------
    rhs : str
        Right-hand side of all its random effects for formulaic.
    blocks : tuple of str
        Right-hand side of each independent block: `(x | g)` is one block `1 + x`, `(x || g)` the two blocks `1` and
        `0 + x`. A categorical x has no columns of its own; see `independent`.
    independent : bool
        `||`: each column of `rhs` is a block where a predictor is categorical.
    columns : tuple of str
        The predictors.
    """

    rhs: str
    blocks: tuple[str, ...]
    independent: bool
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Factor:
    """A grouping factor and its random terms.

    Attributes
    ----------
    columns : tuple of str
        Columns of the data whose combinations are its levels: `(1 | a/b)` is `(1 | b:a) + (1 | a)`.
    terms : tuple of RandomTerm
    """

    columns: tuple[str, ...]
    terms: tuple[RandomTerm, ...]

    @property
    def group(self) -> str:
        """Its name, lme4's (`b:a`)."""
        return ":".join(self.columns)


@dataclass(frozen=True)
class Formula:
    """A linear mixed model.

    Attributes
    ----------
    text : str
        As the user wrote it.
    response : str
        Expression of the response, e.g. `y` or `np.log(y)`.
    fixed : str
        Right-hand side of the fixed effects for formulaic, intercept always explicit (`1 + x`, `0 + x`).
    factors : tuple of Factor
        Grouping factors in the formula's order.
    variables : tuple of str
        Columns of the data that the formula needs: response's, predictors, grouping factors'.
    predictors : tuple of str
        Columns of the fixed and random effects.
    categorical : tuple of str
        Columns inside C(...): categories whatever their type.
    stateful : tuple of str
        Transformations such as poly(x, 2) whose basis depends on all rows.
    dates : tuple of str
        Columns inside as_date(...): dates, read as numbers of days.
    weights : str
        Column of precision weights: the residual variance of a row is sigma^2 / weight; empty: none.
    offsets : tuple of str
        Columns that are subtracted from the response.
    """

    text: str
    response: str
    fixed: str
    factors: tuple[Factor, ...]
    variables: tuple[str, ...]
    predictors: tuple[str, ...]
    categorical: tuple[str, ...]
    stateful: tuple[str, ...]
    dates: tuple[str, ...]
    weights: str = ""
    offsets: tuple[str, ...] = ()

    @property
    def measured(self) -> str:
        """The response with its weights and offsets: models that differ in it are of different data."""
        weights = f" | weights({self.weights})" * bool(self.weights)
        return self.response + weights + "".join(f" - offset({name})" for name in self.offsets)

    @property
    def measures(self) -> tuple[str, ...]:
        """Columns that the response is a function of."""
        keys = (column for factor in self.factors for column in factor.columns)
        others = {*self.predictors, *keys, self.weights, *self.offsets}
        return tuple(name for name in self.variables if name not in others)

    @property
    def several(self) -> bool:
        """Whether there are several grouping factors."""
        return len(self.factors) > 1

    @property
    def group(self) -> str:
        """Name of the grouping factor, where there is one."""
        (factor,) = self.factors
        return factor.group

    @property
    def blocks(self) -> tuple[str, ...]:
        """Right-hand sides of all independent blocks, factor after factor."""
        return tuple(block for factor in self.factors for term in factor.terms for block in term.blocks)

    @property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        """The columns of each grouping factor."""
        return tuple(factor.columns for factor in self.factors)

"""Settings of one simulated design: everything scalar, lists already crossed."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from lmm.config.base import DESIGN_KEY, Settings, nearest

Probability = Annotated[float, Field(gt=0, lt=1)]


MOST_SIZES = 100_000  # a list in a YAML file is read at about 30,000 values per second


class Sizes(Settings):
    """Rows of each group, written out."""

    sizes: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    """Rows of the first, second, ... group, at most 100,000 numbers; a shorter list is repeated over the groups."""

    @field_validator("sizes", mode="before")
    @classmethod
    def _few(cls, value: Any) -> Any:
        if isinstance(value, list) and len(value) > MOST_SIZES:
            what = "a longer list takes minutes to read; a shorter one is repeated over the groups, or {poisson: m}"
            raise _wrong(f"{len(value):,} sizes: expected at most {MOST_SIZES:,}, for {what}")
        return value


class Poisson(Settings):
    """Rows of each group from a Poisson distribution without its zero."""

    poisson: float = Field(gt=0, le=1e6)
    """Mean of the Poisson distribution before groups of no rows are excluded."""


class Predictor(Settings):
    """How the values of a predictor are drawn."""

    distribution: Literal["normal", "uniform", "binary", "sequence", "latin_square"] = "normal"
    """normal (mean, sd), uniform (low, high), binary (p), sequence (start, step; 0, 1, 2, ... in a group),
    latin_square (conditions, rotated over the levels of crossed grouping factors)."""
    mean: float = 0.0
    """Mean of a normal predictor."""
    sd: float = Field(1.0, gt=0)
    """Standard deviation of a normal predictor."""
    low: float = 0.0
    """Lower end of a uniform predictor."""
    high: float = 1.0
    """Upper end of a uniform predictor."""
    p: Probability = 0.5
    """Probability of 1 of a binary predictor."""
    start: float = 0.0
    """First value of a sequence."""
    step: float = 1.0
    """Step of a sequence."""
    conditions: int = Field(2, ge=2, le=100)
    """Conditions of a Latin square, coded by whole steps around 0: -0.5 and 0.5, or -1, 0 and 1."""
    between: bool | str = False
    """One value for all rows of a group; with several grouping factors the column whose levels have one each."""

    @model_validator(mode="after")
    def _sensible(self) -> "Predictor":
        if self.distribution == "uniform" and self.low >= self.high:
            raise _wrong(f"low {self.low:g}, high {self.high:g}: expected low < high")
        if self.distribution == "latin_square" and self.between:
            raise _wrong("a Latin square assigns conditions to rows; expected between: false")
        if self.distribution == "sequence" and self.between:
            raise _wrong("a sequence runs within groups; expected between: false")
        if self.distribution == "sequence" and self.step == 0:
            raise _wrong("step 0 makes a constant; expected another number")
        return self


class Shape(Settings):
    """Distribution of random effects or errors, scaled to the sd that is asked for."""

    distribution: Literal["normal", "student", "skewed"] = "normal"
    """normal, student (df) or skewed (shape)."""
    df: float = Field(5.0, gt=2)
    """Degrees of freedom of Student's t, more than 2 for the variance to exist."""
    shape: float = Field(2.0, gt=0)
    """Shape of the shifted gamma distribution: its skewness is 2 / sqrt(shape)."""


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("wrong", "{message}", {"message": message})


def _shorthand(form: type[Settings], names: Mapping[str, str | None], what: str):
    """Reads `normal`, `{binary: 0.5}` and `{normal: {mean: 1}, between: true}` as full mappings."""

    def read(value: Any) -> Any:
        if isinstance(value, str):
            if value not in names:
                raise _wrong(f"'{value}': expected {what}: {', '.join(names)}")
            return {"distribution": value}
        if not isinstance(value, Mapping):
            return value
        found = [name for name in value if name in names]
        if len(found) > 1:
            raise _wrong(f"{', '.join(found)}: expected one of them")
        if not found:
            known = [*names, *form.model_fields]
            for key in value:
                if key not in known:
                    raise _wrong(f"'{key}': unknown key; {nearest(key, known)}")
            return value
        rest = {key: item for key, item in value.items() if key != found[0]}
        inner = value[found[0]]
        if isinstance(inner, Mapping):
            return {"distribution": found[0], **inner, **rest}
        if inner is None:
            return {"distribution": found[0], **rest}
        if names[found[0]] is None:
            raise _wrong(f"'{found[0]}: {inner}': expected a mapping such as {{{found[0]}: {{}}}}")
        return {"distribution": found[0], names[found[0]]: inner, **rest}

    return BeforeValidator(read, json_schema_input_type=Literal[tuple(names)] | dict[str, Any])


PREDICTORS = {"normal": None, "uniform": None, "binary": "p", "sequence": None, "latin_square": "conditions"}
SHAPES = {"normal": None, "student": "df", "skewed": "shape"}
AnyPredictor = Annotated[Predictor, _shorthand(Predictor, PREDICTORS, "a predictor")]
AnyShape = Annotated[Shape, _shorthand(Shape, SHAPES, "a distribution")]
Sd = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=2, le=10**8)]
Corr = Annotated[float, Field(ge=-1, le=1)]


class Nested(Settings):
    """Levels of a grouping factor within those of another."""

    per: str
    """The column whose levels have so many each."""
    count: int = Field(ge=1, le=10**6)
    """Levels per level of `per`."""


class Address(Settings):
    """Which replicate of which design; `make replay` writes it."""

    design: str = Field(pattern=DESIGN_KEY)
    """The design's key."""
    replicate: int = Field(ge=0, le=10**7)
    """The replicate's number, from 0."""


class Simulation(Settings):
    """Data simulated from the study's formula."""

    generator: Literal["numpy", "r"] = "numpy"
    """numpy: PCG64 streams addressed by design and replicate; r: R's set.seed, rnorm, sample, bit for bit."""
    seed: int = Field(1, ge=0, lt=2**31)
    """Seed of everything that is drawn."""
    address: Address | None = None
    """Draw a replicate of another study again: `make replay` writes this."""
    groups: Count | dict[str, Count | Nested] | None = None
    """Groups; 30 where nothing else is said, or as many as `sizes` has. Of several grouping factors levels by column:
    {subject: 40, item: 24} are crossed, {school: 12, class: {per: school, count: 3}} nested."""
    rows: int | None = Field(None, ge=1, le=10**10)
    """Rows in all, spread at random over the groups (a group can stay empty); over the combinations of levels."""
    rows_per_group: Annotated[int, Field(ge=1)] | Sizes | Poisson | None = None
    """Rows of each group: a number, {sizes: [...]} or {poisson: m}; 10 where `rows` is not given either. Of each
    combination of levels where factors cross, 1 there."""
    fixed: dict[str, float] = Field(default_factory=dict)
    """Fixed effects, exactly the formula's terms; 0 each where none is given. Unit: response per term."""
    sd: dict[str, Sd | dict[str, Sd]] = Field(default_factory=dict)
    """Standard deviations of the random effects, exactly the formula's terms; 1 each where none is given. By factor
    where there are several: {subject: {Intercept: 40, cond: 15}, item: {Intercept: 20}}."""
    corr: Corr | dict[str, Corr | dict[str, Corr]] | None = None
    """Correlation of random effects: a number for one pair, {"Intercept.x": r} for more; 0 if not given. By factor
    where there are several."""
    sigma: float = Field(1.0, gt=0)
    """Standard deviation of the errors, in the unit of the response."""
    predictors: dict[str, AnyPredictor] = Field(default_factory=dict)
    """By predictor: normal, uniform, {binary: p}, sequence, or a mapping (below); normal where not given."""
    random_effects: AnyShape = Shape()
    """Distribution of the random effects: normal, {student: df} or {skewed: shape}, for misspecification."""
    errors: AnyShape = Shape()
    """Distribution of the errors: normal, {student: df} or {skewed: shape}."""

    @model_validator(mode="after")
    def _rows_once(self) -> "Simulation":
        if self.rows is not None and self.rows_per_group is not None:
            raise _wrong(f"rows {self.rows} and rows_per_group: expected one of the two")
        return self

    @property
    def levels(self) -> dict[str, int]:
        """Of several grouping factors: levels of each column, parents before those nested in them."""
        found: dict[str, int] = {}
        left = dict(self.groups) if isinstance(self.groups, dict) else {}
        while left:
            ready = [name for name, how in left.items() if isinstance(how, int) or how.per in found]
            if not ready:
                break  # nested in each other: refused by `simulation_checks`
            for name in ready:
                how = left.pop(name)
                found[name] = how if isinstance(how, int) else found[how.per] * how.count
        return found

    @property
    def crossed(self) -> bool:
        """Whether factors cross: several columns are nested in nothing, or in the same one."""
        if not isinstance(self.groups, dict):
            return False
        parents = [how.per if isinstance(how, Nested) else "" for how in self.groups.values()]
        return len(set(parents)) < len(parents)

    @property
    def cells(self) -> int:
        """Combinations of levels that have rows: the groups, where there is one factor."""
        if not isinstance(self.groups, dict):
            return self.n_groups
        out = 1
        for how in self.groups.values():
            out *= how if isinstance(how, int) else how.count
        return out

    @property
    def n_groups(self) -> int:
        """Groups, with the default; levels in all, where there are several factors."""
        if isinstance(self.groups, dict):
            return sum(self.levels.values())
        if self.groups is not None:
            return self.groups
        return len(self.rows_per_group.sizes) if isinstance(self.rows_per_group, Sizes) else 30

    @property
    def n_rows(self) -> int:
        """Rows in all; about as many where they are drawn at random."""
        each = self.group_rows
        if isinstance(each, Sizes):
            return sum(each.sizes) * self.cells // len(each.sizes)
        if isinstance(each, Poisson):
            return round(each.poisson * self.cells)
        return self.rows if each is None else each * self.cells

    @property
    def group_rows(self) -> int | Sizes | Poisson | None:
        """Rows of each group, with the default; None where `rows` are spread at random."""
        default = 1 if self.crossed else 10
        return default if self.rows is None and self.rows_per_group is None else self.rows_per_group

    def of_factor(self, group: str) -> "Simulation":
        """The settings of one of several grouping factors: its standard deviations and correlations."""
        corr = self.corr.get(group) if isinstance(self.corr, dict) else None
        return self.model_copy(update={"sd": self.sd.get(group, {}), "corr": corr})

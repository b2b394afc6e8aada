"""lme4 formulas with one grouping factor, taken apart into what formulaic can read.

`y ~ x + (x | g)` becomes a response, a fixed part and one block of random effects for each independent term.
Bates, Mächler, Bolker & Walker 2015 (J. Stat. Softw. 67(1), table 2) is the grammar; what is not in it, or
needs more than one grouping factor, is refused with a word on what to write instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from formulaic import Formula as Formulaic
from formulaic.parser.types import Factor

from lmm.core.errors import StudyError
from lmm.model.syntax import MARK, REFUSED, named, names_in, readable, split, strip, unquoted

EXPECTED = "expected columns by name ('.' is not supported) and functions of them, joined by +, -, * or :"


@dataclass(frozen=True)
class Formula:
    """A linear mixed model with one grouping factor.

    Attributes
    ----------
    text : str
        As the user wrote it.
    response : str
        Expression of the response, e.g. `y` or `np.log(y)`.
    fixed : str
        Right-hand side of the fixed effects for formulaic, intercept always explicit (`1 + x`, `0 + x`).
    blocks : tuple of str
        Right-hand side of each independent block of random effects: `(x | g)` is one block `1 + x`,
        `(x || g)` the two blocks `1` and `0 + x`.
    group : str
        Column of the grouping factor.
    variables : tuple of str
        Columns of the data that the formula needs: response's, predictors, grouping factor.
    predictors : tuple of str
        Columns of the fixed and random effects.
    categorical : tuple of str
        Columns inside C(...): categories whatever their type.
    stateful : tuple of str
        Transformations such as poly(x, 2) whose basis depends on all rows.
    dates : tuple of str
        Columns inside as_date(...): dates, read as numbers of days.
    """

    text: str
    response: str
    fixed: str
    blocks: tuple[str, ...]
    group: str
    variables: tuple[str, ...]
    predictors: tuple[str, ...]
    categorical: tuple[str, ...]
    stateful: tuple[str, ...]
    dates: tuple[str, ...]


def parse(text: str, where: str = "formula") -> Formula:
    """Parse an lme4 formula with one grouping factor.

    Parameters
    ----------
    text : str
        For example `Reaction ~ Days + (Days | Subject)`.
    where : str
        Key path for the error message.

    Returns
    -------
    Formula

    Raises
    ------
    StudyError
        For anything that does not parse or that this version does not fit: crossed and nested factors,
        weights, offsets, several responses, the same random effect twice.
    """
    return _Parser(text, where).formula()


class _Parser:
    """One pass over a formula; holds the text and key path that every message needs."""

    def __init__(self, text: str, where: str):
        self.text, self.where = text, where
        self.categorical: list[str] = []
        self.stateful: list[str] = []
        self.dates: list[str] = []
        self.bare: list[str] = []  # columns outside as_date(...)

    def fail(self, what: str) -> StudyError:
        return StudyError(self.where, f"'{self.text}': {what}")

    def formula(self) -> Formula:
        if not isinstance(self.text, str) or not self.text.strip():
            raise StudyError(self.where, f"{self.text!r}: expected a formula such as 'y ~ x + (x | group)'")
        sides = split(self.text, "~", self.fail)
        if len(sides) != 2:
            raise self.fail("expected one '~' between response and predictors, as in 'y ~ x + (x | group)'")
        response = self.response(sides[0][1].strip())
        fixed_text, random_terms = self.parts(sides[1][1])
        fixed = self.side(fixed_text)
        if not fixed.intercept and not fixed.terms:
            raise self.fail("no fixed effect is left; keep the intercept or add a predictor")
        blocks, groups = [], []
        for term in random_terms:
            effects, group, independent = self.random(term)
            blocks += self.blocks(effects, independent)
            groups.append(group)
        if len(set(groups)) > 1:
            raise self.fail(
                f"grouping factors {', '.join(dict.fromkeys(groups))}: crossed and nested factors are not "
                "supported, only one grouping factor"
            )
        self.no_duplicates(blocks)
        predictors = [*fixed.columns, *(column for block in blocks for column in block.columns)]
        if groups[0] in predictors:
            raise self.fail(
                f"the grouping factor '{groups[0]}' is also a predictor, which would explain all that its groups "
                "differ in; drop one of the two, or copy it under another name where its numbers are a trend"
            )
        if "Intercept" in predictors:
            raise self.fail(
                "a predictor called 'Intercept' is not told from the intercept; expected another name"
            )
        for column in self.dates:
            if column in (*self.bare, groups[0]):
                raise self.fail(
                    f"'{column}' is a date in as_date(...) and stands without it elsewhere; "
                    "write as_date(...) everywhere"
                )
        for column in response.columns:
            if column in predictors or column == groups[0]:
                raise self.fail(
                    f"the response '{column}' is also on the right-hand side; expected it left only"
                )
        return Formula(
            text=" ".join(self.text.split()),
            response=response.terms[0],
            fixed=fixed.rhs,
            blocks=tuple(block.rhs for block in blocks),
            group=groups[0],
            variables=tuple(dict.fromkeys([*response.columns, *predictors, groups[0]])),
            predictors=tuple(dict.fromkeys(predictors)),
            categorical=tuple(dict.fromkeys(self.categorical)),
            stateful=tuple(dict.fromkeys(self.stateful)),
            dates=tuple(dict.fromkeys(self.dates)),
        )

    def parts(self, text: str) -> tuple[str, list[str]]:
        """The fixed part, and the random terms without their brackets."""
        fixed, random = [], []
        for sign, part in split(text, "+-", self.fail):
            part = part.strip()
            bare = strip(part)
            if not part:
                raise self.fail(f"nothing follows '{sign if fixed or random else '~'}'; expected a term")
            if len(split(bare, "|", self.fail)) > 1:
                if bare == part:
                    raise self.fail("random effects need brackets: write (x | group)")
                if sign == "-":
                    raise self.fail(f"({bare}) cannot be subtracted; leave it out")
                random.append(bare)
            elif "|" in unquoted(part):
                raise self.fail(f"'{part}': a random term stands alone, added with '+'")
            else:
                fixed.append(f"{sign} {part}")
        if not random:
            raise self.fail("no random effects; add a term such as (1 | group)")
        return " ".join(fixed).removeprefix("+ ") or "1", random

    def response(self, text: str) -> "_Side":
        if not text:
            raise self.fail("the response is missing left of '~'; expected a column")
        if "|" in unquoted(text):
            raise self.fail(REFUSED["weights"] + " (brms's 'y | ...' is not read)")
        try:
            side = self.side(f"0 + {text}")
        except StudyError as error:
            if "does not parse" not in error.what:
                raise
            side = None
        if side is None or side.intercept or len(side.terms) != 1 or len(side.columns) == 0:
            raise self.fail(
                f"response '{text}': expected one column or a function of it: np.log(y), I(y / 2)"
            )
        if self.categorical or self.stateful or ":" in side.terms[0]:
            raise self.fail(f"response '{text}': expected one number for each row, without C() or {{}}")
        return side

    def side(self, text: str) -> "_Side":
        """A right-hand side in formulaic's order."""
        if "%" in unquoted(text):  # formulaic reads b + b:a where R has a:b
            raise self.fail(f"'{text}': operators such as %in% are not read; write x:z for a %in% term")
        try:
            terms = list(Formulaic(readable(text)))
        except Exception:  # formulaic's own errors, and those of Python's parser, which pass through it
            raise self.fail(f"'{text}' does not parse; {EXPECTED}") from None
        intercept, names, columns = False, [], []
        for term in terms:
            if term.degree == 0:
                intercept = True
                continue
            pieces = [self.factor(factor) for factor in term.factors]
            names.append(":".join(piece for piece, _ in pieces))
            columns += [column for _, used in pieces for column in used]
        return _Side(intercept, tuple(names), tuple(dict.fromkeys(columns)))

    def factor(self, factor: Factor) -> tuple[str, list[str]]:
        """A factor as text that parses again, and the columns that it uses."""
        expr = factor.expr
        if factor.eval_method.value == "lookup":
            expr = expr.removesuffix(MARK)
            self.bare.append(expr)
            return named(expr), [expr]
        if factor.eval_method.value == "literal":
            raise self.fail(f"'{expr}': expected a column or a function of columns")
        names = names_in(expr, self.fail)
        if not names.columns:
            raise self.fail(f"'{expr}': expected a function of columns")
        self.categorical += names.categorical
        self.dates += names.dates
        self.bare += names.bare
        if names.stateful:
            self.stateful.append(expr)
        return (expr if names.call else f"{{{expr}}}"), names.columns

    def random(self, text: str) -> tuple[str, str, bool]:
        """`x || g` as its effects, its grouping factor and whether the effects are independent."""
        parts = [part.strip() for _, part in split(text, "|", self.fail)]
        independent = len(parts) == 3 and not parts[1]
        if len(parts) != 2 and not independent:
            raise self.fail(f"({text}): expected one '|' or '||'")
        effects, group = parts[0], strip(parts[-1])
        if not effects:
            raise self.fail(f"({text}): nothing stands left of '|'; write (1 | group)")
        if group.startswith("`") and group.endswith("`") and len(group) > 2:
            return effects, group[1:-1], independent
        if "/" in group:
            raise self.fail(f"({text}): nested factors are not supported, only one grouping factor")
        if any(sign in group for sign in ":*+"):
            raise self.fail(
                f"({text}): '{group}' combines factors, which is not supported; make one column of them"
            )
        if not group.replace(".", "_").isidentifier():  # as in R, a name may have dots
            expected = "expected the name of a column (in backticks if it holds other signs)"
            raise self.fail(f"({text}): grouping factor '{group}': {expected}")
        return effects, group, independent

    def blocks(self, effects: str, independent: bool) -> list["_Side"]:
        """The independent blocks of one random term."""
        side = self.side(effects)
        if not side.intercept and not side.terms:
            raise self.fail(f"({effects} | ...): no random effect is left; expected 1, a predictor or both")
        if not independent:
            return [side]
        # lme4's expandDoubleVerts: (f || g) of a categorical f is (1 | g) + (0 + f | g)
        intercept = [_Side(True, (), ())] if side.intercept else []
        return intercept + [self.side(f"0 + {term}") for term in side.terms]

    def no_duplicates(self, blocks: list["_Side"]) -> None:
        """Refuse a random effect that two terms would share: its variance could not be told apart."""
        seen = set()
        for block in blocks:
            for term in (("1",) if block.intercept else ()) + block.terms:
                if term in seen:
                    name = "intercept" if term == "1" else f"effect of '{term}'"
                    raise self.fail(
                        f"the random {name} appears twice; write (1 | g) + (0 + x | g) or (x || g) for "
                        "independent effects, (x | g) for correlated ones"
                    )
                seen.add(term)


@dataclass(frozen=True)
class _Side:
    """Right-hand side: terms as text that formulaic reads again, and their columns."""

    intercept: bool
    terms: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def rhs(self) -> str:
        return " + ".join(("1" if self.intercept else "0", *self.terms))


def together(formulas: Sequence[str]) -> Any:
    """One `Formula` with the random effects of all: from its moments each of them can be fitted.

    They differ in their random effects only, as the configuration makes sure.
    """
    parsed = [parse(text) for text in formulas]
    merged = {
        name: tuple(dict.fromkeys(item for formula in parsed for item in getattr(formula, name)))
        for name in ("blocks", "variables", "predictors", "categorical", "stateful", "dates")
    }
    return replace(parsed[0], **merged)

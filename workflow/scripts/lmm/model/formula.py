"""lme4 formulas, taken apart into what formulaic can read.

`y ~ x + (x | g) + (1 | h)` becomes a response, a fixed part and, for each grouping factor, the blocks of its random
effects. Bates, Mächler, Bolker & Walker 2015 (J. Stat. Softw. 67(1), table 2) is the grammar; what is not in it is
rejected with advice.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lmm.core.errors import StudyError
from lmm.model.parts import Factor, Formula, RandomTerm
from lmm.model.syntax import hide, named, names_in, plain_sum, shown, spaced, split, strip, unquoted

COLUMN = re.compile(r"\s*\(\s*(?P<name>`[^`]+`|[^\W\d][\w.]*)\s*\)\s*")  # (column)
EXPECTED = "expected columns by name ('.' is not supported) and functions of them, joined by +, -, * or :"


def parse(text: str, where: str = "formula") -> Formula:
    """Parse an lme4 formula.

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
        For anything that does not parse or that this version does not fit: several responses, the same random
        effect of a factor twice.
    """
    return _Parser(text, where).formula()


def regrouped(text: str, keys: Iterable[tuple[str, ...]], where: str = "formula") -> str:
    """A formula whose grouping factors are written as another one's, where they combine the same columns.

    `(1 | a/b)` is `(1 | b:a) + (1 | a)`, whose first factor is that of `(1 | a:b)` under another name.

    Parameters
    ----------
    text : str
        For example `y ~ x + (1 | a:b)`.
    keys : iterable of tuple of str
        The columns of the other formula's factors (`Formula.keys`).
    where : str
        Key path for the error message.

    Returns
    -------
    str
        The text as it is, where no factor's columns are in another order.

    Raises
    ------
    StudyError
        As of `parse`.
    """
    parse(text, where)
    return _Parser(text, where).regrouped({frozenset(columns): columns for columns in keys})


class _Parser:
    """One pass over a formula; holds the text and key path that every message needs."""

    def __init__(self, text: str, where: str):
        self.text, self.where = text, where
        self.hidden = hide(text) if isinstance(text, str) else text
        self.categorical: list[str] = []
        self.stateful: list[str] = []
        self.dates: list[str] = []
        self.bare: list[str] = []  # columns outside as_date(...)
        self.offsets: list[str] = []

    def fail(self, what: str) -> StudyError:
        return StudyError(self.where, f"'{self.text}': {shown(what)}")

    def formula(self) -> Formula:
        if not isinstance(self.text, str) or not self.text.strip():
            raise StudyError(self.where, f"{self.text!r}: expected a formula such as 'y ~ x + (x | group)'")
        sides = split(self.hidden, "~", self.fail)
        if len(sides) != 2:
            raise self.fail("expected one '~' between response and predictors, as in 'y ~ x + (x | group)'")
        left, weights = self.weights(sides[0][1].strip())
        response = self.response(left)
        fixed_text, random_terms = self.parts(sides[1][1])
        fixed = self.side(fixed_text)
        if not fixed.intercept and not fixed.terms:
            raise self.fail("no fixed effect is left; keep the intercept or add a predictor")
        by_factor: dict[tuple[str, ...], list[tuple[RandomTerm, _Side]]] = {}
        for text in random_terms:
            effects, groups, independent = self.random(text)
            term, side = self.term(effects, independent)
            for columns in groups:
                self.distinct(columns, by_factor)
                by_factor.setdefault(columns, []).append((term, side))
        for columns, found in by_factor.items():
            self.no_duplicates(":".join(columns), [side for _, side in found])
        predictors = [
            *fixed.columns,
            *(c for found in by_factor.values() for _, side in found for c in side.columns),
        ]
        for columns in by_factor:
            if len(columns) == 1 and columns[0] in predictors:
                raise self.fail(
                    f"the grouping factor '{columns[0]}' is also a predictor, which would explain all that its "
                    "groups differ in; drop one of the two, or copy it under another name where its numbers are a "
                    "trend"
                )
        keys = [column for columns in by_factor for column in columns]
        offsets, beside = tuple(dict.fromkeys(self.offsets)), (weights,) * bool(weights)
        if "Intercept" in predictors:
            raise self.fail(
                "a predictor called 'Intercept' is not told from the intercept; expected another name"
            )
        for column in self.dates:
            if column in (*self.bare, *keys, *beside, *offsets):
                raise self.fail(
                    f"'{column}' is a date in as_date(...) and stands without it elsewhere; "
                    "write as_date(...) everywhere"
                )
        for column in (*beside, *offsets):
            if column in keys or column in response.columns:
                raise self.fail(
                    f"'{column}' is also the response or a grouping factor; expected another column"
                )
        for column in response.columns:
            if column in predictors or column in keys:
                raise self.fail(
                    f"the response '{column}' is also on the right-hand side; expected it left only"
                )
        return Formula(
            text=spaced(self.text),
            response=response.terms[0],
            fixed=fixed.rhs,
            factors=tuple(
                Factor(columns, tuple(term for term, _ in found)) for columns, found in by_factor.items()
            ),
            variables=tuple(dict.fromkeys([*response.columns, *predictors, *keys, *beside, *offsets])),
            predictors=tuple(dict.fromkeys(predictors)),
            categorical=tuple(dict.fromkeys(self.categorical)),
            stateful=tuple(dict.fromkeys(self.stateful)),
            dates=tuple(dict.fromkeys(self.dates)),
            weights=weights,
            offsets=offsets,
        )

    def regrouped(self, known: Mapping[frozenset[str], tuple[str, ...]]) -> str:
        """See the function."""
        (_, left), (_, right) = split(self.hidden, "~", self.fail)
        changed = False
        for bare in self.parts(right)[1]:
            effects, groups, independent = self.random(bare)
            written = [known.get(frozenset(columns), columns) for columns in groups]
            if written != groups:
                bar, changed = "||" if independent else "|", True
                names = (":".join(named(name) for name in columns) for columns in written)
                right = right.replace(bare, ") + (".join(f"{effects} {bar} {name}" for name in names), 1)
        return shown(f"{left}~{right}") if changed else self.text

    def weights(self, text: str) -> tuple[str, str]:
        """The response's text, and the column in `| weights(column)` behind it; empty without."""
        parts = [part.strip() for _, part in split(text, "|", self.fail)]
        if len(parts) < 2:
            return text, ""
        found = COLUMN.fullmatch(parts[1].removeprefix("weights"))
        if len(parts) > 2 or not parts[1].startswith("weights") or found is None:
            raise self.fail(f"'{' | '.join(parts[1:])}': expected y | weights(column) left of '~'")
        return parts[0], found["name"].strip("`")

    def parts(self, text: str) -> tuple[str, list[str]]:
        """The fixed part, and the random terms without their brackets."""
        fixed: list[str] = []
        random: list[str] = []
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
            elif part.startswith("offset") and (found := COLUMN.fullmatch(part.removeprefix("offset"))):
                if sign == "-":
                    raise self.fail(
                        f"{part} cannot be subtracted; expected it added: its column with the other sign"
                    )
                self.offsets.append(found["name"].strip("`"))
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
        if self.categorical or self.stateful or ":" in unquoted(side.terms[0]):
            raise self.fail(f"response '{text}': expected one number for each row, without C() or {{}}")
        return side

    def side(self, text: str) -> "_Side":
        """A right-hand side in formulaic's order."""
        if "%" in unquoted(text):  # formulaic reads b + b:a where R has a:b
            raise self.fail(f"'{text}': operators such as %in% are not read; write x:z for a %in% term")
        plain = plain_sum(text if text[:1] in ("0", "1") else f"1 + {text}")
        if plain is not None:
            own = tuple(name for name in plain if name)
            self.bare += own
            return _Side("" in plain, own, own)
        from formulaic import Formula as Formulaic  # 0.4 seconds, which sums of columns need not wait

        try:
            terms = list(Formulaic(hide(text)))
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

    def factor(self, factor: Any) -> tuple[str, list[str]]:
        """A factor as text that parses again, and the columns that it uses."""
        expr = factor.expr
        if factor.eval_method.value == "lookup":
            name = shown(expr)
            self.bare.append(name)
            return named(name), [name]
        if factor.eval_method.value == "literal":
            raise self.fail(f"'{expr}': expected a column or a function of columns")
        names = names_in(expr, self.fail)
        if not names.columns:
            raise self.fail(f"'{expr}': expected a function of columns")
        self.categorical += names.categorical
        self.dates += names.dates
        self.bare += names.bare
        expr = shown(expr)
        if names.stateful:
            self.stateful.append(expr)
        return (expr if names.call else f"{{{expr}}}"), names.columns

    def random(self, text: str) -> tuple[str, list[tuple[str, ...]], bool]:
        """`x || g` as its effects, the columns of its grouping factors and whether the effects are independent."""
        parts = [part.strip() for _, part in split(text, "|", self.fail)]
        independent = len(parts) == 3 and not parts[1]
        if len(parts) != 2 and not independent:
            raise self.fail(f"({text}): expected one '|' or '||'")
        effects, group = parts[0], strip(parts[-1])
        if not effects:
            raise self.fail(f"({text}): nothing stands left of '|'; write (1 | group)")
        if not group:
            raise self.fail(f"({text}): nothing stands right of '|'; expected a grouping factor")
        if any(sign in unquoted(group) for sign in "*+"):
            names = [part.strip() for _, part in split(group, "*+", self.fail)]
            what = " + ".join(f"({effects} | {name})" for name in names if name)
            raise self.fail(f"({text}): '{group}' is no grouping factor; write {what}, or {':'.join(names)}")
        groups: list[tuple[str, ...]] = []
        outer: tuple[str, ...] = ()
        for _, piece in split(group, "/", self.fail):
            inner = tuple(self.column(text, name) for _, name in split(strip(piece), ":", self.fail))
            outer = (*inner, *outer)
            if len(set(outer)) < len(outer):
                twice = next(name for name in outer if outer.count(name) > 1)
                raise self.fail(f"({text}): '{twice}' is nested in itself; expected different factors")
            groups.insert(0, outer)
        return effects, groups, independent

    def column(self, text: str, name: str) -> str:
        """The column of a grouping factor."""
        name = name.strip()
        if name.startswith("`") and name.endswith("`") and len(name) > 2:
            return shown(name[1:-1])
        if not name.replace(".", "_").isidentifier():  # as in R, a name may have dots
            expected = "expected the name of a column (in backticks if it holds other signs)"
            raise self.fail(f"({text}): grouping factor '{name}': {expected}")
        return name

    def distinct(self, columns: tuple[str, ...], known: Iterable[tuple[str, ...]]) -> None:
        """Reject a combination of factors in two orders: both are the same factor."""
        for other in known:
            if other != columns and ":".join(other) == ":".join(columns):
                raise self.fail(
                    f"two grouping factors are called '{':'.join(columns)}'; expected no ':' in names of columns"
                )
            if other != columns and set(other) == set(columns):
                raise self.fail(
                    f"'{':'.join(columns)}' and '{':'.join(other)}' are the same grouping factor; expected one"
                )

    def term(self, effects: str, independent: bool) -> tuple[RandomTerm, "_Side"]:
        """One random term, and its right-hand side."""
        side = self.side(effects)
        if not side.intercept and not side.terms:
            raise self.fail(f"({effects} | ...): no random effect is left; expected 1, a predictor or both")
        blocks = [side.rhs]
        if independent:
            intercept = ["1"] if side.intercept else []
            blocks = intercept + [self.side(f"0 + {term}").rhs for term in side.terms]
        return RandomTerm(side.rhs, tuple(blocks), independent, side.columns), side

    def no_duplicates(self, group: str, sides: list["_Side"]) -> None:
        """Reject a random effect that two terms of a factor share: its variance could not be told apart."""
        seen = set()
        for side in sides:
            for term in (("1",) if side.intercept else ()) + side.terms:
                if term in seen:
                    name = "intercept" if term == "1" else f"effect of '{term}'"
                    raise self.fail(
                        f"the random {name} of '{group}' appears twice; write (1 | g) + (0 + x | g) or (x || g) for "
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


def unweighted(text: str) -> str:
    """The formula as lme4 writes it, in which the column of weights is another argument's."""
    return re.sub(r"\s*\|\s*weights\([^~]*~", " ~", text, count=1)


def together(formulas: Sequence[str]) -> Formula:
    """One `Formula` with the columns of all: from its moments each of them can be fitted.

    They have one response and one grouping factor, as the configuration makes sure. Fixed effects that differ from
    the first formula's stand among the blocks, so that each formula's columns are coded as it has them by itself.
    """
    parsed = [parse(text) for text in formulas]
    others = dict.fromkeys(formula.fixed for formula in parsed if formula.fixed != parsed[0].fixed)
    merged: dict[str, Any] = {
        name: tuple(dict.fromkeys(item for formula in parsed for item in getattr(formula, name)))
        for name in ("variables", "predictors", "categorical", "stateful", "dates")
    }
    factors: dict[tuple[str, ...], dict[RandomTerm, None]] = {}
    for formula in parsed:
        for factor in formula.factors:
            factors.setdefault(factor.columns, {}).update(dict.fromkeys(factor.terms))
    terms = [RandomTerm(rhs, (rhs,), False, ()) for rhs in others]
    first = parsed[0].factors[0].columns
    factors[first].update(dict.fromkeys(terms))
    whole = tuple(Factor(columns, tuple(own)) for columns, own in factors.items())
    return replace(parsed[0], factors=whole, **merged)

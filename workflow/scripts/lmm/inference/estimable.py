"""What makes a model's variance parameters impossible to estimate from given rows: one message, before any fit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lmm.core.errors import StudyError
from lmm.inference.identified import Information, information
from lmm.likelihood.several_places import check_size
from lmm.likelihood.whitened import columns_of, residual_square, rows_of
from lmm.model.design import Design
from lmm.model.sides import sides
from lmm.model.terms import INTERCEPT, Terms
from lmm.moments.moments import Moments
from lmm.moments.several import SeveralMoments, narrowed

# A response of whose variance groups and fixed effects leave no more than this share is determined by them. Where
# rows were read twice, values' rounding leaves 1e-32, and residual sd's of 1e-8 of the groups' keep their digits;
DETERMINED = 1e-17
# else sums of squares carry relative errors of about 1e-15.
DETERMINED_SUMS = 1e-14
# A column of which groups leave no more than this share of the square does not vary within them: rounding.
CONSTANT = 1e-11
# A factor's labels begin anew in another one's levels if so many of these have the first labels of all. Where all
# levels meet, as in a crossed experiment, labels say nothing but by being short: a, B, 12.
ANEW, SHORT = 0.9, 2
# Of fewer groups the variance between them is hardly determined.
FEW_GROUPS = 5


@dataclass(frozen=True)
class Term:
    """A random term of a formula.

    Attributes
    ----------
    effects, group : str
        What stands on both sides of the bar.
    blocks : tuple of tuples of str
        Names of Z's columns, a tuple for each independent block.
    """

    effects: str
    group: str
    blocks: tuple[tuple[str, ...], ...]

    @property
    def text(self) -> str:
        """As in a formula."""
        return f"({self.effects} {'|' if len(self.blocks) == 1 else '||'} {self.group})"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of Z's columns, block after block."""
        return tuple(name for block in self.blocks for name in block)


def check(moments: Moments | SeveralMoments, designs: Sequence[Design], where: str) -> None:
    """The rows can tell the variance parameters of every design apart.

    Parameters
    ----------
    moments : Moments or SeveralMoments
        Sufficient statistics of the rows.
    designs : sequence of Design
        Their fixed effects are not collinear.
    where : str
        The file, or the key, that a message begins with.

    Raises
    ------
    StudyError
        Random effects are too many for memory. Groups and fixed effects determine the response; or variance
        parameters cannot be told apart: it names the random terms, why, and what to write instead.
    """
    for design in designs:
        terms, groupings = random_terms(design), design.terms.groupings
        own = narrowed(moments, [grouping.group for grouping in groupings])
        if isinstance(own, SeveralMoments):
            check_size(own, [grouping.blocks for grouping in groupings])
        found = _information(moments, design.terms.fixed, terms)
        if found.lost:
            raise StudyError(where, _message(moments, design, terms, found))
        if len(design.terms.groupings) == 1:
            _determined(moments, design, where)


def _determined(moments: Moments | SeveralMoments, design: Design, where: str) -> None:
    """Groups and fixed effects leave something of the response, for one grouping factor."""
    fixed, group = design.terms.fixed, design.terms.group
    own = narrowed(moments, (group,))
    assert isinstance(own, Moments)
    own = own.within(fixed)
    columns = columns_of(own.basis, fixed, design.terms.blocks)
    tops, rest = rows_of(own, columns, sum(map(len, design.terms.blocks)))
    square, df = residual_square(own, columns, tops, rest)
    if df <= 0:
        return  # no row is left to tell by
    sd = float(np.sqrt(square / df)) * own.basis.y_scale
    least = DETERMINED_SUMS if own.factor is None else DETERMINED
    if sd**2 > least * own.y_sd**2:
        return
    by = " and ".join([f"the groups of {group!r}", *(name for name in fixed if name != INTERCEPT)])
    what = f"column {design.formula.response!r}: determined by {by}: what they leave has an sd of {sd:.1e}, "
    what += f"{sd / own.y_sd:.0e} of the response's, which is rounding"
    advice = (
        "expected a response that varies within groups; where rows repeat one measurement, keep one of them"
    )
    raise StudyError(where, f"{what}; {advice}")


def random_terms(design: Design) -> list[Term]:
    """The random terms of a design's formula, factor after factor."""
    formula, at, out = design.formula, 0, []
    split = [own for _, _, own in sides(formula, design.levels)]
    for factor, grouping in zip(formula.factors, design.terms.groupings, strict=True):
        blocks = list(grouping.blocks)
        for term in factor.terms:
            count = 1 if split[at] else len(term.blocks)
            width = len(design.names[at + 1]) if split[at] else count
            own, blocks, at = blocks[:width], blocks[width:], at + count
            out.append(Term(term.rhs.removeprefix("1 + "), factor.group, tuple(own)))
    return out


def _factors(terms: Sequence[Term]) -> dict[str, list[Term]]:
    """Terms by grouping factor."""
    found: dict[str, list[Term]] = {}
    for term in terms:
        found.setdefault(term.group, []).append(term)
    return found


def _information(
    moments: Moments | SeveralMoments, fixed: tuple[str, ...], terms: Sequence[Term]
) -> Information:
    factors = _factors(terms)
    blocks = [[block for term in own for block in term.blocks] for own in factors.values()]
    return information(narrowed(moments, tuple(factors)), fixed, blocks)


def _lost(terms: Sequence[Term], found: Information) -> list[Term]:
    """The terms of blocks that cannot be told apart."""
    places = [
        (k, term) for k, own in enumerate(_factors(terms).values()) for term in own for _ in term.blocks
    ]
    counts = [sum(1 for k, _ in places[:at] if k == places[at][0]) for at in range(len(places))]
    owner = {(k, count): term for (k, term), count in zip(places, counts, strict=True)}
    return list(dict.fromkeys(owner[place] for place in found.lost))


def _message(moments: Moments | SeveralMoments, design: Design, terms: list[Term], found: Information) -> str:
    """Which terms, why, and the smallest change of the formula that helps."""
    lost, fixed = _lost(terms, found), design.terms.fixed
    residual = " and the residual variance" if found.residual_lost else ""
    what = (
        f"formula '{design.formula.text}': {' + '.join(term.text for term in lost)}: the variances{residual} "
    )
    what += f"cannot be told apart: {_reason(moments, lost)}"
    for other in _simpler(terms, lost):
        if not _information(moments, fixed, other).lost:
            return f"{what}; expected {' + '.join(term.text for term in other)}"
    return f"{what}; expected fewer random effects, or groups of several rows that the fixed effects do not determine"


def _reason(moments: Moments | SeveralMoments, lost: Sequence[Term]) -> str:
    """Why terms cannot be told apart."""
    for term in lost:
        own, group = narrowed(moments, (term.group,)), term.group
        assert isinstance(own, Moments)
        most = int(own.n.max())
        if still := constant_within(own, term.columns):
            return f"{', '.join(still)} {'does' if len(still) == 1 else 'do'} not vary within groups of {group!r}"
        if most == 1:
            return f"each row is a group of {group!r} by itself"
        if len(term.columns) >= most > 1:
            return f"there are {len(term.columns)} random effects for at most {most} rows in a group of {group!r}"
    if len(lost) > 1:
        return "their effects are combinations of one another"
    if len(lost[0].columns) == 1:
        return f"the fixed effects take up all that groups of {lost[0].group!r} differ by"
    return "other values of them give the same covariance of the rows"


def constant_within(moments: Moments, names: Sequence[str]) -> list[str]:
    """Columns that vary between groups only.

    Parameters
    ----------
    moments : Moments
        By the groups in question.
    names : sequence of str
        Columns of random effects.

    Returns
    -------
    list of str
    """
    found = []
    for name in names:
        if name == INTERCEPT:
            continue
        k = moments.basis.columns.index(name) + 1
        square = moments.gram[:, k, k]
        within = square - moments.gram[:, 0, k] ** 2 / moments.gram[:, 0, 0]
        if np.maximum(within, 0.0).sum() <= CONSTANT * square.sum():
            found.append(name)
    return found


def _simpler(terms: list[Term], lost: Sequence[Term]) -> Iterator[list[Term]]:
    """Simpler random parts, the nearest first: one of the terms changed, or left out."""
    for term in lost:
        at = terms.index(term)
        before, after = terms[:at], terms[at + 1 :]
        others = [own for own in before + after if own.group == term.group]
        if len(term.columns) == 1:
            continue
        if not any(INTERCEPT in own.columns for own in others):
            yield [*before, Term("1", term.group, ((INTERCEPT,),)), *after]
        if len(term.blocks) == 1:
            yield [*before, replace(term, blocks=tuple((name,) for name in term.columns)), *after]
    if len(terms) > 1:
        for term in sorted(lost, key=lambda own: len(own.columns)):
            yield [own for own in terms if own is not term]


def remarks(moments: Moments | SeveralMoments, terms: Terms) -> list[str]:
    """What a reader of a fit should know of its groups, although the model can be fitted.

    Parameters
    ----------
    moments : Moments or SeveralMoments
        Sufficient statistics of the rows.
    terms : Terms
        Of the model.

    Returns
    -------
    list of str

    References
    ----------
    Bolker et al., GLMM FAQ, "Should I treat factor xxx as fixed or random?"; Gelman & Hill 2007, section 11.5.
    """
    said = []
    for grouping in terms.groupings:
        own, group = narrowed(moments, (grouping.group,)), grouping.group
        assert isinstance(own, Moments)
        if own.n_groups < FEW_GROUPS:
            said.append(
                f"{own.n_groups} groups of {group!r}, fewer than {FEW_GROUPS}: the data hardly determine a variance "
                "between so few groups. Its estimate is imprecise and often 0, a posterior depends on its prior, and "
                f"intervals are unreliable; consider {group} as a fixed effect"
            )
        if names := constant_within(own, grouping.random):
            said.append(
                f"{', '.join(names)}: constant within groups of {group!r}. A random effect of it is no slope: it "
                f"says how the variance between groups changes with it; (1 | {group}) is what is usually meant"
            )
    own = narrowed(moments, [grouping.group for grouping in terms.groupings])
    return [*said, *_repeated(own), *_unconnected(own)] if isinstance(own, SeveralMoments) else said


def _repeated(moments: SeveralMoments) -> list[str]:
    """Factors whose labels begin anew in each level of another one, and may be other units there."""
    said = []
    for (k, m), cells in moments.cells.items():
        for inner, outer, label, place in ((k, m, cells.i, cells.j), (m, k, cells.j, cells.i)):
            own, other = moments.factors[inner], moments.factors[outer]
            if ":" in own.group + other.group or own.n_groups >= other.n_groups:
                continue  # a combination is nested as it stands
            count = np.bincount(place, minlength=other.n_groups)
            last = np.zeros(other.n_groups, dtype=np.int64)
            np.maximum.at(last, place, label)
            complete = len(cells.i) == own.n_groups * other.n_groups
            if np.mean(last + 1 == count) < ANEW or (complete and max(map(len, own.levels)) > SHORT):
                continue
            said.append(
                f"{own.group} has {own.n_groups} labels in {other.n_groups} levels of {other.group}: is it (1 | "
                f"{other.group}/{own.group})? Rows with the same label of {own.group} are taken as the same unit"
            )
    return said


def _unconnected(moments: SeveralMoments) -> list[str]:
    """Crossed factors whose levels fall into sets that no row connects; nested ones do by their design."""
    factors = range(len(moments.factors))
    nested = set()  # (inner, outer): every level of the inner factor meets one level of the outer one
    for (k, m), cells in moments.cells.items():
        for inner, outer in ((k, m), (m, k)):
            if len(cells.i) == moments.factors[inner].n_groups:
                nested.add((inner, outer))
    said = []
    for (k, m), cells in moments.cells.items():
        within = any((k, outer) in nested and (m, outer) in nested for outer in factors)
        if within or (k, m) in nested or (m, k) in nested:
            continue
        first, second = moments.factors[k], moments.factors[m]
        size = first.n_groups + second.n_groups
        met = coo_array((np.ones(len(cells.i)), (cells.i, first.n_groups + cells.j)), shape=(size, size))
        count, _ = connected_components(met, directed=False)
        if count > 1:
            said.append(
                f"the levels of {first.group} and {second.group} fall into {count} sets that no row connects: "
                "comparisons of levels in different sets rest on the distribution that the model gives the random "
                "effects, not on rows that share a level"
            )
    return said

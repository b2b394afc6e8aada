"""The cheapest design that reaches a target: replicates where a monotone fit needs them, until it is well known.

Designs are first doubled from the smallest until the target is passed. Then the measure is fitted (`curve`), more
replicates are drawn at the cheapest design that reaches the target by this fit and on both sides of it, and so on,
until the interval of the answer is no wider than the tolerance or the replicates are used up (the idea of
stochastic root finding: Chalmers 2024, SimDesign's SimSolve; Zimmer & Debelak 2023, mlpwr).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lmm.core.errors import StudyError
from lmm.recovery.curve import Curve, fit, reached, rises

FIRST = 250  # replicates of a design while designs are doubled
LEAST = 2000  # replicates of a search at least
BATCH = 500  # replicates of a round at least; later ones are a half of all before
BESIDE = 0.15  # designs on both sides of the answer: relative distance
SECOND_BESIDE = 0.4  # the same of the second dimension, where both vary
ENOUGH = 2000  # replicates of the best design where the target cannot be reached

Design = tuple[int, int]


@dataclass(frozen=True)
class Measured:
    """Replicates of a design so far.

    Attributes
    ----------
    estimate, mcse : float
        The measure.
    n : int
        Replicates that it uses.
    replicates, failed, singular : int
        All of them, and how fits ended.
    key : str
        The design's.
    """

    estimate: float
    mcse: float
    n: int
    replicates: int
    failed: int = 0
    singular: int = 0
    key: str = ""


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes
    ----------
    designs : (k, 2) int array
        The two numbers of every design: groups and rows per group, or what else varies.
    cost : (k,) array
    vary : tuple of bool
        Which of the two numbers vary.
    ratios : int
        How many ratios of variances the curve has: see `curve`.
    """

    designs: np.ndarray
    cost: np.ndarray
    vary: tuple[bool, bool]
    ratios: int

    @classmethod
    def between(
        cls, first: Design, second: Design, cost: Callable | None = None, ratios: int | None = None
    ) -> "Space":
        """All designs between bounds (which may be the same number, of what does not vary).

        Parameters
        ----------
        first, second : (low, high)
            Bounds of the two numbers.
        cost : callable, optional
            Of arrays of both; their product where there is none.
        ratios : int, optional
            As the attribute; by default one where the second number varies.
        """
        n, m = (np.arange(low, high + 1) for low, high in (first, second))
        at = np.stack([np.repeat(n, len(m)), np.tile(m, len(n))], axis=1)
        worth = (cost or (lambda a, b: a * b))(at[:, 0].astype(float), at[:, 1].astype(float))
        vary = len(n) > 1, len(m) > 1
        return cls(
            at,
            np.broadcast_to(worth, len(at)).astype(float),
            vary,
            int(vary[1]) if ratios is None else ratios,
        )

    def ends(self, dimension: int) -> Design:
        """Smallest and largest value of a dimension."""
        return int(self.designs[:, dimension].min()), int(self.designs[:, dimension].max())

    @property
    def first(self) -> int:
        """The dimension of the interval: the first that varies."""
        return 0 if self.vary[0] else 1

    def along(self, best: int) -> np.ndarray:
        """Designs that differ from one in the first dimension only, smallest first."""
        return np.flatnonzero(self.designs[:, 1 - self.first] == self.designs[best, 1 - self.first])


@dataclass
class Found:
    """A search's answer.

    Attributes
    ----------
    status : str
        reached; smallest (already the smallest design reaches the target); not reached.
    best : (int, int)
        The cheapest design that reaches the target by the fit; else the one with the best value.
    low, high : int or None
        The answer's interval, in its first dimension; None: beyond the bounds.
    curve : Curve
    designs : dict of design to Measured
        In the order of their first replicates.
    exact : bool
        Whether the interval is as narrow as asked for.
    """

    status: str
    best: Design
    low: int | None
    high: int | None
    curve: Curve
    designs: dict[Design, Measured] = field(default_factory=dict)
    exact: bool = True

    @property
    def replicates(self) -> int:
        """All replicates of the search."""
        return sum(own.replicates for own in self.designs.values())


def search(
    space: Space, evaluate: Callable[[Design, int], Measured], measure: str, target: float,
    tolerance: int = 1, at_most: int = 40_000, known: Sequence[tuple[Design, int]] = (),
) -> Found:  # fmt: skip
    """The cheapest design that reaches a target.

    Parameters
    ----------
    space : Space
        The designs and what they cost.
    evaluate : callable
        A design and a number of replicates to add to those that it has -> all of them.
    measure : str
        power, coverage, rmse or interval_width.
    target : float
        What the measure is to reach.
    tolerance : int
        Half-width of the interval that ends the search.
    at_most : int
        Replicates that end it.
    known : sequence of (design, replicates)
        Designs to look at whatever the answer is.

    Returns
    -------
    Found
        The same whatever else the machine does: what is drawn depends on what was found alone.
    """
    designs: dict[Design, Measured] = {}

    def more(at: Design, count: int) -> Measured:
        designs[at] = evaluate(at, count)
        return designs[at]

    for at, count in known:
        more(at, count)
    for at in _starts(space):
        while not _passed(more(at, FIRST), measure, target) and at != (at := _doubled(space, at)):
            pass
    best: int | None = None
    while True:
        curve, best = _fitted(space, designs, measure, target, best)
        found = _answer(space, curve, best, measure, target, designs)
        drawn = found.replicates
        ahead = found.low if found.low is not None else found.high
        number = found.best[space.first]
        inside = found.low is not None and found.high is not None
        found.exact = inside and max(number - found.low, found.high - number) <= tolerance
        hopeless = found.status == "not reached" and ahead is None
        settled = hopeless and found.best in designs and designs[found.best].replicates >= ENOUGH
        if drawn >= at_most or (drawn >= LEAST and (found.exact or settled)):
            return found
        chosen = [found.best] if hopeless else _beside(space, curve, best, measure, target)
        batch = min(max(BATCH, drawn // 2), at_most - drawn)
        for at in chosen:
            more(at, max(batch // len(chosen), 1))


def _starts(space: Space) -> list[Design]:
    """The smallest design; where both dimensions vary, at three sizes of the second."""
    low, high = space.ends(1)
    rows = [low]
    if all(space.vary):
        rows = list(dict.fromkeys([low, round(np.sqrt(low * high)), high]))
    return [(space.ends(0)[0], m) for m in rows]


def _doubled(space: Space, at: Design) -> Design:
    """Twice as large a design in the first dimension, the bound at most."""
    most = space.ends(space.first)[1]
    return (min(2 * at[0], most), at[1]) if space.first == 0 else (at[0], min(2 * at[1], most))


def _passed(found: Measured, measure: str, target: float) -> bool:
    """Whether a design is beyond the target; one that cannot be fitted is not."""
    return bool(np.isfinite(found.estimate)) and bool(reached(measure, np.array(found.estimate), target))


def _fitted(space, designs, measure, target, best) -> tuple[Curve, int]:
    at = np.array(list(designs))
    estimate, mcse = (
        np.array([getattr(own, name) for own in designs.values()]) for name in ("estimate", "mcse")
    )
    n = np.array([own.n for own in designs.values()])
    if not np.isfinite(estimate).any():
        what = f"no replicate of {len(designs)} designs gives a {measure}; expected larger bounds or a simpler model"
        raise StudyError("search", what)
    if best is None:
        best = cheapest(space, fit(measure, at, estimate, mcse, n, space.ratios), measure, target)
    curve = fit(measure, at, estimate, mcse, n, space.ratios, space.designs[best])
    return curve, cheapest(space, curve, measure, target)


def cheapest(space: Space, curve: Curve, measure: str, target: float) -> int:
    """The cheapest design that reaches the target by the fit, the better of two; else the one that gets nearest."""
    value = curve.value(space.designs)[0]
    better = -value if rises(measure) else value
    there = np.flatnonzero(reached(measure, value, target))
    if not len(there):
        return int(np.lexsort((space.cost, better))[0])
    return int(there[np.lexsort((better[there], space.cost[there]))[0]])


def _answer(space, curve, best, measure, target, designs) -> Found:
    """The answer with its interval: where the band's ends reach the target, in the first dimension."""
    line = space.along(best)
    value, *band = curve.value(space.designs[line])
    if not rises(measure):
        band.reverse()
    ends: list[int | None] = []
    for bound in reversed(band):  # the hopeful end of the band reaches the target first
        there = np.flatnonzero(reached(measure, bound, target))
        ends.append(int(space.designs[line[there[0]], space.first]) if len(there) else None)
    own = int(np.flatnonzero(line == best)[0])
    status = "reached" if reached(measure, value[own : own + 1], target)[0] else "not reached"
    if status == "reached" and best == int(np.argmin(space.cost)):
        status = "smallest"
    n, m = space.designs[best].tolist()
    return Found(status, (n, m), *ends, curve, designs)


def _beside(space: Space, curve: Curve, best: int, measure: str, target: float) -> list[Design]:
    """The answer and designs on both sides of it; where both dimensions vary also others that reach the target."""
    chosen = [
        _moved(space, space.designs[best], space.first, share) for share in (1.0, 1 - BESIDE, 1 + BESIDE)
    ]
    if all(space.vary):
        value = curve.value(space.designs)[0]
        for share in (1 - SECOND_BESIDE, 1 + SECOND_BESIDE):
            rows = _moved(space, space.designs[best], 1, share)[1]
            line = np.flatnonzero(space.designs[:, 1] == rows)
            there = line[reached(measure, value[line], target)]
            chosen.append((int(space.designs[there[0] if len(there) else line[-1], 0]), rows))
    return list(dict.fromkeys(chosen))


def _moved(space: Space, at: np.ndarray, dimension: int, share: float) -> Design:
    """A design with one dimension changed by a share, by 1 at least, within the bounds."""
    low, high = space.ends(dimension)
    own = int(at[dimension])
    step = max(round(abs(share - 1) * own), 1) * int(np.sign(share - 1))
    moved = [int(at[0]), int(at[1])]
    moved[dimension] = min(max(own + step, low), high)
    return moved[0], moved[1]

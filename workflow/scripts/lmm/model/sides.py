"""The right-hand sides that a formula's random effects are made of."""

from collections.abc import Mapping

from lmm.model.parts import Formula


def sides(formula: Formula, levels: Mapping[str, list]) -> list[tuple[int, str, bool]]:
    """Factor, right-hand side and whether each column is a block of its own, for all random effects.

    lme4 makes of (f || g) with a categorical f the blocks (1 | g) and (0 + f | g), whose intercept cannot be told
    from f's effects. Here each column of (f | g) is a block.
    """
    out = []
    for at, factor in enumerate(formula.factors):
        for term in factor.terms:
            if term.independent and any(name in levels for name in term.columns):
                out.append((at, term.rhs, True))
            else:
                out += [(at, block, False) for block in term.blocks]
    return out

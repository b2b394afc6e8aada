"""What types and bounds cannot say of a simulation: whether it can be done. Before any job."""

from collections.abc import Sequence

import numpy as np

from lmm.config.base import nearest
from lmm.config.simulation import Simulation, Sizes
from lmm.core.errors import StudyError
from lmm.core.tidy import corr_key
from lmm.model.design import Terms, numeric_design
from lmm.model.formula import Formula


def check_simulation(simulation: Simulation, formula: Formula, where: str) -> None:
    """Refuse designs that cannot be simulated."""
    if not formula.response.isidentifier() and formula.response.strip("`") not in formula.variables:
        raise StudyError(
            "formula", f"response '{formula.response}': expected a plain column in simulated data"
        )
    for kind, names in (
        ("categorical", formula.categorical), ("stateful", formula.stateful), ("a date", formula.dates),
    ):  # fmt: skip
        if names:
            raise StudyError(
                "formula",
                f"'{names[0]}' is {kind}; expected plain columns, since simulated predictors are numbers as they are",
            )
    terms = numeric_design(formula).terms
    same_names(simulation.fixed, terms.fixed, f"{where}.fixed")
    same_names(simulation.sd, terms.random, f"{where}.sd")
    for name in simulation.predictors:
        if name not in formula.predictors:
            raise StudyError(
                f"{where}.predictors.{name}",
                not_among(name, formula.predictors, "a predictor of the formula"),
            )
    correlations(simulation, terms, where)
    _check_rows(simulation, len(terms.fixed), where)
    if simulation.generator == "r":
        _check_generator_r(simulation, formula, terms, where)


def correlations(simulation: Simulation, terms: Terms, where: str = "simulate") -> tuple[np.ndarray, ...]:
    """Correlation matrix of each block of random effects.

    Raises
    ------
    StudyError
        For a correlation that the formula has no place for, or a matrix that is not positive semi-definite.
    """
    where = f"{where}.corr"
    matrices = [np.eye(len(block)) for block in terms.blocks]
    given = simulation.corr
    if given is None:
        return tuple(matrices)
    if len(terms.random) < 2:
        raise StudyError(
            where, f"{given}: there is one random effect ({terms.random[0]}); expected no correlation"
        )
    if not isinstance(given, dict):
        if len(terms.random) > 2:
            example = f'{{"{terms.random[0]}.{terms.random[1]}": {given:g}}}'
            raise StudyError(
                where, f"{given:g}: there are several pairs; expected a mapping such as {example}"
            )
        given = {corr_key(*terms.random): given}
    pairs = {}
    for i, first in enumerate(terms.random):
        for second in terms.random[i + 1 :]:
            pairs[corr_key(first, second)] = pairs[corr_key(second, first)] = (first, second)
    for name, value in given.items():
        if name not in pairs:
            raise StudyError(f"{where}.{name}", not_among(name, list(pairs)[::2], "a pair of random effects"))
        first, second = pairs[name]
        block = next((k for k, names in enumerate(terms.blocks) if first in names and second in names), None)
        if block is not None:
            i, j = terms.blocks[block].index(first), terms.blocks[block].index(second)
            matrices[block][i, j] = matrices[block][j, i] = value
        elif value != 0:
            raise StudyError(
                where,
                f"{value:g}: the formula makes '{first}' and '{second}' independent; "
                f"expected 0, or (... | {terms.group})",
            )
    for names, matrix in zip(terms.blocks, matrices, strict=True):
        smallest = np.linalg.eigvalsh(matrix)[0]
        # rounding of correlations that are exactly +-1 leaves about 1e-16
        if smallest < -1e-12:
            raise StudyError(
                where,
                f"{simulation.corr}: not positive semi-definite (smallest eigenvalue {smallest:.3g}) "
                f"for {', '.join(names)}; expected correlations that can hold together",
            )
    return tuple(matrices)


def _check_rows(simulation: Simulation, fixed: int, where: str) -> None:
    groups, each = simulation.n_groups, simulation.group_rows
    if simulation.rows is not None and groups > simulation.rows:
        raise StudyError(
            f"{where}.groups",
            f"{groups} groups are more than {simulation.rows} rows allow; expected at least one row per group",
        )
    if isinstance(each, Sizes) and len(each.sizes) > groups:
        raise StudyError(
            f"{where}.rows_per_group.sizes",
            f"{len(each.sizes)} sizes for {groups} groups; expected at most {groups}",
        )
    if each == 1 or (isinstance(each, Sizes) and set(each.sizes) == {1}):
        raise StudyError(
            f"{where}.rows_per_group",
            "1 row in every group: group and residual variance cannot be told apart; expected more",
        )
    most = simulation.rows
    if isinstance(each, int):
        most = groups * each
    elif isinstance(each, Sizes):
        most = sum(each.sizes[j % len(each.sizes)] for j in range(min(groups, fixed + 1)))
    if most is not None and most <= fixed:
        raise StudyError(
            where, f"{most} rows for {fixed} fixed effects; expected more rows than fixed effects"
        )


def _check_generator_r(simulation: Simulation, formula: Formula, terms: Terms, where: str) -> None:
    """The order of R's draws is defined for the post's design only."""
    two = terms.fixed == terms.random and len(terms.fixed) == 2 and terms.fixed[0] == "Intercept"
    if not two or len(formula.predictors) != 1 or terms.fixed[1] != formula.predictors[0]:
        raise StudyError(
            f"{where}.generator",
            f"'r' draws y ~ x + (x | group) with one predictor; expected numpy for '{formula.text}'",
        )
    if simulation.rows is None:
        raise StudyError(
            f"{where}.rows", "is missing; expected a number, since generator 'r' spreads rows at random"
        )
    if np.any(np.concatenate([np.tril(m, -1).ravel() for m in correlations(simulation, terms, where)])):
        raise StudyError(
            f"{where}.corr",
            f"{simulation.corr}: generator 'r' draws independent effects; expected 0, or numpy",
        )
    normal = Simulation()
    drawn = [("random_effects", simulation.random_effects), ("errors", simulation.errors)]
    if any(getattr(normal, name) != shape for name, shape in drawn):
        raise StudyError(
            f"{where}.generator", "'r' draws normal effects and errors; expected numpy for others"
        )
    predictor = simulation.predictors.get(formula.predictors[0])
    if predictor is not None and (predictor.distribution != "normal" or predictor.between):
        raise StudyError(
            f"{where}.generator", "'r' draws a normal predictor for each row; expected numpy for others"
        )


def same_names(given: dict, terms: Sequence[str], where: str) -> None:
    """A mapping that is given must name exactly the terms."""
    if not given:
        return
    for name in given:
        if name not in terms:
            raise StudyError(f"{where}.{name}", not_among(name, terms, "a term of the formula"))
    for name in terms:
        if name not in given:
            raise StudyError(f"{where}.{name}", f"is missing; expected exactly {', '.join(terms)}")


def not_among(name: str, known: Sequence[str], what: str) -> str:
    """A message about a name that is not among those known, with the nearest of them."""
    return f"not {what}; {nearest(name, list(known))}"

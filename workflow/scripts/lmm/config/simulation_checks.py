"""What types and bounds cannot say of a simulation: whether it can be done. Before any job."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lmm.config.base import nearest
from lmm.config.simulation import Nested, Predictor, Simulation, Sizes
from lmm.core.errors import StudyError
from lmm.core.tidy import corr_key
from lmm.model.design import Terms, numeric_design
from lmm.model.parts import Formula

# Predictors of any design.
OTHERS = "normal, uniform or binary"
# Of one simulated data set with several grouping factors: they are in memory at once, some 100 bytes each.
MOST_ROWS = 50_000_000


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
    for name in simulation.predictors:
        if name not in formula.predictors:
            raise StudyError(
                f"{where}.predictors.{name}",
                not_among(name, formula.predictors, "a predictor of the formula"),
            )
    if terms.several:
        _check_several(simulation, formula, terms, where)
        return
    if isinstance(simulation.groups, dict):
        what = f"{simulation.groups}: is for several grouping factors; expected a number of groups of {terms.group}"
        raise StudyError(f"{where}.groups", what)
    for name, how in simulation.predictors.items():
        at = f"{where}.predictors.{name}"
        if isinstance(how.between, str):
            what = f"between: {how.between}: a column is named where there are several grouping factors"
            raise StudyError(at, f"{what}; expected true or false")
        if how.distribution == "latin_square":
            raise StudyError(at, f"'latin_square': is for crossed grouping factors; expected {OTHERS}")
    same_names(simulation.sd, terms.random, f"{where}.sd")
    _numbers(simulation.sd, f"{where}.sd")
    correlations(simulation, terms, f"{where}.corr")
    _check_rows(simulation, len(terms.fixed), where)
    if simulation.generator == "r":
        _check_generator_r(simulation, formula, terms, where)


def correlations(
    simulation: Simulation, terms: Terms, where: str = "simulate.corr"
) -> tuple[np.ndarray, ...]:
    """Correlation matrix of each block of random effects.

    Raises
    ------
    StudyError
        For a correlation that the formula has no place for, or a matrix that is not positive semi-definite.
    """
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
    _numbers(given, where)
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


def _numbers(given: Mapping[str, Any], where: str) -> None:
    """Refuse a mapping where there is one grouping factor, or within one of several."""
    for name, value in given.items():
        if isinstance(value, Mapping):
            what = f"{dict(value)}: a mapping by grouping factor is for several of them; expected a number"
            raise StudyError(f"{where}.{name}", what)


def _check_several(simulation: Simulation, formula: Formula, terms: Terms, where: str) -> None:
    """Refuse designs of several grouping factors that cannot be simulated."""
    columns = list(dict.fromkeys(name for key in formula.keys for name in key))
    groups = [grouping.group for grouping in terms.groupings]
    if not isinstance(simulation.groups, dict):
        met = "is missing" if simulation.groups is None else f"{simulation.groups}"
        example = ", ".join(f"{name}: 20" for name in columns)
        raise StudyError(f"{where}.groups", f"{met}; expected levels by column, such as {{{example}}}")
    if simulation.generator == "r":
        raise StudyError(f"{where}.generator", "'r' draws one grouping factor; expected numpy")
    same_names(simulation.groups, columns, f"{where}.groups", "a column of a grouping factor")
    for name, how in simulation.groups.items():
        if isinstance(how, Nested) and (how.per not in columns or how.per == name):
            others = [column for column in columns if column != name]
            met = f"'{how.per}' is {not_among(how.per, others, 'another column')}"
            raise StudyError(f"{where}.groups.{name}.per", met)
    if lost := [name for name in columns if name not in simulation.levels]:
        what = f"{', '.join(lost)} are nested in each other; expected one with a number of its own"
        raise StudyError(f"{where}.groups", what)
    for name in formula.predictors:
        how = simulation.predictors.get(name, Predictor())
        at = f"{where}.predictors.{name}"
        if how.distribution == "sequence":
            raise StudyError(at, f"'sequence': runs within one grouping factor; expected {OTHERS}")
        if (
            how.distribution == "latin_square"
            and sum(isinstance(n, int) for n in simulation.groups.values()) < 2
        ):
            raise StudyError(at, f"'latin_square': no two grouping factors are crossed; expected {OTHERS}")
        if how.between is not False and how.between not in columns:
            met = "true" if how.between is True else how.between
            what = f"'{met}' is {not_among(met, columns, 'a column of a grouping factor')}"
            raise StudyError(f"{at}.between", what)
    by_factor = [("sd", simulation.sd), ("corr", {} if simulation.corr is None else simulation.corr)]
    for key, given in by_factor:
        if not isinstance(given, dict):
            example = ", ".join(f"{name}: {given:g}" for name in groups)
            raise StudyError(
                f"{where}.{key}", f"{given:g}: expected a mapping by factor, such as {{{example}}}"
            )
        for group in given:
            if group not in groups:
                raise StudyError(f"{where}.{key}.{group}", not_among(group, groups, "a grouping factor"))
    for grouping in terms.groupings:
        group = grouping.group
        sd = simulation.sd.get(group, {} if not simulation.sd else None)
        if not isinstance(sd, dict):
            met = "is missing" if sd is None else f"{sd:g}"
            example = ", ".join(f"{name}: 1" for name in grouping.random)
            raise StudyError(f"{where}.sd.{group}", f"{met}; expected {{{example}}}")
        same_names(sd, grouping.random, f"{where}.sd.{group}")
        correlations(simulation.of_factor(group), terms.of(grouping), f"{where}.corr.{group}")
    _check_cells(simulation, terms, where)


def _check_cells(simulation: Simulation, terms: Terms, where: str) -> None:
    """Refuse rows that are too few for the levels, or too many for memory."""
    rows, levels = simulation.n_rows, simulation.levels
    if rows > MOST_ROWS:
        what = f"{rows:,} rows in memory; expected at most {MOST_ROWS:,}: fewer levels, or `rows` at random pairs"
        raise StudyError(where, what)
    for name, count in levels.items():
        if count >= rows:
            what = f"{count} levels for {rows} rows; expected fewer, or more rows: with single rows, their effects "
            raise StudyError(f"{where}.groups.{name}", f"{what}cannot be told from residuals")
    if rows <= len(terms.fixed):
        raise StudyError(
            where, f"{rows} rows for {len(terms.fixed)} fixed effects; expected more rows than fixed effects"
        )


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
    if np.any(
        np.concatenate([np.tril(m, -1).ravel() for m in correlations(simulation, terms, f"{where}.corr")])
    ):
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


def same_names(
    given: Mapping[str, Any], terms: Sequence[str], where: str, what: str = "a term of the formula"
) -> None:
    """A mapping that is given must name exactly the terms."""
    if not given:
        return
    for name in given:
        if name not in terms:
            raise StudyError(f"{where}.{name}", not_among(name, terms, what))
    for name in terms:
        if name not in given:
            raise StudyError(f"{where}.{name}", f"is missing; expected exactly {', '.join(terms)}")


def not_among(name: str, known: Sequence[str], what: str) -> str:
    """A message about a name that is not among those known, with the nearest of them."""
    return f"not {what}; {nearest(name, list(known))}"

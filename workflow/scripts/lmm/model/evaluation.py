"""What formulaic evaluates of a formula: specifications of its parts, their columns and their transform states."""

import ast
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from formulaic import Formula as Formulaic
from formulaic import ModelSpec
from formulaic.errors import FormulaicError
from formulaic.transforms import TRANSFORMS

from lmm.core.errors import StudyError
from lmm.model.parts import Formula
from lmm.model.sides import sides
from lmm.model.syntax import SHADOW, evaluable, hide, hide_name, labels, original, shown

FUNCTIONS = {
    **TRANSFORMS,
    "np": np,
    "as_date": lambda days: days,
}  # dates are numbers of days when they are read
CONTEXT = FUNCTIONS | {name + SHADOW: function for name, function in FUNCTIONS.items()}
# What formulaic, and the functions that it calls with the user's arguments, raise.
EVALUATION = (FormulaicError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def specifications(
    formula: Formula, levels: Mapping[str, list], frame: pd.DataFrame, transforms: Sequence[str]
) -> tuple[ModelSpec, ...]:
    """Specifications of the fixed part and of `sides`, their categories as in `frame`.

    Parameters
    ----------
    formula : Formula
        The parsed formula.
    levels : mapping of str to list
        Categories of each categorical predictor.
    frame : DataFrame
        Rows with every level, or where a basis depends on all rows these.
    transforms : sequence of str
        Transform state of each part as text.

    Returns
    -------
    tuple of ModelSpec

    Raises
    ------
    StudyError
        A part that cannot be evaluated.
    """
    made: dict[tuple[str, str], ModelSpec] = {}
    texts = [rhs for _, rhs, _ in sides(formula, levels)]
    parts = list(zip((formula.fixed, *texts), transforms, strict=True))
    for rhs, text in parts:
        if (rhs, text) not in made:  # in y ~ x + (x | g) both are x
            formulaic = _formulaic(rhs, formula.predictors)
            spec = ModelSpec(formula=formulaic, transform_state=ast.literal_eval(text))
            made[rhs, text] = _quietly(spec, frame).model_spec
    return tuple(made[part] for part in parts)


def states(specs: Sequence[ModelSpec]) -> list[str]:
    """Transform states of specifications as text that `ast.literal_eval` reads."""
    return [repr(_builtin(spec.transform_state)) for spec in specs]


def response(name: str, df: pd.DataFrame) -> np.ndarray:
    """A response that is no column of the data, (n,)."""
    spec = ModelSpec(formula=_formulaic(f"0 + {name}", df.columns))
    return evaluated(spec, df.rename(columns=hide_name))[:, 0]


def named_columns(
    specs: tuple[ModelSpec, ...], formula: Formula
) -> tuple[tuple[tuple[str, ...], ...], dict[str, str]]:
    """Names of each specification's columns, and by name those that are columns of the data.

    Raises
    ------
    StudyError
        Levels make two columns of the model the same name.
    """
    tokens = {hide_name(name): name for name in formula.predictors}
    label_of = labels(formula.predictors)
    owners: dict[str, str] = {}
    named: list[tuple[str, ...]] = []
    plain: dict[str, str] = {}
    for spec in specs:
        names: list[str] = []
        for term, at in spec.term_indices.items():
            factors = [(factor.expr, factor.eval_method.value) for factor in term.factors]
            owner = ":".join(sorted(map(str, term.factors)))
            for name in (spec.column_names[k] for k in at):
                label = label_of(name)
                if factors == [(name, "lookup")]:
                    plain[label] = tokens[name]
                if label in names or owners.setdefault(label, owner) != owner:
                    what = (
                        f"'{label}' is the name of two columns of the model, whose levels look like its terms"
                    )
                    raise StudyError("formula", f"{what}; expected levels with other names")
                names.append(label)
        named.append(tuple(names))
    return tuple(named), plain


def _formulaic(rhs: str, columns: Collection[str]) -> Formulaic:
    """A right-hand side whose expressions mean what they say, whatever the columns are called."""
    plain = Formulaic(hide(rhs))
    if not any(name in CONTEXT for name in columns):
        return plain
    terms = []
    for term in plain:
        factors = [
            f"{{{evaluable(factor.expr, columns)}}}"
            if factor.eval_method.value == "python"
            else f"`{factor.expr}`"
            for factor in term.factors
        ]
        terms.append(":".join(factors) if term.degree else "1")
    return Formulaic(" + ".join(["0" if "1" not in terms else "1", *(term for term in terms if term != "1")]))


def _quietly(spec: ModelSpec, frame: pd.DataFrame) -> Any:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # log(0) and the like are found by the data's own checks
        try:
            return spec.get_model_matrix(frame, context=CONTEXT, na_action="ignore")
        except EVALUATION as error:
            what = str(error).strip().splitlines()[0]
            said = f"'{spec.formula}' cannot be evaluated: {what}; expected another formula"
            raise StudyError("formula", shown(original(said))) from None


def evaluated(spec: ModelSpec, frame: pd.DataFrame) -> np.ndarray:
    """A specification's columns of a batch, (n, k)."""
    return np.asarray(_quietly(spec, frame), dtype=np.float64)


def _builtin(value: Any) -> Any:
    """formulaic's transform state in types that `ast.literal_eval` reads back, keys kept as they are."""
    if isinstance(value, Mapping):
        return {key: _builtin(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_builtin(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value

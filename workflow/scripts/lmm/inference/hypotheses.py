"""Hypotheses of a model's terms, types I, II and III, as contrast matrices of the fixed effects.

Type I tests each term given those before it, type II given all terms that do not contain it, type III averages over
the levels of every categorical predictor with equal weights (SAS's definitions; lmerTest's `anova` has the same for
models without empty cells). Types I and II need the cross-products of X, type III only the coding.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from formulaic import Formula as Formulaic
from formulaic import ModelSpec

from lmm.model.design import Design
from lmm.model.evaluation import CONTEXT
from lmm.model.syntax import labels

TYPES = ("III", "II", "I")


@dataclass(frozen=True)
class Term:
    """A term of the fixed effects.

    Attributes
    ----------
    name : str
        As formulaic writes it: `A:x`.
    columns : tuple of int
        Its columns of X.
    categorical, numeric : frozensets of str
        Its factors, in the sense of formulas.
    contrasts : (k, p) array
        Type III: rows that are all 0 where the term has no effect.
    """

    name: str
    columns: tuple[int, ...]
    categorical: frozenset[str]
    numeric: frozenset[str]
    contrasts: np.ndarray


def terms_of(design: Design) -> list[Term]:
    """The terms of a design's fixed effects, the intercept left out."""
    spec = design.specs[0]
    parts = [part for encoded in spec.structure for part in _parts(spec, encoded)]
    label, out = labels(design.formula.predictors), []
    for encoded in spec.structure:
        if not any(scoped.factors for scoped in encoded.scoped_terms):
            continue
        own = [part for part in parts if part.term == str(encoded.term)]
        kinds = {factor.expr: _coding(spec, factor.expr, True) is not None for factor in encoded.term.factors}
        rows = np.vstack([_type_three(part, parts, len(spec.column_names)) for part in own])
        out.append(
            Term(
                name=label(str(encoded.term)),
                columns=tuple(spec.column_names.index(name) for name in encoded.columns),
                categorical=frozenset(name for name, is_category in kinds.items() if is_category),
                numeric=frozenset(name for name, is_category in kinds.items() if not is_category),
                contrasts=rows,
            )
        )
    return [_kept(term, spec.column_names, design.terms.fixed) for term in out] if design.dropped else out


def _kept(term: Term, names: tuple[str, ...], kept: tuple[str, ...]) -> Term:
    """A term in the columns that are left of rank-deficient fixed effects.

    A hypothesis of type III that has a weight on a dropped column cannot be tested; the term then has none.
    """
    at = [names.index(name) for name in kept]
    touched = np.delete(term.contrasts, at, axis=1).any()
    rows = np.zeros((0, len(kept))) if touched else term.contrasts[:, at]
    return replace(term, columns=tuple(at.index(k) for k in term.columns if k in at), contrasts=rows)


@dataclass(frozen=True)
class _Part:
    """Columns of a term that share their factors, each coded in one way.

    Attributes
    ----------
    term : str
    reduced, full : tuples of str
        Categorical factors coded by contrasts (without the average level), and by one column for each level.
    codings : dict
        (levels, columns) coding matrix of each of them.
    numeric : tuple of str
    columns : list of (int, tuple of int, dict)
        Each column's place in X, which columns of the numeric factors it has, which of each coding matrix.
    """

    term: str
    reduced: tuple[str, ...]
    full: tuple[str, ...]
    codings: dict[str, np.ndarray]
    numeric: tuple[str, ...]
    columns: list[tuple[int, tuple[int, ...], dict[str, int]]]


def _parts(spec: ModelSpec, encoded) -> list[_Part]:
    """The parts of a term; their columns stand one after the other, the first factor's index the fastest."""
    out, start = [], 0
    for scoped in encoded.scoped_terms:
        codings: dict[str, np.ndarray] = {}
        widths: list[int] = []
        reduced: list[str] = []
        full: list[str] = []
        numeric: list[str] = []
        for one in scoped.factors:
            name = one.factor.expr
            coding = _coding(spec, name, one.reduced)
            if coding is None:
                numeric.append(name)
                widths.append(_width(spec, name))
                continue
            codings[name] = coding
            (reduced if one.reduced else full).append(name)
            widths.append(coding.shape[1])
        names = [one.factor.expr for one in scoped.factors]
        columns = []
        for at in range(int(np.prod(widths, dtype=int))):
            index = dict(zip(names, np.unravel_index(at, widths, order="F"), strict=True)) if names else {}
            place = spec.column_names.index(encoded.columns[start + at])
            chosen = tuple(int(index[name]) for name in sorted(numeric))
            columns.append((place, chosen, {name: int(index[name]) for name in codings}))
        start += len(columns)
        part = _Part(str(encoded.term), tuple(reduced), tuple(full), codings, tuple(sorted(numeric)), columns)
        out.append(part)
    return out


def _coding(spec: ModelSpec, name: str, reduced: bool) -> np.ndarray | None:
    """Coding matrix of a categorical factor, (levels, columns); None for a numeric one."""
    state = spec.encoder_state.get(name, (None, {}))[1].get("contrasts")
    if state is None:
        return None
    return np.asarray(state.contrasts.get_coding_matrix(state.levels, reduced_rank=reduced), dtype=float)


def _width(spec: ModelSpec, name: str) -> int:
    """Number of columns of a numeric factor: those of poly(x, 2) are two."""
    found = {
        len(encoded.columns)
        for encoded in spec.structure
        if len(encoded.term.factors) == 1 and encoded.term.factors[0].expr == name
    }
    if found:
        return found.pop()
    alone = ModelSpec(formula=Formulaic(f"0 + {name}"), transform_state=spec.transform_state)
    return len(alone.get_model_matrix(_row_of(alone), context=CONTEXT).columns)


def _row_of(spec: ModelSpec) -> pd.DataFrame:
    """Two rows with some value for each variable of a numeric factor."""
    return pd.DataFrame({str(name): [0.25, 0.5] for name in spec.formula.required_variables})


def _type_three(part: _Part, parts: list[_Part], p: int) -> np.ndarray:
    """The part's effects, averaged over the levels of all other categorical factors, as rows of contrasts.

    The coefficient of a numeric column is a function over the cells of all categorical factors. A reduced factor's
    effect is the differences of that function from the factor's first level; a factor that is not in the part is
    averaged over, with equal weights; a factor that has a column for each level is left as it is.
    """
    names = (*part.reduced, *part.full)
    blocks = sorted({chosen for _, chosen, _ in part.columns})
    rows = [range(1 if name in part.reduced else 0, len(part.codings[name])) for name in names]
    out = np.zeros((len(blocks), int(np.prod([len(own) for own in rows], dtype=int)), p))
    for other in parts:
        if other.numeric != part.numeric or not set(part.reduced) <= other.codings.keys():
            continue
        for place, chosen, index in other.columns:
            value = np.ones(1)
            for name, own in zip(names, rows, strict=True):
                along = np.ones(len(own))
                if name in index:
                    levels = other.codings[name][:, index[name]]
                    along = levels[own] - (levels[0] if name in part.reduced else 0.0)
                value = np.multiply.outer(along, value).ravel()  # the first factor's level changes fastest
            for name in index.keys() - set(names):
                value = value * other.codings[name][:, index[name]].mean()
            out[blocks.index(chosen), :, place] += value
    return out.reshape(-1, p)


def contrasts(terms: list[Term], kind: str, cross: np.ndarray, x_map: np.ndarray) -> dict[str, np.ndarray]:
    """Contrast matrix of each term.

    The denominator df of a Satterthwaite test depend on which rows span the hypothesis; the rows are lmerTest's.

    Parameters
    ----------
    terms : list of Term
        From `terms_of`.
    kind : str
        "I", "II" or "III".
    cross, x_map : (p, p) arrays
        X'X in the kernel's coordinates, and the way from there to original units: types I and II.

    Returns
    -------
    dict
        Term's name to (k, p) array, original units.
    """
    terms = [term for term in terms if term.columns]
    if kind == "III":
        return {term.name: term.contrasts for term in terms if len(term.contrasts)}
    out, p = {}, len(cross)
    before = sorted(set(range(p)) - {column for term in terms for column in term.columns})
    everything = before + [column for term in terms for column in term.columns]
    for term in terms:
        own = list(term.columns)
        order = everything
        if kind == "II":
            after = [column for other in terms if _contains(other, term) for column in other.columns]
            if not after:
                out[term.name] = np.eye(p)[own]
                continue
            order = [c for c in everything if c not in (*own, *after)] + own + after
        root = np.linalg.cholesky(cross[np.ix_(order, order)])
        rows = np.zeros((len(own), p))
        rows[:, order] = root.T[[order.index(column) for column in own]]
        rows = np.linalg.solve(x_map.T, rows.T).T
        out[term.name] = rows / rows[np.arange(len(own)), own][:, None]
    return out


def _contains(large: Term, small: Term) -> bool:
    """Whether `small` is marginal to `large`: the same numeric factors, fewer categorical ones."""
    return large.numeric == small.numeric and small.categorical < large.categorical

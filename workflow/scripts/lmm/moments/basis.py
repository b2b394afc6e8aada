"""The coordinates of moments: columns that are centred and scaled, and the way from them to the model's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lmm.model.terms import INTERCEPT


@dataclass(frozen=True)
class Basis:
    """Coordinates in which cross-products are accumulated.

    Attributes
    ----------
    columns : tuple of str
        The m model-matrix columns that are not the constant, those of random effects first.
    n_random : int
        How many of them random effects use.
    center, scale : (m,) arrays
        w_k enters as (w_k - center_k) / scale_k.
    pilot : (m + 1,) array
        Coefficients on [1, standardised columns] of the pilot fit; in the column space of X.
    y_scale : float
        y* = (y - pilot fit) / y_scale.
    """

    columns: tuple[str, ...]
    n_random: int
    center: np.ndarray
    scale: np.ndarray
    pilot: np.ndarray
    y_scale: float

    def plain(self) -> dict:
        """Built-in types, for JSON."""
        return {
            "columns": list(self.columns),
            "n_random": self.n_random,
            "center": self.center.tolist(),
            "scale": self.scale.tolist(),
            "pilot": self.pilot.tolist(),
            "y_scale": self.y_scale,
        }

    @classmethod
    def from_plain(cls, value: dict) -> "Basis":
        """The basis that `plain` described."""
        arrays = {key: np.array(value[key], dtype=float) for key in ("center", "scale", "pilot")}
        return cls(tuple(value["columns"]), value["n_random"], y_scale=value["y_scale"], **arrays)

    @property
    def response(self) -> np.ndarray:
        """y as a combination of E: (m + 2,) coefficients."""
        return np.append(self.pilot, self.y_scale)

    def raw(self, names: tuple[str, ...]) -> np.ndarray:
        """Columns in their original units as combinations of [1, standardised columns]: (m + 1, len(names))."""
        out = np.zeros((len(self.columns) + 1, len(names)))
        for at, name in enumerate(names):
            if name == INTERCEPT:
                out[0, at] = 1.0
            else:
                k = self.columns.index(name)
                out[0, at], out[k + 1, at] = self.center[k], self.scale[k]
        return out

    def stable(self, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Well-conditioned columns of the same span as `names`, and the way back.

        Centred where `names` has the constant (else centring would change the span), scaled always.

        Returns
        -------
        combine : (m + 1, n) array
            The stable columns as combinations of [1, standardised columns].
        back : (n, n) array
            coefficients on `names` = back @ coefficients on the stable columns.
        """
        raw = self.raw(names)
        back = np.eye(len(names))
        for at, name in enumerate(names):
            if name == INTERCEPT:
                continue
            k = self.columns.index(name)
            back[at, at] = 1.0 / self.scale[k]
            if INTERCEPT in names:
                back[names.index(INTERCEPT), at] = -self.center[k] / self.scale[k]
        combine = raw @ back
        if INTERCEPT in names:  # exact zeros where the centre cancels
            combine[0] = [1.0 if name == INTERCEPT else 0.0 for name in names]
        return combine, back

    def raw_weights(
        self, combinations: Mapping[str, Mapping[str, float]], names: Sequence[str]
    ) -> dict[str, dict[str, float]]:
        """Combinations of `stable` columns as combinations of the columns in their original units."""
        _, back = self.stable(tuple(names))
        found = {}
        for name, weights in combinations.items():
            same = np.zeros(len(names))
            same[names.index(name)] = -1.0
            for other, weight in weights.items():
                same[names.index(other)] = weight
            raw = back @ same
            found[name] = {
                other: float(-value / raw[names.index(name)])
                for other, value in zip(names, raw, strict=True)
                if other != name and value
            }
        return found

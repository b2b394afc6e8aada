"""What engines fit of a replicate."""

from dataclasses import dataclass
from typing import Any

from lmm.data.rows import Rows
from lmm.moments.moments import Moments
from lmm.moments.several import SeveralMoments


@dataclass(frozen=True)
class DataSet:
    """One replicate.

    Attributes
    ----------
    moments : Moments or SeveralMoments
        What engines fit from.
    rows : Rows or None
        None where moments were drawn.
    truth : dict
        As truth.json: fixed, sd, corr, sigma, ranef.
    own : Moments
        Of the data set alone: the same as `moments`, which for posterior calibration has the observed data too.
    prior_moments : Moments
        Where `auto` priors take their scales from: the same, but for posterior calibration the observed data.
    own_rows : Rows or None
        With several grouping factors the rows of the data set alone; its levels are the last of `rows`.
    """

    moments: Moments | SeveralMoments
    rows: Rows | None
    truth: dict[str, Any]
    own: Moments | SeveralMoments
    prior_moments: Moments | SeveralMoments
    own_rows: Rows | None = None

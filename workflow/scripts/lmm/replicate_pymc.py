"""The pymc engine for replicates: one compiled sampler, one data set after the other."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from lmm import bayes
from lmm.bayes_model import Sampler, Setting, marginal_model
from lmm.bayes_priors import Priors
from lmm.bayes_tables import parameters_table, ranef_table
from lmm.chains import sample_until_passed
from lmm.gates import status_of
from lmm.replicate import Engine, Outcome
from lmm.replicate_data import DataSet
from lmm.sbc import ranks
from lmm.terms import Terms
from lmm.tidy import Fit

# Draws that the random effects' summaries look at: their Monte Carlo error is then below a tenth of what a replicate
# tells of RMSE or coverage, and parameters use all draws.
RANEF_DRAWS, RANEF_MIXTURE = 100, 100


class Pymc(Engine):
    """PyMC's marginal model: compiled at the first data set, others are swapped in.

    Parameters
    ----------
    settings, terms : see `Engine`
    calibration : bool
        Rank the truth among the draws.
    """

    def __init__(self, settings: Mapping[str, Any], terms: Terms, calibration: bool = False):
        super().__init__("pymc", settings, terms)
        self.calibration, self.sampler = calibration, None
        self.failure: Exception | None = None

    def outcome(self, data: DataSet, seed: int, earlier: Mapping[str, Outcome]) -> Outcome:
        """Sample one data set with `seed`, gates and the one refit included.

        A model that could not be compiled is not tried again: its error is every further data set's.
        """
        if self.failure is not None:
            raise self.failure.with_traceback(None)  # else it would keep every data set alive
        clock, level = time.perf_counter(), self.settings["conf_level"]
        problem, priors, packed = bayes.prepare(
            data.moments, self.terms.fixed, self.terms.blocks, self.settings["priors"], data.prior_moments
        )
        if self.sampler is None:
            self.sampler = self._compiled(priors, packed)
            clock = time.perf_counter()
        setting = Setting.of(dict(self.settings) | {"seed": seed})
        chains, gates, retried = sample_until_passed(self.sampler, problem, packed, priors, setting)
        parameters, measures = parameters_table(chains, data.moments.group, level, data.truth)
        ranef = ranef_table(
            chains, data.moments, level, data.truth, None, most=RANEF_DRAWS, mixture=RANEF_MIXTURE
        )
        status, message = status_of(gates)
        diagnostics = {"status": status, "message": message, "retried": retried}
        diagnostics["seconds"] = {"sample": time.perf_counter() - clock}
        found = None
        if self.calibration:
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,)))
            found = ranks(chains, data.moments, data.own, data.truth, measures["ess_bulk"], rng)
        explained = bayes.explained_summary(chains, data.moments, level)
        return Outcome(Fit("pymc", parameters, ranef, diagnostics), explained, found)

    def _compiled(self, priors: Priors, packed: np.ndarray) -> Sampler:
        try:
            return Sampler(priors, marginal_model(priors, packed))
        except Exception as error:
            self.failure = error
            raise

"""The marginal model as a real `pm.Model`, and nutpie's sampler of it.

NUTS samples the variance parameters only; beta and the random effects are integrated out (docs/statistics.md,
section 2) and follow exactly in `posterior`. One compiled sampler serves every data set of the same structure and
prior families: the moments and the priors' numbers are data of the model.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import nutpie
import pyarrow
import pymc as pm
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

from lmm.core.progress import Progress
from lmm.core.tidy import RESIDUAL
from lmm.engines.pymc.attempts import STATS, Draws, Setting
from lmm.engines.pymc.compile import compile_model
from lmm.engines.pymc.priors import Priors, prior_numbers
from lmm.engines.pymc.whitened import STEPS, whitened
from lmm.likelihood.marginal import DIGEST, log_density
from lmm.likelihood.problem import Structure
from lmm.model.priors import Prior


class LogDensity(Op):
    """[log p(y | L, sigma), d/dL, d/dsigma] as one vector, by the kernel (`density.log_density`).

    Value and gradient come from one evaluation: the gradient of the first element is the rest of the same vector.
    Elements other than the first have no gradient of their own and must not enter a log density.
    """

    __props__ = ()

    def make_node(self, *arguments: Any) -> Apply:
        """Data vector, (q, q) root, scalar sigma to a vector of q * q + 2."""
        inputs = [pt.as_tensor(value) for value in arguments]
        return Apply(self, inputs, [pt.dvector()])

    def perform(self, node, inputs, output_storage):
        """Evaluate outside of compiled graphs.

        Parameters
        ----------
        node : Apply
            PyTensor's.
        inputs : list of array
            Data vector, root and sigma.
        output_storage : list of list
            Gets the vector.
        """
        data, root, sigma = inputs
        output_storage[0][0] = log_density(data, np.ascontiguousarray(root), float(sigma))

    def connection_pattern(self, node):
        """No derivative in the data."""
        return [[False], [True], [True]]

    def pullback(self, inputs, outputs, cotangents):
        """Chain rule for the first element.

        Parameters
        ----------
        inputs : sequence of variables
            Data vector, root and sigma.
        outputs : sequence of variables
            The vector.
        cotangents : sequence of variables
            Its cotangent.

        Returns
        -------
        list of variables
            Cotangents of the inputs; the data have none.
        """
        weight, value = cotangents[0][0], outputs[0]
        return [DisconnectedType()(), weight * value[1:-1].reshape(inputs[1].shape), weight * value[-1]]


@register_funcify_default_op_cache_key(LogDensity)
def _numba_log_density(op, node=None, **kwargs):
    @numba_njit
    def evaluate(data, root, sigma):
        return log_density(data, np.ascontiguousarray(root), sigma[()])

    return evaluate, int(DIGEST, 16) % 2**31  # an edit of the kernel makes a new cache entry


def positive(name: str, prior: Prior, numbers: Any) -> Any:
    """A standard deviation with its prior, inside a `pm.Model`.

    Parameters
    ----------
    name : str
        Name of the variable.
    prior : Prior
        Its family.
    numbers : array or variable
        Stand for the prior's arguments.

    Returns
    -------
    variable
    """
    make: dict[str, Callable] = {
        "flat": lambda: pm.HalfFlat(name),
        "uniform": lambda: pm.Uniform(name, numbers[0], numbers[1]),
        "half_normal": lambda: pm.HalfNormal(name, sigma=numbers[0]),
        "half_student_t": lambda: pm.HalfStudentT(name, nu=numbers[0], sigma=numbers[1]),
        "half_cauchy": lambda: pm.HalfCauchy(name, beta=numbers[0]),
        "exponential": lambda: pm.Exponential(name, lam=numbers[0]),
    }
    return make[prior.name]()


def covariance_root(structure: Structure, names: list[str], sds: list, eta: Any) -> Any:
    """L from sd's and LKJ correlations, block by block, as a (q, q) tensor; `names`: `Priors.names`.

    Parameters
    ----------
    structure : Structure
        The random effects, and which elements of L are free.
    names : list[str]
        Tidy terms.
    sds : list
        Standard deviations of the random effects.
    eta : Any
        LKJ's argument.

    Returns
    -------
    Any
    """
    q = len(structure.random)
    root = pt.zeros((q, q))
    cors = dict(zip(structure.correlations, names[q:-1], strict=True))
    for start, stop in structure.blocks:
        if stop - start == 1:
            root = root[start, start].set(sds[start])
        elif stop - start == 2:  # LKJ(eta) of one correlation is a beta on (-1, 1)
            name = cors[start, start + 1]
            r = pm.Deterministic(name, 2.0 * pm.Beta(f"{name}_unit", eta, eta) - 1.0)
            root = root[start, start].set(sds[start])
            root = root[start + 1, start].set(sds[start + 1] * r)
            root = root[start + 1, start + 1].set(sds[start + 1] * pt.sqrt(1.0 - r**2))
        else:
            chol = pm.LKJCorr(f"chol_{start}", n=stop - start, eta=eta)
            matrix = chol @ chol.T
            for k in range(start, stop):
                for m in range(k + 1, stop):
                    pm.Deterministic(cors[k, m], matrix[k - start, m - start])
            root = root[start:stop, start:stop].set(pt.stack(sds[start:stop])[:, None] * chol)
    return root


def marginal_model(priors: Priors, packed: np.ndarray) -> pm.Model:
    """The posterior of sd's, correlations and sigma, given the moments, in the priors' coordinates.

    Parameters
    ----------
    priors : Priors
        The fixed effects' prior and the map of the random effects are inside `packed`.
    packed : (n,) array
        From `density.pack_problem`.

    Returns
    -------
    pymc.Model
    """
    names = priors.names
    with pm.Model() as model:
        data = pm.Data("moments", packed)
        numbers: Any = pm.Data("prior_numbers", prior_numbers(priors))
        own = zip(names, priors.sd.values(), strict=False)
        sds = [positive(name, prior, numbers[k]) for k, (name, prior) in enumerate(own)]
        sigma = positive(RESIDUAL, priors.sigma, numbers[len(sds)])
        root = covariance_root(priors.structure, names, sds, numbers[len(sds) + 1, 0])
        density: Any = LogDensity()(data, root, sigma)
        pm.Potential("log_marginal_likelihood", density[0])
    return model


def kept(batches: list, stats: list, name: str) -> np.ndarray:
    """One column of nutpie's raw trace without the warm-up, (chains, draws).

    Parameters
    ----------
    batches : list of RecordBatch
        Each chain's columns.
    stats : list of RecordBatch
        Each chain's statistics, among them `tuning`.
    name : str
        The column.

    Returns
    -------
    (chains, draws) array
    """
    chains = []
    for batch, stat in zip(batches, stats, strict=True):
        warm = pyarrow.array(stat.column("tuning")).to_numpy(zero_copy_only=False)
        chains.append(pyarrow.array(batch.column(name)).to_numpy(zero_copy_only=False)[~warm])
    return np.stack(chains)


class Sampler:
    """nutpie's compiled sampler of a `pm.Model` whose random variables carry tidy names.

    Compiled once, used for any number of data sets (`sample`).
    """

    def __init__(self, priors: Priors, model: pm.Model, extra: tuple[str, ...] = ()):
        self.priors, self.model, self.terms = priors, model, priors.names
        self.names = (*self.terms, *extra)
        self.compiled = compile_model(model, self.names)

    def start(self, estimates: np.ndarray) -> np.ndarray:
        """Unconstrained values of the free variables at estimates in the order of `Priors.names`.

        Parameters
        ----------
        estimates : array
            In the order of `Priors.names`.

        Returns
        -------
        array
        """
        values = dict(zip(self.terms, estimates, strict=True))
        families = dict(zip(self.terms, self.priors.sd.values(), strict=False))
        families[RESIDUAL] = self.priors.sigma
        out: list[Any] = []
        for variable in self.model.free_RVs:
            name = variable.name
            if name in families and families[name].name == "uniform":
                low, high = families[name].args
                share = np.clip((values[name] - low) / (high - low), 1e-6, 1 - 1e-6)
                out.append([np.log(share / (1.0 - share))])
            elif name in families:
                out.append([np.log(values[name])])
            elif name.endswith("_unit"):
                share = np.clip(0.5 * (values[name.removesuffix("_unit")] + 1.0), 0.05, 0.95)
                out.append([np.log(share / (1.0 - share))])
            else:  # a Cholesky factor of correlations starts at independence
                size = next(b - a for a, b in self.priors.structure.blocks if name == f"chol_{a}")
                out.append(np.zeros(size * (size - 1) // 2))
        return np.concatenate(out)

    def sample(self, setting: Setting, data: dict[str, np.ndarray], estimates: np.ndarray) -> Draws:
        """Sample one data set.

        Parameters
        ----------
        setting : Setting
            Chains, draws, seed and the like.
        data : dict
            Its `moments` and `prior_numbers`.
        estimates : (k,) array
            Where to start, order of `Priors.names`; each chain within +-1 of it on the unconstrained scale,
            wide enough for R-hat to notice chains that do not meet (or about the mode: `whitened.SPREAD`).

        Returns
        -------
        Draws
        """
        # nutpie's own conversion to a DataTree takes as long as a third of the sampling of a small data set
        values, stats = self._run(setting, data, estimates, return_raw_trace=True).get_arrow_trace()
        return Draws(
            np.stack([kept(values, stats, name) for name in self.terms]),
            {name: kept(stats, stats, name) for name in STATS},
        )

    def tree(self, setting: Setting) -> Any:
        """Sample the data set that the model was made with; nutpie's DataTree."""
        return self._run(setting, None, None)

    def _run(self, setting: Setting, data: dict | None, estimates: np.ndarray | None, **how: Any) -> Any:
        compiled = self.compiled if data is None else self.compiled.with_data(**data)
        alive: Any = ()  # until the draws are there
        if estimates is not None:
            centre = self.start(estimates)

            def around(chain_seed):
                return centre + np.random.default_rng(chain_seed).uniform(-1.0, 1.0, centre.shape)

            plain = replace(compiled, initial_point_func=around)
            try:
                compiled, alive = whitened(compiled, centre) if setting.white else (plain, ())
                how |= STEPS if setting.white else {}
            except (np.linalg.LinAlgError, AttributeError):  # no curvature, or another nutpie than we know
                compiled = plain
        with Progress("sampling", setting.chains * (setting.tune + setting.draws)) as progress:
            found = nutpie.sample(
                compiled,
                draws=setting.draws,
                tune=setting.tune,
                chains=setting.chains,
                cores=setting.cores,
                seed=setting.seed,
                target_accept=setting.target_accept,
                progress_bar=False,
                progress_callback=lambda chains: progress.at(sum(chain.finished_draws for chain in chains)),
                progress_rate=1000,  # ms
                save_warmup=False,
                **how,
            )
        del alive
        return found

    def draws(self, tree: Any) -> Draws:
        """What `sample` drew of the variance parameters, as arrays."""
        posterior, stats = tree["posterior"], tree["sample_stats"]
        values = np.stack([posterior[name].to_numpy() for name in self.terms])
        return Draws(values, {name: stats[name].to_numpy() for name in STATS if name in stats})

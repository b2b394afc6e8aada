"""Stan's fits of the post's model: seconds, and the smallest ESS by the function that judges our own draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rivals_found
from harness import HERE, Options
from watched import watch


@dataclass(frozen=True)
class Setting:
    """Chains and their length."""

    chains: int
    warmup: int
    draws: int


@dataclass(frozen=True)
class Fits:
    """Of one compiled model: seconds to compile, seconds of each data set's sampling, ESS of the last."""

    compile: float
    sample: list[float]
    ess: float


def sample(
    options: Options, engine: str, model: str, data: Sequence[Path], setting: Setting, seed: int = 123
) -> Fits:
    """Compile `rivals/<model>.stan` once and sample it on each data file.

    Raises
    ------
    RuntimeError
        With the end of the engine's output.
    """
    from lmm.engines.pymc.gates import ess_bulk

    command = rivals_found.stan(options, engine)
    out = options.scratch / f"{engine}-{model}.bin"
    counts = (setting.chains, setting.warmup, setting.draws, options.cores, seed)
    model_file = HERE / "rivals" / f"{model}.stan"
    done = watch([*command, str(model_file), *map(str, counts), str(out), *map(str, data)], options.scratch)
    words = [line.split() for line in done.output.splitlines()]
    compiled = [float(line[1]) for line in words if line[:1] == ["compile"]]
    sampled = [(float(line[1]), int(line[2])) for line in words if line[:1] == ["sample"] and len(line) == 3]
    draws = np.fromfile(out).reshape(sampled[-1][1], setting.chains, setting.draws)
    return Fits(compiled[0], [seconds for seconds, _ in sampled], float(ess_bulk(draws).min()))


def why(problem: Exception) -> str:
    """The line of a failed run's output that says what was wrong."""
    said = [line.strip() for line in str(problem).splitlines() if line.strip() and "halted" not in line]
    errors = [line for line in said if "rror" in line]
    return " ".join(dict.fromkeys([*errors[-1:], *said[-1:]]))[:200]

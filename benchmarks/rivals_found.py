"""Which competitors are here, and how they are started."""

import json
import shutil
import subprocess

from harness import HERE, Options, Worker, environment

ASK = """
import importlib.metadata as m, json
out = {}
for name in ("mixedlm-rs", "pystan", "httpstan", "glmm", "mixedlm", "mcpower"):
    try: out[name] = m.version(name)
    except m.PackageNotFoundError: pass
print(json.dumps(out))
"""


def _ask(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment())
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def versions(options: Options) -> dict[str, str]:
    """Version of each competitor, or `not installed`."""
    packages = ("lme4", "rstan", "simr")
    out = dict.fromkeys(("R", *packages), "not installed")
    if shutil.which("Rscript"):
        out["R"] = _ask(["Rscript", "-e", "cat(as.character(getRversion()))"])
        for name in packages:
            found = _ask(["Rscript", "-e", f"cat(as.character(packageVersion('{name}')))"])
            out[name] = found or "not installed"
    here = json.loads(_ask([options.rivals, "-c", ASK]) or "{}") if options.rivals else {}
    return out | {
        name: here.get(name, "not installed")
        for name in ("mixedlm-rs", "pystan", "glmm", "mixedlm", "mcpower")
    }


def has(options: Options, name: str) -> bool:
    """Whether a competitor is installed."""
    return versions(options)[name] != "not installed"


def blas() -> str:
    """The BLAS that R uses: OpenBLAS and the reference one differ several times over."""
    path = _ask(["Rscript", "-e", "cat(basename(dirname(sessionInfo()$BLAS)))"])
    return path or "unknown"


def lme4(options: Options) -> Worker | None:
    """lme4's lmer, if it is installed."""
    command = ["Rscript", "--vanilla", str(HERE / "rivals" / "fit_lme4.R")]
    return Worker("lme4", command) if has(options, "lme4") else None


def mixedlm_rs(options: Options) -> Worker | None:
    """mixedlm-rs, if it is installed."""
    if not has(options, "mixedlm-rs"):
        return None
    return Worker("mixedlm-rs", [options.rivals, str(HERE / "rivals" / "fit_mixedlm_rs.py")])


def per_data_set(options: Options, name: str, number: int) -> float | None:
    """Milliseconds of CPU per simulated and tested data set of the coffee design by `mcpower` or `simr`."""
    script = str(HERE / "rivals" / {"mcpower": "fit_mcpower.py", "simr": "fit_simr.R"}[name])
    command = [options.rivals, script] if name == "mcpower" else ["Rscript", "--vanilla", script]
    said = _ask([*command, str(number)]) if has(options, name) else ""
    return float(said) if said else None


def stan(options: Options, name: str) -> list[str] | None:
    """The beginning of the command that samples with `rstan` or `pystan`, if it is installed."""
    if not has(options, name):
        return None
    if name == "rstan":
        return ["Rscript", "--vanilla", str(HERE / "rivals" / "sample_rstan.R")]
    return [options.rivals, str(HERE / "rivals" / "sample_pystan.py")]

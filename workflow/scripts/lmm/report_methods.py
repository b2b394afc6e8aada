"""A methods paragraph that a paper can quote, and the BibTeX of what was used: from configuration and results."""

from collections.abc import Mapping
from typing import Any

from lmm.results import Results
from lmm.words import counted, label, listed, shortened, spoken

ENTRIES = {
    "bates2015": """@article{bates2015,
  author = {Bates, Douglas and M{\\"a}chler, Martin and Bolker, Ben and Walker, Steve},
  title = {Fitting linear mixed-effects models using {lme4}}, journal = {Journal of Statistical Software},
  year = {2015}, volume = {67}, number = {1}, pages = {1--48}, doi = {10.18637/jss.v067.i01}
}""",
    "seabold2010": """@inproceedings{seabold2010,
  author = {Seabold, Skipper and Perktold, Josef},
  title = {statsmodels: Econometric and statistical modeling with {Python}},
  booktitle = {Proceedings of the 9th Python in Science Conference}, year = {2010},
  doi = {10.25080/Majora-92bf1922-011}
}""",
    "pymc2023": """@article{pymc2023,
  author = {Abril-Pla, Oriol and Andreani, Virgile and Carroll, Colin and Dong, Larry and Fonnesbeck,
    Christopher J. and Kochurov, Maxim and Kumar, Ravin and Lao, Junpeng and
    Luhmann, Christian C. and Martin, Osvaldo A. and others},
  title = {{PyMC}: a modern, and comprehensive probabilistic programming framework in {Python}},
  journal = {PeerJ Computer Science}, year = {2023}, volume = {9}, pages = {e1516}, doi = {10.7717/peerj-cs.1516}
}""",
    "arviz2019": """@article{arviz2019,
  author = {Kumar, Ravin and Carroll, Colin and Hartikainen, Ari and Martin, Osvaldo},
  title = {{ArviZ}: a unified library for exploratory analysis of {Bayesian} models in {Python}},
  journal = {Journal of Open Source Software}, year = {2019}, volume = {4}, number = {33}, pages = {1143},
  doi = {10.21105/joss.01143}
}""",
    "vehtari2021": """@article{vehtari2021,
  author = {Vehtari, Aki and Gelman, Andrew and Simpson, Daniel and Carpenter, Bob and B{\\"u}rkner, Paul-Christian},
  title = {Rank-normalization, folding, and localization: An improved {R-hat} for assessing convergence of {MCMC}},
  journal = {Bayesian Analysis}, year = {2021}, volume = {16}, number = {2}, pages = {667--718},
  doi = {10.1214/20-BA1221}
}""",
    "vehtari2017": """@article{vehtari2017,
  author = {Vehtari, Aki and Gelman, Andrew and Gabry, Jonah},
  title = {Practical {Bayesian} model evaluation using leave-one-out cross-validation and {WAIC}},
  journal = {Statistics and Computing}, year = {2017}, volume = {27}, pages = {1413--1432},
  doi = {10.1007/s11222-016-9696-4}
}""",
    "kallioinen2024": """@article{kallioinen2024,
  author = {Kallioinen, Noa and Paananen, Topi and B{\\"u}rkner, Paul-Christian and Vehtari, Aki},
  title = {Detecting and diagnosing prior and likelihood sensitivity with power-scaling},
  journal = {Statistics and Computing}, year = {2024}, volume = {34}, pages = {57},
  doi = {10.1007/s11222-023-10366-5}
}""",
    "johnson2014": """@article{johnson2014,
  author = {Johnson, Paul C. D.},
  title = {Extension of {Nakagawa} \\& {Schielzeth's} {R2GLMM} to random slopes models},
  journal = {Methods in Ecology and Evolution}, year = {2014}, volume = {5}, number = {9}, pages = {944--946},
  doi = {10.1111/2041-210X.12225}
}""",
    "molder2021": """@article{molder2021,
  author = {M{\\"o}lder, Felix and Jablonski, Kim Philipp and Letcher, Brice and Hall, Michael B. and others},
  title = {Sustainable data analysis with {Snakemake}}, journal = {F1000Research}, year = {2021}, volume = {10},
  pages = {33}, doi = {10.12688/f1000research.29032.2}
}""",
}


def used(studies: list[Results]) -> list[str]:
    """Keys of the entries that these studies rest on."""
    engines = {name for results in studies for name in results.fits}
    keys = ["bates2015", "johnson2014"] if engines - {"ols"} else []
    keys += ["seabold2010"] if engines & {"ols", "mixedlm"} else []
    keys += ["pymc2023", "arviz2019", "vehtari2021"] if "pymc" in engines else []
    single = [results for results in studies if isinstance(results, Results)]  # replicates are not criticised
    notes = [results.notes.get("criticism") or {} for results in single]
    keys += ["vehtari2017"] if any(note.get("loo") for note in notes) else []
    keys += (
        ["kallioinen2024"]
        if any("sensitivity" not in note.get("left_out", "sensitivity") for note in notes)
        else []
    )
    return [*keys, "molder2021"]


def bibtex(studies: list[Results]) -> str:
    """BibTeX of all software and methods used."""
    return "\n\n".join(ENTRIES[key] for key in used(studies))


def _version(results: Results, engine: str, package: str) -> str:
    found = (results.fits[engine].diagnostics.get("versions") or {}).get(package)
    return f" {found}" if found else ""


def methods(results: Results) -> str:
    """How the study was analysed, as one quotable paragraph."""
    level = f"{100 * results.conf_level:g} %"
    rows, groups = counted(results.data["rows"], "row"), counted(results.data["groups"], "group")
    said = []
    if results.truth:
        generator = results.truth.get("generator")
        how = {"r": " with R's random number generators", "numpy": " with NumPy's PCG64"}.get(generator, "")
        seed = f" (seed {results.truth['seed']})" if results.truth.get("seed") is not None else ""
        said.append(f"We simulated {rows} in {groups}{how}{seed}.")
    else:
        said.append(f"We analysed {rows} in {groups}.")
    said.append(
        f"The linear mixed model was {results.settings['formula']}, in the notation of lme4 (Bates et al. 2015)."
    )
    if "ols" in results.fits:
        said.append("Ordinary least squares, which ignores the groups, served as a reference.")
    rival = "mixedlm" in results.mixed
    if rival:
        said.append(
            "The model was fitted by restricted maximum likelihood (REML) with MixedLM of "
            f"statsmodels{_version(results, 'mixedlm', 'statsmodels')} "
            "(Seabold & Perktold 2010)."
        )
    if "reml" in results.fits:
        beside = "A second REML fit" if rival else "It was fitted by REML"
        said.append(
            f"{beside} from sufficient statistics, its optimum certified by first and second derivatives, "
            "gave generalised "
            f"least-squares standard errors and {level} profile-likelihood intervals of standard "
            "deviations and correlations."
        )
    if "pymc" in results.fits:
        said += _bayesian(results, level)
    if results.mixed:
        said.append(
            "Standard errors of random effects are prediction errors, the uncertainty of the fixed "
            "effects included; variance "
            "explained is averaged over rows (Johnson 2014)."
        )
    return " ".join([*said, "The analysis ran as a Snakemake workflow (Mölder et al. 2021)."])


def _of(parameter: str) -> str:
    """A parameter that has a prior, in a sentence."""
    if parameter == "correlation matrix":
        return "the correlation matrix"
    return spoken(parameter) if parameter.startswith("sd__") else parameter


def _length(setting: Mapping[str, Any]) -> str:
    """Chains and draws, where the configuration is at hand."""
    if not {"chains", "tune", "draws"} <= set(setting):
        return ""
    return (
        f" ({setting['chains']} chains, {setting['tune']:,} warm-up and {setting['draws']:,} kept draws each)"
    )


def _bayesian(results: Results, level: str) -> list[str]:
    details = results.fits["pymc"].diagnostics
    setting = ((results.settings.get("configuration") or {}).get("engines") or {}).get("pymc") or {}
    sampler = f"nutpie{_version(results, 'pymc', 'nutpie')}"
    sampled, then = "the joint posterior of fixed effects, random effects and variance parameters", ""
    if (details.get("summary") or {}).get("model") != "full":
        sampled = "the marginal posterior of the variance parameters"
        then = "; fixed and random effects were then drawn exactly from their Gaussian conditionals"
    said = [
        f"A Bayesian fit{' of ' + setting['formula'] if setting.get('formula') else ''} with "
        f"PyMC{_version(results, 'pymc', 'pymc')} "
        f"(Abril-Pla et al. 2023) sampled {sampled} with {sampler}{_length(setting)}{then}."
    ]
    priors = (details.get("summary") or {}).get("priors") or []
    if isinstance(priors, dict):
        priors = [{"parameter": key, "prior": value} for key, value in priors.items()]
    by_prior: dict[str, list[str]] = {}
    for row in priors:
        text = f"{shortened(row['prior'])} {row.get('at', '')}".rstrip()
        by_prior.setdefault(text, []).append(_of(row["parameter"]))
    if by_prior:
        said.append(
            f"Priors: {'; '.join(f'{text} for {listed(names)}' for text, names in by_prior.items())}."
        )
    failed = [gate["name"] for gate in details.get("gates") or [] if not gate["passed"]]
    verdict = f"; the fit failed on {listed(failed)}" if failed else "; all were met"
    said.append(
        "Convergence was judged by rank-normalised R-hat, bulk and tail effective sample size, "
        "divergences, tree depth and E-BFMI "
        f"(Vehtari et al. 2021; ArviZ{_version(results, 'pymc', 'arviz')}, Kumar et al. 2019){verdict}. "
        f"Intervals of {label('pymc')} "
        f"are {level} posterior quantiles."
    )
    note = results.notes.get("criticism") or {}
    checks = ["posterior predictive checks"] if note.get("replicates") else []
    checks += ["leave-one-group-out cross-validation (PSIS; Vehtari et al. 2017)"] if note.get("loo") else []
    if note and "sensitivity" not in note["left_out"]:
        checks.append("power-scaling of prior and likelihood (Kallioinen et al. 2024)")
    if checks:
        said.append(f"The fit was criticised by {listed(checks)}.")
    return said

"""References of the software and methods that studies rest on: BibTeX, and formatted for a list."""

import re
from collections.abc import Iterable
from unicodedata import normalize

from lmm.core import engines
from lmm.report.text.fits import df_method
from lmm.results.replicated import Recovered
from lmm.results.searched import Searched
from lmm.results.study import Results

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
    "vehtari2024": """@article{vehtari2024,
  author = {Vehtari, Aki and Simpson, Daniel and Gelman, Andrew and Yao, Yuling and Gabry, Jonah},
  title = {Pareto smoothed importance sampling}, journal = {Journal of Machine Learning Research}, year = {2024},
  volume = {25}, number = {72}, pages = {1--58}
}""",
    "burkner2021": """@article{burkner2021,
  author = {B{\\"u}rkner, Paul-Christian and Gabry, Jonah and Vehtari, Aki},
  title = {Efficient leave-one-out cross-validation for {Bayesian} non-factorized normal and {Student-t} models},
  journal = {Computational Statistics}, year = {2021}, volume = {36}, pages = {1243--1261},
  doi = {10.1007/s00180-020-01045-4}
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
    "kuznetsova2017": """@article{kuznetsova2017,
  author = {Kuznetsova, Alexandra and Brockhoff, Per B. and Christensen, Rune H. B.},
  title = {{lmerTest} package: Tests in linear mixed effects models}, journal = {Journal of Statistical Software},
  year = {2017}, volume = {82}, number = {13}, pages = {1--26}, doi = {10.18637/jss.v082.i13}
}""",
    "kenward1997": """@article{kenward1997,
  author = {Kenward, Michael G. and Roger, James H.},
  title = {Small sample inference for fixed effects from restricted maximum likelihood}, journal = {Biometrics},
  year = {1997}, volume = {53}, number = {3}, pages = {983--997}, doi = {10.2307/2533558}
}""",
    "molder2021": """@article{molder2021,
  author = {M{\\"o}lder, Felix and Jablonski, Kim Philipp and Letcher, Brice and Hall, Michael B. and others},
  title = {Sustainable data analysis with {Snakemake}}, journal = {F1000Research}, year = {2021}, volume = {10},
  pages = {33}, doi = {10.12688/f1000research.29032.2}
}""",
}
PERFORMANCE = {
    "morris2019": """@article{morris2019,
  author = {Morris, Tim P. and White, Ian R. and Crowther, Michael J.},
  title = {Using simulation studies to evaluate statistical methods}, journal = {Statistics in Medicine},
  year = {2019}, volume = {38}, number = {11}, pages = {2074--2102}, doi = {10.1002/sim.8086}
}""",
    "siepe2024": """@article{siepe2024,
  author = {Siepe, Bj{\\"o}rn S. and Barto{\\v{s}}, Franti{\\v{s}}ek and Morris, Tim P. and Boulesteix, Anne-Laure and
    Heck, Daniel W. and Pawel, Samuel},
  title = {Simulation studies for methodological research in psychology: A standardized template for planning,
    preregistration, and reporting}, journal = {Psychological Methods}, year = {2024}, doi = {10.1037/met0000695}
}""",
    "rucker2014": """@article{rucker2014,
  author = {R{\\"u}cker, Gerta and Schwarzer, Guido},
  title = {Presenting simulation results in a nested loop plot},
  journal = {BMC Medical Research Methodology}, year = {2014}, volume = {14}, pages = {129},
  doi = {10.1186/1471-2288-14-129}
}""",
}
SEARCH = {
    "green2016": """@article{green2016,
  author = {Green, Peter and MacLeod, Catriona J.},
  title = {{SIMR}: An {R} package for power analysis of generalized linear mixed models by simulation},
  journal = {Methods in Ecology and Evolution}, year = {2016}, volume = {7}, number = {4}, pages = {493--498},
  doi = {10.1111/2041-210X.12504}
}""",
    "chalmers2024": """@article{chalmers2024,
  author = {Chalmers, R. Philip},
  title = {Solving variables with {Monte} {Carlo} simulation experiments: A stochastic root-solving approach},
  journal = {Psychological Methods}, year = {2024}, doi = {10.1037/met0000689}
}""",
    "zimmer2023": """@article{zimmer2023,
  author = {Zimmer, Felix and Debelak, Rudolf},
  title = {Simulation-based design optimization for statistical power: Utilizing machine learning},
  journal = {Psychological Methods}, year = {2023}, doi = {10.1037/met0000611}
}""",
}
CALIBRATION = {
    "talts2018": """@misc{talts2018,
  author = {Talts, Sean and Betancourt, Michael and Simpson, Daniel and Vehtari, Aki and Gelman, Andrew},
  title = {Validating {Bayesian} inference algorithms with simulation-based calibration}, year = {2018},
  eprint = {1804.06788}, archiveprefix = {arXiv}
}""",
    "sailynoja2022": """@article{sailynoja2022,
  author = {S{\\"a}ilynoja, Teemu and B{\\"u}rkner, Paul-Christian and Vehtari, Aki},
  title = {Graphical test for discrete uniformity and its applications in goodness-of-fit evaluation and multiple
    sample comparison}, journal = {Statistics and Computing}, year = {2022}, volume = {32}, pages = {32},
  doi = {10.1007/s11222-022-10090-6}
}""",
    "modrak2023": """@article{modrak2023,
  author = {Modr{\\'a}k, Martin and Moon, Angie H. and Kim, Shinyoung and B{\\"u}rkner, Paul-Christian and Huurre,
    Niko and Faltejskov{\\'a}, Kate{\\v{r}}ina and Gelman, Andrew and Vehtari, Aki},
  title = {Simulation-based calibration checking for {Bayesian} computation: The choice of test quantities shapes
    sensitivity}, journal = {Bayesian Analysis}, year = {2023}, doi = {10.1214/23-BA1404}
}""",
}


def cited_replicated(studies: Iterable[Recovered]) -> list[str]:
    """Keys of what these studies used beside the engines; empty without any."""
    studies = list(studies)
    keys = list(PERFORMANCE) if studies else []
    return keys + (list(CALIBRATION) if any("calibration" in study.tables for study in studies) else [])


def used(studies: Iterable[Results | Recovered | Searched]) -> list[str]:
    """Keys of the entries that these studies rest on."""
    studies = list(studies)
    names = {name for results in studies for name in results.fits}
    families = {family: engines.of_family(names, family) for family in FAMILIES}
    packages = {package for name in names & set(engines.ENGINES) for package in engines.row(name).packages}
    keys = ["bates2015", "johnson2014"] if engines.mixed(names) else []
    keys += ["seabold2010"] if "statsmodels" in packages else []
    keys += ["pymc2023", "arviz2019", "vehtari2021"] if families[engines.BAYES] else []
    single = [results for results in studies if isinstance(results, Results)]  # replicates are not criticised
    methods = {df_method(results) for results in single}
    keys += ["kuznetsova2017"] if "satterthwaite" in methods else []
    keys += ["kenward1997"] if "kenward-roger" in methods else []
    sampled = [
        fit.diagnostics for results in single for fit in results.fits.values() if fit.diagnostics.gates
    ]
    keys += ["vehtari2024"] if any(one.summary.get("sampler") == "importance" for one in sampled) else []
    keys += ["sailynoja2022"] if any(one.summary.get("sampler") != "importance" for one in sampled) else []
    notes = [results.notes.get("criticism", {}) for results in single]
    left_out = [note["loo"] for note in notes if note.get("loo")]
    keys += ["vehtari2017"] if left_out else []
    keys += ["burkner2021"] if any("group" in own for own in left_out) else []
    if any("sensitivity" not in note.get("left_out", "sensitivity") for note in notes):
        keys.append("kallioinen2024")
    keys += cited_replicated([study for study in studies if isinstance(study, Recovered)])
    keys += list(SEARCH) if any(isinstance(study, Searched) for study in studies) else []
    return [*dict.fromkeys(keys), "molder2021"]


def bibtex(keys: Iterable[str]) -> str:
    """The entries as BibTeX."""
    return "\n\n".join(ALL[key] for key in keys)


def formatted(keys: Iterable[str]) -> list[str]:
    """The entries as a list of references in APA style, in the order of their authors."""
    return sorted(map(_formatted, keys), key=str.casefold)


FAMILIES = (engines.POOLED, engines.EXACT, engines.LIKELIHOOD, engines.BAYES)
ALL = ENTRIES | PERFORMANCE | SEARCH | CALIBRATION
ACCENTS = {'"': "\u0308", "'": "\u0301", "v": "\u030c"}


def _plain(text: str) -> str:
    """A BibTeX value without its braces, accents as letters."""
    text = re.sub(r"\{?\\([\"'v])\{?(\w)\}?\}?", lambda m: normalize("NFC", m[2] + ACCENTS[m[1]]), text)
    return " ".join(text.replace("\\&", "&").replace("--", "–").replace("{", "").replace("}", "").split())


def _formatted(key: str) -> str:
    value = dict(re.findall(r"(\w+) = \{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}", ALL[key]))
    found = {name: _plain(text) for name, text in value.items()}
    people = [_author(name) for name in found["author"].split(" and ")]
    if people[-1] == "others":
        authors = ", ".join(people[:-1]) + ", et al."
    else:
        authors = ", & ".join(filter(None, [", ".join(people[:-1]), people[-1]]))
    said = f"{authors} ({found['year']}). {found['title']}."
    if "journal" in found:
        said += f" {found['journal']}"
        said += f", {found['volume']}" if "volume" in found else ""
        said += f"({found['number']})" if "number" in found else ""
        said += f", {found['pages']}" if "pages" in found else ""
        said += "."
    elif "booktitle" in found:
        said += f" In {found['booktitle']}."
    elif "eprint" in found:
        said += f" {found['archiveprefix']}:{found['eprint']}."
    return f"{said} doi:{found['doi']}" if "doi" in found else said


def _author(name: str) -> str:
    """`Bates, Douglas` as `Bates, D.`."""
    family, _, given = name.partition(", ")
    if not given:
        return family
    initials = ["-".join(f"{part[0]}." for part in one.split("-")) for one in given.split()]
    return f"{family}, {' '.join(initials)}"

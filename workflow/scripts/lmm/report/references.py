"""BibTeX of the software and methods that studies rest on."""

from collections.abc import Iterable

from lmm.results.replicated import Recovered
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
PERFORMANCE = {
    "morris2019": """@article{morris2019,
  author = {Morris, Tim P. and White, Ian R. and Crowther, Michael J.},
  title = {Using simulation studies to evaluate statistical methods}, journal = {Statistics in Medicine},
  year = {2019}, volume = {38}, number = {11}, pages = {2074--2102}, doi = {10.1002/sim.8086}
}""",
    "rucker2014": """@article{rucker2014,
  author = {R{\\"u}cker, Gerta and Schwarzer, Guido},
  title = {Presenting simulation results in a nested loop plot},
  journal = {BMC Medical Research Methodology}, year = {2014}, volume = {14}, pages = {129},
  doi = {10.1186/1471-2288-14-129}
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


def bibtex_replicated(studies: Iterable[Recovered]) -> str:
    """BibTeX of what these studies used beside the engines; empty without any."""
    studies = list(studies)
    entries = list(PERFORMANCE.values()) if studies else []
    entries += list(CALIBRATION.values()) if any("calibration" in study.tables for study in studies) else []
    return "\n\n".join(entries)


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

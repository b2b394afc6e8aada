"""BibTeX of the methods that studies with replicates rest on."""

from collections.abc import Iterable

from lmm.results.replicated import Recovered

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


def bibtex(studies: Iterable[Recovered]) -> str:
    """BibTeX of what these studies used beside the engines; empty without any."""
    studies = list(studies)
    entries = list(PERFORMANCE.values()) if studies else []
    entries += list(CALIBRATION.values()) if any("calibration" in study.tables for study in studies) else []
    return "\n\n".join(entries)

"""Every message that a user can meet, provoked: where, what was met, what was expected or what to do.

The last tests walk the library's source: a place that raises a message for users and is not provoked here fails
them. So whoever adds a message adds a case, and reads it as a user would.
"""

import ast
import errno
import functools
import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import pytest

import compare_runs
import made_replicates
import new_study
import replay as replay_script
import running.frame
from conftest import ROOT
from lmm import frames
from lmm.comparison.responses import log_derivative
from lmm.config.load import load
from lmm.core.engines import ENGINES
from lmm.core.errors import StudyError
from lmm.data import checks, ingest
from lmm.data.dialect import Reading
from lmm.engines import ols
from lmm.engines.pymc.priors import resolve
from lmm.engines.pymc.several_priors import resolve_several
from lmm.inference import estimable
from lmm.inference.functions import functions
from lmm.inference.reference_grid import ReferenceGrid, Request
from lmm.likelihood import several_places
from lmm.model.design import build
from lmm.model.formula import parse
from lmm.model.terms import Terms
from lmm.moments import pilot
from lmm.moments.stage import designs, of_rows, of_sources
from lmm.prediction import new_rows
from lmm.proposal import model
from lmm.recovery import performance, replay, replay_rows, search, searches
from lmm.report import printing
from lmm.results import runs
from planning import configuration as configurations
from planning.files import look
from running import integrity

SCRIPTS = ROOT / "workflow/scripts"
# What calls to raise a message for users look like; `within` passes one on.
RAISES = {"StudyError", "self.fail", "fail", "_wrong", "PydanticCustomError", "_collinear", "explain"}
# A message says what was expected, or what to do.
ADVICE = re.compile(
    r"expected|write |run again|keep the |drop one|add a term|make one|need brackets|added with|leave it out"
    r"|subtract it|every row counts|only one grouping factor|on_failed_gate"
)

SIM = {"formula": "y ~ x + (x | g)", "simulate": {"groups": 10, "rows_per_group": 5}}
TWO = {"formula": "y ~ x + (x | a) + (1 | b)", "simulate": {"groups": {"a": 12, "b": 8}}}
OWN = {"formula": "Reaction ~ Days + (Days | Subject)", "data": "config/data/sleepstudy.csv"}
POST = {"formula": "y ~ x + (x | g)", "simulate": {"generator": "r", "rows": 50, "groups": 5}}
PROPER = {"fixed": "normal(0, 1)", "sd": "half_normal(1)", "sigma": "exponential(1)"}


def sim(**changes):
    """A simulated study with keys changed."""
    return SIM | changes


def drawn(**changes):
    """A study with keys of `simulate` changed."""
    return SIM | {"simulate": SIM["simulate"] | changes}


def two(formula=None, **changes):
    """A study of two crossed grouping factors with keys of `simulate` changed."""
    return {"formula": formula or TWO["formula"], "simulate": TWO["simulate"] | changes}


def rep(**changes):
    """A recovery study."""
    return SIM | {"replicates": 5} | changes


def hunt(study=None, **changes):
    """A study with a search, with keys of `search` and of the study changed."""
    simulate = {"rows_per_group": 5, "fixed": {"Intercept": 0, "x": 1}}
    base = {
        "formula": SIM["formula"],
        "simulate": simulate,
        "search": {"between": [5, 50], "term": "x"} | changes,
    }
    return base | (study or {})


def crossed_hunt(simulate=None, **changes):
    """A search of two crossed grouping factors."""
    wanted = {"vary": "g", "between": [5, 50], "term": "x"} | changes
    drawn = {"groups": {"h": 6}, "fixed": {"Intercept": 0, "x": 1}} | (simulate or {})
    return {"formula": "y ~ x + (1 | g) + (1 | h)", "simulate": drawn, "search": wanted}


NO_SIZES = {"simulate": {"fixed": {"Intercept": 0, "x": 1}}}
BOTH = {"vary": ["groups", "rows_per_group"], "between": {"groups": [5, 50], "rows_per_group": [2, 9]}}


def unfitted(root):
    """A search none of whose replicates can be fitted."""
    nothing = search.Measured(np.nan, np.nan, 0, 250, 250)
    search.search(search.Space.between((5, 20), (1, 1)), lambda at, count: nothing, "power", 0.8)


def large_pilot(root):
    """A search of own data whose moments were not kept group by group."""
    study = own(search={"between": [5, 50], "term": "x"}, formula="y ~ x + (1 | g)")
    settings = {
        "formula": study["formula"],
        "formulas": [study["formula"]],
        "search": study["search"] | {"engine": "reml"},
    }
    settings |= {"engines": {"reml": {"formula": study["formula"]}}}
    terms = Terms.one(("Intercept", "x"), (("Intercept",),), "g", ("Intercept", "x"))
    moments = SimpleNamespace(whole=False, n_groups=30_000)
    with (
        mock.patch.object(searches, "read_terms", return_value=terms),
        mock.patch.object(searches.Moments, "read", return_value=moments),
    ):
        searches.of_pilot(settings, {"design": "", "moments": "", "moments_details": ""})


def strict_search(root):
    (root / "a.json").write_text('{"status": "not reached"}')
    verdict({"s/search": str(root / "a.json"), "lib": [], "page": "p"}, root)


def own(**changes):
    """A study of own data."""
    return OWN | changes


def post(**changes):
    """A study with R's random numbers."""
    return POST | {"simulate": POST["simulate"] | changes}


CONFIGURATIONS = [
    (drawn(groups={'g': 10}), "studies.s.simulate.groups: {'g': 10}: is for several grouping factors; expected a number of groups of g"),
    (drawn(predictors={'x': {'normal': {}, 'between': 'g'}}), "studies.s.simulate.predictors.x: between: g: a column is named where there are several grouping factors; expected true or false"),
    (drawn(predictors={'x': {'latin_square': 2}}), "studies.s.simulate.predictors.x: 'latin_square': is for crossed grouping factors; expected normal, uniform or binary"),
    (drawn(predictors={'x': {'latin_square': 2, 'between': True}}), "studies.s.simulate.predictors.x: a Latin square assigns conditions to rows; expected between: false"),
    (drawn(sd={'Intercept': {'a': 1}, 'x': 1}), "studies.s.simulate.sd.Intercept: {'a': 1.0}: a mapping by grouping factor is for several of them; expected a number"),
    (two(groups=20), "studies.s.simulate.groups: 20; expected levels by column, such as {a: 20, b: 20}"),
    (TWO | {'simulate': {}}, "studies.s.simulate.groups: is missing; expected levels by column, such as {a: 20, b: 20}"),
    (two(generator='r'), "studies.s.simulate.generator: 'r' draws one grouping factor; expected numpy"),
    (two(groups={'a': 12, 'c': 8}), "studies.s.simulate.groups.c: not a column of a grouping factor; expected one of: a, b"),
    (two(groups={'a': 12, 'b': {'per': 'c', 'count': 2}}), "studies.s.simulate.groups.b.per: 'c' is not another column; expected one of: a"),
    (two(groups={'a': {'per': 'b', 'count': 2}, 'b': {'per': 'a', 'count': 2}}), "studies.s.simulate.groups: a, b are nested in each other; expected one with a number of its own"),
    (two(predictors={'x': 'sequence'}), "studies.s.simulate.predictors.x: 'sequence': runs within one grouping factor; expected normal, uniform or binary"),
    (two(groups={'a': 12, 'b': {'per': 'a', 'count': 2}}, predictors={'x': {'latin_square': 2}}), "studies.s.simulate.predictors.x: 'latin_square': no two grouping factors are crossed; expected normal, uniform or binary"),
    (two(predictors={'x': {'normal': {}, 'between': True}}), "studies.s.simulate.predictors.x.between: 'true' is not a column of a grouping factor; expected one of: a, b"),
    (two(corr=0.5), "studies.s.simulate.corr: 0.5: expected a mapping by factor, such as {a: 0.5, b: 0.5}"),
    (two(sd={'c': {'Intercept': 1}}), "studies.s.simulate.sd.c: not a grouping factor; expected one of: a, b"),
    (two(sd={'a': {'Intercept': 1, 'x': 1}}), "studies.s.simulate.sd.b: is missing; expected {Intercept: 1}"),
    (two(groups={'a': 100000, 'b': 100000}), "studies.s.simulate: 10,000,000,000 rows in memory; expected at most 50,000,000: fewer levels, or `rows` at random pairs"),
    (two(groups={'a': 40, 'b': 8}, rows=30), "studies.s.simulate.groups.a: 40 levels for 30 rows; expected fewer, or more rows: with single rows, their effects cannot be told from residuals"),
    (two(formula='y ~ x + z + v + (1 | a) + (1 | b)', groups={'a': 2, 'b': 2}, rows=3), "studies.s.simulate: 3 rows for 4 fixed effects; expected more rows than fixed effects"),
    (two() | {'replicates': 3, 'simulate_from': 'moments'}, "studies.s.simulate_from: 'moments': are drawn of one grouping factor, not a, b; expected rows"),
    (own(formula='Reaction ~ Days + (1 | Subject) + (1 | Days)'), "studies.s.formula: 'Reaction ~ Days + (1 | Subject) + (1 | Days)': the grouping factor 'Days' is also a predictor, which would explain all that its groups differ in; drop one of the two, or copy it under another name where its numbers are a trend"),
    (sim(formula='y ~ x + (x | a) + (1 | b)', simulate={'groups': {'a': 10, 'b': 8}}, replicates=4, calibration=True, engines={'pymc': {'priors': {'fixed': 'normal(0, 1)', 'sigma': 'half_normal(1)', 'sd': {'a': 'half_normal(1)'}}}}), "studies.s.engines.pymc.priors.sd.b.Intercept: 'auto' is scaled by data that calibration has yet to draw; expected a prior with numbers"),
    (own(formula='Reaction ~ 1 + (1 | Subject) + (1 | Days)', engines={'pymc': {'sampler': 'full'}}), "studies.s.engines.pymc.sampler: 'full': is for one grouping factor, not Subject, Days; expected auto, importance or nuts"),
    (sim(engines={'pymc': {'sampler': 'importance', 'model': 'full'}}), "studies.s.engines.pymc.sampler: 'importance': contradicts model: full; expected one of the two keys"),
    (sim(engines={'pymc': {'priors': {'sd': {'g': {'x': 'flat'}}}}}), "studies.s.engines.pymc.priors.sd.g: {'x': 'flat'}: a mapping by factor is for several grouping factors; expected a prior"),
    (sim(tittle='x'), "studies.s.tittle: unknown key; did you mean 'title'? expected one of: title, aims, rationale, formula, data, truth, simulate, designs, missing, missing_values, csv, rank_deficient, weights, predict, engines, effects, models, loo, labels, conf_level, on_failed_gate, replicates, search, replicates_per_job, record, simulate_from, bootstrap, calibration"),
    (drawn(row=3), "studies.s.simulate.row: unknown key; did you mean 'rows'? expected one of: generator, seed, address, groups, rows, rows_per_group, fixed, sd, corr, sigma, predictors, random_effects, errors"),
    (sim(**{'a\nb\x1b': 1}), r'studies.s.a\nb\x1b: unknown key; expected'),
    (sim(engines={'stan': {}}), 'studies.s.engines.stan: unknown key; expected one of: ols, mixedlm, reml, pymc'),
    (sim(engines={'ols': 3}), 'studies.s.engines.ols: 3: expected a mapping without keys: {}'),
    (sim(engines={'reml': {'df': 'kenward'}}), "studies.s.engines.reml.df: 'kenward': expected 'satterthwaite', 'kenward-roger' or 'normal' or a list"),
    (sim(engines={'reml': {'df': []}}), "studies.s.engines.reml.df: []: expected satterthwaite, kenward-roger or normal, or a list of them"),
    (sim(replicates=2, engines={'reml': {'df': ['normal', 'normal']}}), "studies.s.engines.reml.df: normal, normal: one is there twice; expected each once"),
    (sim(engines={'reml': {'df': ['normal', 'satterthwaite']}}), "studies.s.engines.reml.df: a list is for a study with `replicates`; expected one of satterthwaite, kenward-roger or normal"),
    (sim(engines={'reml': {'df': 'kenward-roger', 'method': 'ml'}}), "studies.s.engines.reml.df: kenward-roger adjusts REML's fits, and method is ml; expected satterthwaite or normal"),
    (sim(effects=[{'by': 'x'}]), "studies.s.effects.0: expected one of means and slopes"),
    (sim(labels={'X': 'caffeine'}), "studies.s.labels.X: no column of the formula; did you mean 'x'? expected one of: y, x, g"),
    (sim(effects=[{'slopes': 'x'}, {'means': 'w'}]), "studies.s.effects.1: 'w' is not a predictor"),
    (sim(effects=[{'slopes': 'x', 'contrasts': {'a': [1, -1]}, 'adjust': 'tukey'}]), "studies.s.effects.0.adjust: tukey is for pairwise contrasts; expected holm, bonferroni or none"),
    (sim(effects=[{'slopes': 'x'}], replicates=2), "studies.s.effects: is for a study without `replicates`; expected one of the two"),
    (own(formula='Reaction ~ 1 + (1 | Subject) + (1 | Days)', loo='Day'), "studies.s.loo: 'Day': no grouping factor; expected one of Subject, Days"),
    (sim(bootstrap=10), "studies.s.bootstrap: 10: data sets of a bootstrap are for `models`; expected both or neither"),
    (sim(models={'a': 'y ~ x + (1 | g)', 'b': 'y ~ 1 + (1 | g)'}, replicates=2), "studies.s.models: is for a study without `replicates`; expected one of the two"),
    (sim(models={'a': 'y ~ x + (1 | g)', 'no slope': 'y ~ 1 + (1 | g)'}), "studies.s.models.no slope: 'no slope': expected a name of letters, digits, _, . and -"),
    (sim(simulate={'address': {'design': 'x', 'replicate': 1}}), "studies.s.simulate.address.design: 'x': expected a design's key: 12 of the digits 0-9 and a-f"),
    (sim(models={'a': 'y ~ x + (1 | g)', 'b': 'np.log(y) ~ x + (1 | g)'}), "studies.s.models.b: 'np.log(y) ~ x + (1 | g)': response is 'np.log(y)'; expected the study's, 'y', or a function of its column: likelihoods, AIC and BIC of different data cannot be compared"),
    (sim(models={'a': 'y ~ x + (1 | g)', 'b': 'y ~ x + (1 | h)'}), "studies.s.models.b: 'y ~ x + (1 | h)': 'h' is no grouping factor of the study; expected g"),
    (sim(formula='y | weights(w) ~ x + (1 | g)'), "studies.s.weights: 'w': is for a study with `data` and no `replicates`; expected it without"),
    (own(formula='y | weights(w) ~ x + (1 | g)', engines={'pymc': {'model': 'full'}}), "studies.s.engines.pymc.model: 'full': has no weights; expected the marginal model"),
    (sim(models={'a': 'y ~ x + (1 | g)', 'b': 'y ~ w + (1 | g)'}), "studies.s.models.b: 'y ~ w + (1 | g)': 'w' is not a predictor that the study simulates"),
    (sim(title=3), 'studies.s.title: 3: expected text'),
    (sim(formula=None), 'studies.s.formula: is missing; expected a value'),
    (sim(conf_level=1), 'studies.s.conf_level: 1: expected at most 0.9999'),
    (sim(conf_level='high'), "studies.s.conf_level: 'high': expected a number"),
    (drawn(groups=1), 'studies.s.simulate.groups: 1: expected at least 2'),
    (drawn(groups='10'), "studies.s.simulate.groups: '10': expected a whole number without quotes"),
    (drawn(groups=2.5), 'studies.s.simulate.groups: 2.5: expected a whole number'),
    (drawn(seed=-1), 'studies.s.simulate.seed: -1: expected at least 0'),
    (drawn(seed=2 ** 31), 'studies.s.simulate.seed: 2147483648: expected less than 2147483648'),
    (drawn(sigma=float('inf')), 'studies.s.simulate.sigma: inf: expected a finite number'),
    (drawn(sigma='1e-3'), "studies.s.simulate.sigma: '1e-3': expected a number without quotes and with a point: 1.0e-3"),
    (drawn(generator='R'), "studies.s.simulate.generator: 'R': expected 'numpy' or 'r'"),
    (sim(on_failed_gate='stop'), "studies.s.on_failed_gate: 'stop': expected 'report' or 'error'"),
    (sim(calibration='yes'), "studies.s.calibration: 'yes': expected true or false"),
    (sim(data=None, engines={'pymc': {'chains': 1}}), 'studies.s.engines.pymc.chains: 1: expected at least 2'),
    (drawn(rows_per_group={'sizes': []}), 'studies.s.simulate.rows_per_group.sizes: []: expected at least 1 entry'),
    (drawn(rows_per_group={'sizes': [2] * 100_001}), "studies.s.simulate.rows_per_group.sizes: 100,001 sizes: expected at most 100,000, for a longer list takes minutes to read; a shorter one is repeated over the groups, or {poisson: m}"),
    (drawn(rows_per_group={'mean': 3}), "studies.s.simulate.rows_per_group: {'mean': 3}: expected a whole number or a mapping with sizes or a mapping with poisson"),
    (drawn(rows_per_group={'poisson': 0}), 'studies.s.simulate.rows_per_group.poisson: 0: expected more than 0'),
    (drawn(predictors={'x': 'gamma'}), "studies.s.simulate.predictors.x: 'gamma': expected a predictor: normal, uniform, binary, sequence"),
    (drawn(predictors={'x': {'bnary': 0.5}}), "studies.s.simulate.predictors.x: 'bnary': unknown key; did you mean 'binary'? expected one of: normal, uniform, binary, sequence, latin_square, distribution, mean, sd, low, high, p, start, step, conditions, between"),
    (drawn(predictors={'x': {'normal': {}, 'binary': 0.5}}), 'studies.s.simulate.predictors.x: normal, binary: expected one of them'),
    (drawn(predictors={'x': {'normal': 3}}), "studies.s.simulate.predictors.x: 'normal: 3': expected a mapping such as {normal: {}}"),
    (drawn(predictors={'x': {'uniform': {'low': 2, 'high': 1}}}), 'studies.s.simulate.predictors.x: low 2, high 1: expected low < high'),
    (drawn(predictors={'x': {'sequence': {}, 'between': True}}), 'studies.s.simulate.predictors.x: a sequence runs within groups; expected between: false'),
    (drawn(predictors={'x': {'sequence': {'step': 0}}}), 'studies.s.simulate.predictors.x: step 0 makes a constant; expected another number'),
    (drawn(predictors={'x': {'binary': 1.5}}), 'studies.s.simulate.predictors.x: 1.5: expected less than 1'),
    (drawn(errors='cauchy'), "studies.s.simulate.errors: 'cauchy': expected a distribution: normal, student, skewed"),
    (drawn(errors={'student': 2}), 'studies.s.simulate.errors: 2: expected more than 2'),
    (drawn(rows=100), 'studies.s.simulate: rows 100 and rows_per_group: expected one of the two'),
    (None, "studies.s.formula: the study is None; expected a mapping with the key 'formula'"),
    ({'formula': 'y ~ x + (x | g)'}, 'studies.s.data: the study has neither `data` nor `simulate`; expected one of the two'),
    (sim(data='d.csv'), 'studies.s.data: the study has `data` and `simulate`; expected one of the two'),
    (sim(simulate=3), 'studies.s.simulate: 3: expected a mapping'),
    (sim(designs=3, replicates=3), 'studies.s.designs: 3: expected a list of mappings, each with keys of `simulate`'),
    (sim(designs=[{'groups': 3}]), 'studies.s.designs: a table of designs needs `replicates`; expected both or neither'),
    (rep(simulate={'groups': [10, 10]}), "studies.s.simulate: the design {'groups': 10} appears twice; expected distinct designs"),
    (drawn(groups=[10, 20]), 'studies.s.simulate.groups: [10, 20]: a list crosses into designs; expected one value, or `replicates`'),
    (rep(simulate={'seed': [1, 2]}), 'studies.s.simulate.seed: [1, 2]: expected one value for all designs'),
    (rep(simulate={'groups': []}), 'studies.s.simulate.groups: []: expected at least one value'),
    (rep(simulate={'groups': list(range(2, 203)), 'sigma': [0.1 * k for k in range(1, 52)]}), 'studies.s.simulate: crosses into 10251 designs; expected at most 10000'),
    (rep(designs=[3]), 'studies.s.designs.0: 3: expected a mapping of keys of `simulate`'),
    ({'formula': 'y ~ x + (1|g)', 'data': 'nowhere/*.csv'}, "studies.s.data: 'nowhere/*.csv': no such file; expected CSV, TSV or Parquet files in "),
    ({'formula': 'y ~ x + (1|g)', 'data': 'config/data'}, "studies.s.data: 'config/data' is a directory; expected files, such as 'config/data/*.csv'"),
    ({'formula': 'y ~ x + (1|g)', 'data': []}, 'studies.s.data: []: expected at least one file'),
    (own(predict='new.csv'), "studies.s.predict: 'new.csv': no such file; expected new rows as CSV, TSV or Parquet"),
    (sim(engines={}), 'studies.s.engines: none is listed; expected some of ols, mixedlm, reml, pymc'),
    (sim(engines={'reml': {'formula': 'y ~ x + z + (x | g)'}}), "studies.s.engines.reml.formula: 'y ~ x + z + (x | g)': fixed is '1 + x + z'; expected the study's, '1 + x' (an engine may change the random effects only)"),
    (sim(engines={'reml': {'formula': 'y ~ x + (z | g)'}}), "studies.s.engines.reml.formula: 'y ~ x + (z | g)': 'z' is not a predictor that the study simulates; expected one of: x"),
    (sim(engines={'pymc': {'priors': {'fixed': 'student_t(3, 0, 1)'}}}), "studies.s.engines.pymc.priors.fixed: 'student_t(3, 0, 1)': the marginal model integrates fixed effects out; expected flat, normal(mean, sd) or auto, or sampler: full"),
    (sim(engines={'pymc': {'priors': {'sd': {'z': 'half_normal(1)'}}}}), 'studies.s.engines.pymc.priors.sd.z: not a term of the formula; expected one of: Intercept, x'),
    (sim(engines={'pymc': {'priors': {'sd': 'normal(0, 1)'}}}), "studies.s.engines.pymc.priors.sd: 'normal(0, 1)': expected a prior for sd: auto, flat, uniform(low, high), half_normal(sd), half_student_t(df, scale), half_cauchy(scale), exponential(rate)"),
    (sim(engines={'pymc': {'priors': {'sd': 'half_normal(a)'}}}), "studies.s.engines.pymc.priors.sd: 'half_normal(a)': expected numbers as in half_normal(sd)"),
    (sim(engines={'pymc': {'priors': {'sd': 'half_normal(1, 2)'}}}), "studies.s.engines.pymc.priors.sd: 'half_normal(1, 2)': expected half_normal(sd) with finite numbers"),
    (sim(engines={'pymc': {'priors': {'sd': 'half_normal(0)'}}}), "studies.s.engines.pymc.priors.sd: 'half_normal(0)': sd is 0; expected more than 0"),
    (sim(engines={'pymc': {'priors': {'sd': 'uniform(3, 2)'}}}), "studies.s.engines.pymc.priors.sd: 'uniform(3, 2)': expected low < high"),
    (sim(engines={'pymc': {'priors': {'sd': 'uniform(-1, 2)'}}}), "studies.s.engines.pymc.priors.sd: 'uniform(-1, 2)': low is -1; expected at least 0, as standard deviations are"),
    (own(csv={'delimiter': ';;'}), "studies.s.csv.delimiter: ';;': expected one sign such as \",\" \";\" \"|\" or a tab"),
    (own(csv={'encoding': 'klingon'}), "studies.s.csv.encoding: 'klingon': no encoding that is known; expected utf-8, utf-16, latin-1 or another that Python has"),
    (own(csv={'decimal': ';'}), "studies.s.csv.decimal: ';': expected '.' or ','"),
    (own(missing_values='.'), "studies.s.missing_values: '.': expected a list"),
    (own(missing_values=[True]), "studies.s.missing_values.0: true: expected text"),
    (own(rank_deficient='keep'), "studies.s.rank_deficient: 'keep': expected 'drop' or 'error'"),
    (rep(calibration=True, engines={'pymc': {'priors': PROPER | {'fixed': 'flat'}}}), "studies.s.engines.pymc.priors.fixed: 'flat' is improper; calibration draws from it, expected a proper prior"),
    (rep(calibration=True, engines={'pymc': {'priors': PROPER | {'sd': 'auto'}}}), "studies.s.engines.pymc.priors.sd: 'auto' is scaled by data that calibration has yet to draw; expected a prior with numbers"),
    (sim(aims='To plan.'), 'studies.s.aims: is of the plan of a study with `replicates`; expected both or neither'),
    (sim(rationale={'data': 'A pilot.'}), 'studies.s.rationale: is of the plan of a study with `replicates`; expected both or neither'),
    (sim(calibration=True), 'studies.s.calibration: true: is for a study with `replicates`; expected both or neither'),
    (sim(bootstrap='reml'), 'studies.s.bootstrap: reml: is for a study with `replicates`; expected both or neither'),
    (sim(simulate_from='moments'), 'studies.s.simulate_from: moments: is for a study with `replicates`; expected both or neither'),
    (rep(calibration=True, engines={'ols': {}}), 'studies.s.calibration: true: calibration is of the pymc engine; expected pymc under engines'),
    (rep(bootstrap='reml'), "studies.s.bootstrap: 'reml': is for a study with `data`; expected it without `simulate`"),
    (own(replicates=5, bootstrap='reml', calibration=True), "studies.s.bootstrap: 'reml': calibration with `data` draws from the posterior; expected posterior"),
    (own(replicates=5, bootstrap='posterior', engines={'reml': {}}), "studies.s.bootstrap: 'posterior': is of the pymc engine; expected pymc under engines"),
    (rep(engines={'pymc': {'model': 'full'}}), "studies.s.engines.pymc.model: 'full': replicates are fitted with the marginal model; expected it here"),
    (own(replicates=5, engines={'mixedlm': {}}), 'studies.s.engines.mixedlm: needs rows, and replicates of own data are drawn as moments; expected others'),
    (own(replicates=5, simulate_from='rows'), "studies.s.simulate_from: 'rows': replicates of own data are drawn as moments; expected moments"),
    (rep(simulate_from='moments', simulate={'errors': 'student'}), "studies.s.simulate_from: 'moments': errors that are not normal need rows; expected rows"),
    (rep(simulate_from='moments', simulate={'generator': 'r', 'rows': 50}), "studies.s.simulate_from: 'moments': generator 'r' draws rows; expected rows"),
    (rep(simulate_from='moments', engines={'mixedlm': {}}), "studies.s.simulate_from: 'moments': mixedlm needs rows; expected rows, or engines without mixedlm"),
    (sim(record='sums'), "studies.s.record: 'sums': is for a study with `replicates`; expected both or neither"),
    (rep(replicates={'until': {'measure': 'coverage', 'mcse': 0.01, 'engine': 'lme4'}}), "studies.s.replicates.until.engine: not an engine of the study; expected one of: ols, mixedlm, reml, pymc"),
    (rep(replicates={'until': {'measure': 'coverage', 'mcse': 0.01}}, calibration=True), "studies.s.replicates.until: calibration needs the replicates that it needs; expected a number"),
    (rep(replicates={'until': {'measure': 'coverage', 'mcse': 0}}), "studies.s.replicates.until.mcse: 0: expected more than 0"),
    (hunt(engine='pymc'), "studies.s.search.engine: 'pymc': not an engine that a search can use (its replicates are compiled); expected one of: ols, reml"),
    (hunt({'engines': {'ols': {}, 'reml': {}}}), "studies.s.engines: ols, reml: a search fits reml alone; expected engines: {reml: {}}"),
    (hunt({'simulate': {'groups': 10}}), "studies.s.simulate.groups: the search varies it; expected no such key"),
    (hunt({'simulate': {'rows': 100}}), "studies.s.simulate.rows: spreads the same rows over more groups; expected no such key"),
    (hunt(vary=['groups', 'groups']), "studies.s.search.vary: groups, groups: one is there twice; expected each once"),
    (hunt(between={'groups': [5, 50]}), "studies.s.search.between: {'groups': [5, 50]}: expected bounds of groups: [10, 400]"),
    (hunt(vary=['groups', 'rows_per_group']), "studies.s.search.between: [5, 50]: expected bounds of groups and rows_per_group: {groups: [2, 100], rows_per_group: [2, 100]}"),
    (hunt(between=[50, 5]), "studies.s.search.between: [50, 5] for groups: expected the smaller bound, at least 2, and then the larger"),
    (hunt(between=[1, 50]), "studies.s.search.between: [1, 50] for groups: expected the smaller bound, at least 2, and then the larger"),
    (hunt(**BOTH | {'between': {'groups': [5, 50000], 'rows_per_group': [2, 900]}}), "studies.s.search.between: 44,946,404 designs; expected at most 1,000,000"),
    (hunt(**BOTH), "studies.s.search.cost: is missing; two dimensions need it; expected it with vary: [groups, rows_per_group]"),
    (hunt(cost='groups'), "studies.s.search.cost: is for two dimensions; expected it with vary: [groups, rows_per_group]"),
    (hunt(NO_SIZES, **BOTH, cost='100 - groups'), "studies.s.search.cost: '100 - groups': expected a positive cost that grows with groups and with rows_per_group"),
    (hunt(NO_SIZES, **BOTH, cost='2 * pupils'), "studies.s.search.cost: '2 * pupils': expected arithmetic of groups, rows_per_group, rows, such as 50 * groups + 2 * rows"),
    (hunt(vary='group'), "studies.s.search.vary: 'group': not what a search of this study can vary; did you mean 'groups'? expected one of: groups, rows_per_group"),
    (crossed_hunt(vary='groups'), "studies.s.search.vary: 'groups': not what a search of this study can vary; did you mean 'rows'? expected one of: g, h, rows_per_group, rows"),
    (crossed_hunt(vary=['rows', 'rows_per_group'], between={'rows': [50, 99], 'rows_per_group': [1, 9]}, cost='rows'), "studies.s.search.vary: rows and rows_per_group: both say how many rows there are; expected one of them"),
    (crossed_hunt({'groups': {'g': 9, 'h': 6}}), "studies.s.simulate.groups.g: the search varies it; expected no such key"),
    (crossed_hunt({'groups': {'h': 6, 'g': {'per': 'h', 'count': 2}}}), "studies.s.simulate.groups.g.count: the search varies it; expected no such key"),
    (crossed_hunt({'groups': {}}), "studies.s.simulate.groups.h: is missing; expected exactly g, h"),
    (crossed_hunt({'groups': 9}), "studies.s.simulate.groups: 9; expected levels by column, such as {g: 20, h: 20}"),
    (crossed_hunt({'groups': {}}, vary=['g', 'h'], between={'g': [5, 50], 'h': [4, 9]}, cost='groups'), "studies.s.search.cost: 'groups': expected arithmetic of g, h, rows, such as 50 * g + 2 * rows"),
    (crossed_hunt(measure='coverage', target=0.9, term='sd__Intercept'), "studies.s.search.term: 'sd__Intercept': not a parameter; did you mean 'sd__Intercept|h'? expected one of: Intercept, x, sd__Intercept|g, sd__Intercept|h, sd__Observation"),
    (hunt({'replicates': 5}), "studies.s.replicates: is for a study without `search`; expected one of the two"),
    (own(search={'vary': 'rows_per_group', 'between': [2, 9], 'term': 'Days'}), "studies.s.search.vary: rows_per_group: own data keep their groups' rows; expected vary: groups"),
    (hunt({'engines': {'reml': {'df': 'kenward-roger'}}}), "studies.s.search: the compiled path has no Kenward-Roger degrees of freedom; expected a study that it can fit"),
    (hunt(fixed={'x': [1.0 + k for k in range(20)]}), "studies.s.search.fixed: crosses into 20 scenarios; expected at most 12"),
    (hunt(fixed={'x': 0.0}), "studies.s.search.fixed.x: 0: there is no effect to detect; expected the smallest effect of interest"),
    (hunt({'simulate': {'rows_per_group': 5}}), "studies.s.simulate.fixed.x: 0: there is no effect to detect; expected the smallest effect of interest"),
    (hunt(measure='rmse'), "studies.s.search.target: is missing; expected the rmse to reach"),
    (hunt(measure='coverage', target=1.0), "studies.s.search.target: 1: coverage is a proportion; expected less than 1"),
    (hunt(target=0.04), "studies.s.search.target: 0.04: not more than the test's Type I error, 0.05; expected more"),
    (hunt(fixed={'z': 1.0}), "studies.s.search.fixed.z: not a fixed effect; expected one of: Intercept, x"),
    (hunt(term='z'), "studies.s.search.term: 'z': not a parameter; expected one of: Intercept, x, sd__Intercept, sd__x, cor__Intercept.x, sd__Observation"),
    (hunt(term='sd__x'), "studies.s.search.term: 'sd__x': power is of a fixed effect's test; expected one of Intercept, x"),
    (hunt(term='sd__x', measure='coverage', target=0.94, engine='ols'), "studies.s.search.term: 'sd__x': ols takes rows as independent, and it has no random effects; expected one of Intercept, x"),
    (hunt(term='sd__Observation', measure='rmse', target=0.1, engine='ols'), "studies.s.search.term: 'sd__Observation': ols takes rows as independent, and its residual SD is of another model; expected one of Intercept, x"),
    (rep(record='sums', engines={'pymc': {}}), "studies.s.record: 'sums': the compiled path has ols and reml, not pymc; expected full or auto"),
    (rep(record='parameters', engines={'reml': {'df': 'kenward-roger'}}), "studies.s.record: 'parameters': the compiled path has no Kenward-Roger degrees of freedom; expected full or auto"),
    (rep(record='parameters', engines={'reml': {'intervals': 'profile'}}), "studies.s.record: 'parameters': the compiled path has no profile intervals; expected full or auto"),
    (sim(formula='np.log(y) ~ x + (x | g)'), "studies.s.formula: response 'np.log(y)': expected a plain column in simulated data"),
    (sim(formula='y ~ C(x) + (1 | g)'), "studies.s.formula: 'x' is categorical; expected plain columns, since simulated predictors are numbers as they are"),
    (sim(formula='y ~ poly(x, 2) + (1 | g)'), "studies.s.formula: 'poly(x, 2)' is stateful; expected plain columns, since simulated predictors are numbers as they are"),
    (drawn(predictors={'z': 'normal'}), 'studies.s.simulate.predictors.z: not a predictor of the formula; expected one of: x'),
    (sim(formula='y ~ x + (1 | g)', simulate={'corr': 0.5}), 'studies.s.simulate.corr: 0.5: there is one random effect (Intercept); expected no correlation'),
    (sim(formula='y ~ x + z + (x + z | g)', simulate={'corr': 0.5}), 'studies.s.simulate.corr: 0.5: there are several pairs; expected a mapping such as {"Intercept.x": 0.5}'),
    (drawn(corr={'Intercept.z': 0.5}), "studies.s.simulate.corr.Intercept.z: not a pair of random effects; did you mean 'Intercept.x'? expected one of: Intercept.x"),
    (sim(formula='y ~ x + (x || g)', simulate={'corr': 0.5}), "studies.s.simulate.corr: 0.5: the formula makes 'Intercept' and 'x' independent; expected 0, or (... | g)"),
    (sim(formula='y ~ x + z + (x + z | g)', simulate={'corr': {'Intercept.x': 0.9, 'Intercept.z': 0.9, 'x.z': -0.9}}), "studies.s.simulate.corr: {'Intercept.x': 0.9, 'Intercept.z': 0.9, 'x.z': -0.9}: not positive semi-definite (smallest eigenvalue -0.8) for Intercept, x, z; expected correlations that can hold together"),
    (sim(simulate={'rows': 5, 'groups': 10}), 'studies.s.simulate.groups: 10 groups are more than 5 rows allow; expected at least one row per group'),
    (sim(simulate={'rows_per_group': {'sizes': [3, 4, 5]}, 'groups': 2}), 'studies.s.simulate.rows_per_group.sizes: 3 sizes for 2 groups; expected at most 2'),
    (drawn(rows_per_group=1), 'studies.s.simulate.rows_per_group: 1 row in every group: group and residual variance cannot be told apart; expected more'),
    (sim(formula='y ~ a * b * c + (1 | g)', simulate={'groups': 2, 'rows': 8}), 'studies.s.simulate: 8 rows for 8 fixed effects; expected more rows than fixed effects'),
    (sim(formula='y ~ x + (1 | g)', simulate={'generator': 'r', 'rows': 50}), "studies.s.simulate.generator: 'r' draws y ~ x + (x | group) with one predictor; expected numpy for 'y ~ x + (1 | g)'"),
    (sim(simulate={'generator': 'r'}), "studies.s.simulate.rows: is missing; expected a number, since generator 'r' spreads rows at random"),
    (post(corr=0.5), "studies.s.simulate.corr: 0.5: generator 'r' draws independent effects; expected 0, or numpy"),
    (post(errors='student'), "studies.s.simulate.generator: 'r' draws normal effects and errors; expected numpy for others"),
    (post(predictors={'x': 'uniform'}), "studies.s.simulate.generator: 'r' draws a normal predictor for each row; expected numpy for others"),
    (drawn(fixed={'z': 1}), 'studies.s.simulate.fixed.z: not a term of the formula; expected one of: Intercept, x'),
    (drawn(sd={'x': 1}), 'studies.s.simulate.sd.Intercept: is missing; expected exactly Intercept, x'),
    (sim(formula='y ~ x + (x |'), "studies.s.formula: 'y ~ x + (x |': '(' is never closed; expected its other half after it"),
]  # fmt: skip

FORMULAS = [
    (' ', "formula: ' ': expected a formula such as 'y ~ x + (x | group)'"),
    ('y', "formula: 'y': expected one '~' between response and predictors, as in 'y ~ x + (x | group)'"),
    ('y ~ 0 + (1 | g)', "formula: 'y ~ 0 + (1 | g)': no fixed effect is left; keep the intercept or add a predictor"),
    ('y ~ x + (1 | g + h)', "formula: 'y ~ x + (1 | g + h)': (1 | g + h): 'g + h' is no grouping factor; write (1 | g) + (1 | h), or g:h"),
    ('y ~ x + (1 | )', "formula: 'y ~ x + (1 | )': (1 |): nothing stands right of '|'; expected a grouping factor"),
    ('y ~ g + (1 | g)', "formula: 'y ~ g + (1 | g)': the grouping factor 'g' is also a predictor, which would explain all that its groups differ in; drop one of the two, or copy it under another name where its numbers are a trend"),
    ('y ~ y + (1 | g)', "formula: 'y ~ y + (1 | g)': the response 'y' is also on the right-hand side; expected it left only"),
    ('y ~ x + + (1 | g)', "formula: 'y ~ x + + (1 | g)': '+' is followed by '+'; expected a term between them"),
    ('y ~ x +', "formula: 'y ~ x +': nothing follows '+'; expected a term"),
    ('y ~ x | g', "formula: 'y ~ x | g': random effects need brackets: write (x | group)"),
    ('y ~ x - (1 | g)', "formula: 'y ~ x - (1 | g)': (1 | g) cannot be subtracted; leave it out"),
    ('y ~ x * (1 | g)', "formula: 'y ~ x * (1 | g)': 'x * (1 | g)': a random term stands alone, added with '+'"),
    ('y ~ x', "formula: 'y ~ x': no random effects; add a term such as (1 | group)"),
    ('~ x + (1 | g)', "formula: '~ x + (1 | g)': the response is missing left of '~'; expected a column"),
    ('y | w ~ x + (1 | g)', "formula: 'y | w ~ x + (1 | g)': 'w': expected y | weights(column) left of '~'"),
    ('y + z ~ x + (1 | g)', "formula: 'y + z ~ x + (1 | g)': response 'y + z': expected one column or a function of it: np.log(y), I(y / 2)"),
    ('C(y) ~ x + (1 | g)', "formula: 'C(y) ~ x + (1 | g)': response 'C(y)': expected one number for each row, without C() or {}"),
    ('y ~ x y + (1 | g)', "formula: 'y ~ x y + (1 | g)': 'x y' does not parse; expected columns by name ('.' is not supported) and functions of them, joined by +, -, * or :"),
    ('y ~ x ** x + (1 | g)', "formula: 'y ~ x ** x + (1 | g)': 'x ** x' does not parse; expected columns by name ('.' is not supported) and functions of them, joined by +, -, * or :"),
    ('y ~ . + (1 | g)', "formula: 'y ~ . + (1 | g)': '.' does not parse; expected columns by name ('.' is not supported) and functions of them, joined by +, -, * or :"),
    ('y ~ 2:x + (1 | g)', "formula: 'y ~ 2:x + (1 | g)': '2': expected a column or a function of columns"),
    ('y ~ I(2) + (1 | g)', "formula: 'y ~ I(2) + (1 | g)': 'I(2)': expected a function of columns"),
    ('y ~ x + (1 | g | h)', "formula: 'y ~ x + (1 | g | h)': (1 | g | h): expected one '|' or '||'"),
    ('y ~ x + ( | g)', "formula: 'y ~ x + ( | g)': (| g): nothing stands left of '|'; write (1 | group)"),
    ('y ~ x + (1 | a/a)', "formula: 'y ~ x + (1 | a/a)': (1 | a/a): 'a' is nested in itself; expected different factors"),
    ('y ~ x + (1 | a:b) + (x | b:a)', "formula: 'y ~ x + (1 | a:b) + (x | b:a)': 'b:a' and 'a:b' are the same grouping factor; expected one"),
    ('y ~ x + (1 | a:`b:c`) + (1 | `a:b`:c)', "formula: 'y ~ x + (1 | a:`b:c`) + (1 | `a:b`:c)': two grouping factors are called 'a:b:c'; expected no ':' in names of columns"),
    ('y ~ x + (1 | 3)', "formula: 'y ~ x + (1 | 3)': (1 | 3): grouping factor '3': expected the name of a column"),
    ('y ~ x + (0 | g)', "formula: 'y ~ x + (0 | g)': (0 | ...): no random effect is left; expected 1, a predictor or both"),
    ('y ~ x + (x | g) + (1 | g)', "formula: 'y ~ x + (x | g) + (1 | g)': the random intercept of 'g' appears twice; write (1 | g) + (0 + x | g) or (x || g) for independent effects, (x | g) for correlated ones"),
    ('y ~ x + (x | g) + (0 + x | g)', "formula: 'y ~ x + (x | g) + (0 + x | g)': the random effect of 'x' of 'g' appears twice; write (1 | g) + (0 + x | g) or (x || g) for independent effects, (x | g) for correlated ones"),
    ('y ~ I(x +) + (1 | g)', "formula: 'y ~ I(x +) + (1 | g)': 'I(x +)' does not parse; expected columns by name ('.' is not supported) and functions of them, joined by +, -, * or :"),
    ('y ~ I(offset(x)) + (1 | g)', "formula: 'y ~ I(offset(x)) + (1 | g)': an offset stands alone; write y ~ x + offset(column) + (x | group)"),
    ('y ~ x - offset(z) + (1 | g)', "formula: 'y ~ x - offset(z) + (1 | g)': offset(z) cannot be subtracted; expected it added: its column with the other sign"),
    ('y | weights(g) ~ x + (1 | g)', "formula: 'y | weights(g) ~ x + (1 | g)': 'g' is also the response or a grouping factor; expected another column"),
    ('y ~ weights(x) + (1 | g)', "formula: 'y ~ weights(x) + (1 | g)': weights stand left of '~'; write y | weights(column) ~ x + (x | group)"),
    ('y ~ np.sort(x) + (1 | g)', "formula: 'y ~ np.sort(x) + (1 | g)': unknown function 'np.sort'; expected np.<elementwise function> or one of C, I, as_date, bs, cc, center, cr, cs, exp, exp10, exp2, log, log10, log2, poly, scale, standardize"),
    ('y ~ x %in% z + (1 | g)', "formula: 'y ~ x %in% z + (1 | g)': 'x %in% z': operators such as %in% are not read; write x:z for a %in% term"),
    ('y ~ Intercept + (1 | g)', "formula: 'y ~ Intercept + (1 | g)': a predictor called 'Intercept' is not told from the intercept; expected another name"),
    ("y ~ C(x, levels=['u', 'v']) + (1 | g)", "formula: 'y ~ C(x, levels=['u', 'v']) + (1 | g)': 'C(x, levels=['u', 'v'])': other levels would count as the reference; write contr.treatment('level') to choose it"),
    ('y ~ I(x^2) + (1 | g)', "formula: 'y ~ I(x^2) + (1 | g)': ^ is not a power inside a function; write ** as in I(x ** 2)"),
    ('y ~ I(x & 2) + (1 | g)', "formula: 'y ~ I(x & 2) + (1 | g)': 'x & 2': expected arithmetic on columns"),
    ('y ~ as_date(x + 1) + (1 | g)', "formula: 'y ~ as_date(x + 1) + (1 | g)': 'as_date(x + 1)': expected the name of a column in as_date(...)"),
    ('y ~ as_date(x, 1) + (1 | g)', "formula: 'y ~ as_date(x, 1) + (1 | g)': 'as_date(x, 1)': expected the name of a column and nothing else"),
    ('y ~ x + as_date(x) + (1 | g)', "formula: 'y ~ x + as_date(x) + (1 | g)': 'x' is a date in as_date(...) and stands without it elsewhere; write as_date(...) everywhere"),
    ('y ~ sqrt(x) + (1 | g)', "formula: 'y ~ sqrt(x) + (1 | g)': unknown function 'sqrt'; write np.sqrt(...)"),
    ('y ~ C(x + 1) + (1 | g)', "formula: 'y ~ C(x + 1) + (1 | g)': 'C(x + 1)': expected the name of a column in C(...)"),
    ('y ~ I([a for a in x]) + (1 | g)', "formula: 'y ~ I([a for a in x]) + (1 | g)': '[a for a in x]': expected arithmetic on columns"),
    ('y ~ x) + (1 | g)', "formula: 'y ~ x) + (1 | g)': ')' closes nothing; expected its other half before it"),
    ('y ~ x + - z + (1 | g)', "formula: 'y ~ x + - z + (1 | g)': '+' is followed by '-'; expected a term between them"),
    ('y ~ x + (1 | g', "formula: 'y ~ x + (1 | g': '(' is never closed; expected its other half after it"),
    ('y ~ `x + (1 | g)', "formula: 'y ~ `x + (1 | g)': '`' is never closed; expected its other half after it"),
    ('y ~ I(x.z) + (1 | g)', "formula: 'y ~ I(x.z) + (1 | g)': 'x.z': expected the name of a column (in backticks if it has a dot)"),
    ('y ~ {x +} + (1|g)', "formula: 'y ~ {x +} + (1|g)': '{x +}' does not parse; expected columns by name ('.' is not supported) and functions of them, joined by +, -, * or :"),
]  # fmt: skip

FILES = [
    ({'d.csv': ''}, '<tmp>/d.csv: is empty (0 bytes), expected a header and rows'),
    ({'d.csv': '\n1,2,a\n'}, "<tmp>/d.csv: its first line is blank, expected a header with the columns' names"),
    ({'d.csv': 'y,x,g\n'}, '<tmp>/d.csv: has a header and no rows, expected rows'),
    ({'d.csv': 'y,x,g,x\n1,2,a,3\n'}, "<tmp>/d.csv: column 'x': twice in the header, expected every name once"),
    ({'d.csv': 'y,X,g\n1,2,a\n'}, "<tmp>/d.csv: column 'x': not there, expected one of the columns y, X, g; did you mean 'X'?"),
    ({'d.csv': 'y,x,g,X\n1,2,a,3\n'}, "<tmp>/d.csv: column 'x': 'X' differs from it in case only, expected distinct names"),
    ({'d.csv': 'y,x,g\n1,\u00e9,a\n'.encode() + b'2,caf\xe9,a\n'}, "<tmp>/d.csv: cannot be read: byte 0xe9 in line 3 is not UTF-8, other characters are; expected one encoding in the whole file, or `csv: {encoding: latin-1}`"),
    ({'d.csv': b'y,x,g\n1,\0,a\n'}, "<tmp>/d.csv: cannot be read: it has bytes that are not text, expected text in UTF-8"),
    ({'d.csv.gz': b'y,x,g\n1,2,a\n'}, "<tmp>/d.csv.gz: cannot be read: Not a gzipped file (b'y,'), expected CSV text"),
    ({'a.csv': 'y;x;g\n1,5;2,5;a\n', 'b.csv': 'y;x;g\n1.5;2.5;a\n'}, "<tmp>/b.csv: numbers with decimal points, expected decimal commas as in <tmp>/a.csv, or `csv: {decimal: ...}` for all files"),
    ({'d.parquet': 'y,x,g\n1,2,a\n'}, '<tmp>/d.parquet: cannot be read as Parquet: Parquet magic bytes not found in footer. Either the file is corrupted or this is not a parquet file., expected a Parquet file'),
    ({'d.xlsx': 'y,x,g\n1,2,a\n'}, '<tmp>/d.xlsx: unknown file suffix, expected one of .csv, .csv.gz, .tsv, .tsv.gz, .parquet, .pq'),
    ({'d.csv': 'y,x,g\n1,2\n3,4,a\n'}, '<tmp>/d.csv: cannot be read: Invalid Input Error: CSV Error on Line: 2; Original Line: 1,2; Expected Number of Columns: 3 Found: 2, expected CSV in UTF-8, the same columns in every row'),
    ({'d.csv': 'y,x,g\n1,,a\n2,NA,a\n3,4,b\n,4,b\n'}, "<tmp>/d.csv: column 'y': missing in 1 of 4 rows, first in row 4, 2 in column 'x'; expected none, or `missing: drop` to leave out such rows"),
    ({'d.csv': 'y,x,g\n1,1,a\ntwo,2,a\n3,4,b\n'}, "<tmp>/d.csv: column 'y': 'two' in row 2 is text, expected the response to be numbers"),
    ({'d.csv': 'y,x,g\n1,1,a\n2,<0.5,a\n3,4,b\n'}, "<tmp>/d.csv: column 'x': '<0.5' in row 2 is text, expected a number as in the other rows, or C(x) if its values are categories, or `missing_values: [\"<0.5\"]` if it means missing"),
    ({'d.csv': 'y,x,g\n1,1,a\n.,2,a\n3,4,b\n'}, "<tmp>/d.csv: column 'y': '.' in row 2 is text, expected the response to be numbers, or `missing_values: [\".\"]` if it means missing"),
    ({'d.csv': 'y,x,g\n1,2024-01-31,a\n2,2024-02-01,a\n3,2024-02-02,b\n'}, "<tmp>/d.csv: column 'x': '2024-01-31' in row 1 is a date, expected a number: as_date(x) is the number of days since 1970-01-01; or C(x) if dates are categories"),
    ({'d.csv': 'y,x,g\n31/1/2024,1,a\n1/2/2024,2,a\n2/2/2024,3,b\n'}, "<tmp>/d.csv: column 'y': '31/1/2024' in row 1 is a date, expected a number: where dates are written as 2024-01-31, as_date(y) is the number of days since 1970-01-01; or C(y) if dates are categories"),
    ({'d.csv': 'y,x,g\n1,1,a\n2,inf,a\n3,4,b\n'}, "<tmp>/d.csv: column 'x': inf in row 2 (1 infinite), expected finite numbers"),
    ({'d.csv': 'y,x,g\n1,7,a\n2,7,a\n3,7,b\n'}, "<tmp>/d.csv: column 'x': 7 in every row, expected a predictor with at least two values"),
    ({'d.csv': 'y,x,g\n1,u,a\n2,u,a\n3,u,b\n'}, "<tmp>/d.csv: column 'x': 'u' in every row, expected a predictor with two levels or more"),
    ({'d.csv': 'y,x,g\n1,1,a\n2,2,a\n3,4,a\n'}, "<tmp>/d.csv: column 'g': one level in all 3 rows, expected two levels or more"),
    ({'d.csv': 'y,x,g\n1,1,a\n2,2,b\n3,4,c\n'}, "<tmp>/d.csv: column 'g': only one row in each of 3 groups, expected groups of several rows: with single rows, group effects cannot be told from residuals"),
    ({'a.csv': 'y,x,g\n1,1,007\n2,2,007\n', 'b.csv': 'y,x,g\n3,4,8\n4,3,7\n'}, "<tmp>/a.csv: column 'g': '007' in row 1, but '8' in row 1 of <tmp>/b.csv; expected every group's name written in the same way in all files"),
    ({'a.csv': 'y,x,g\n1,2,a\n', 'b.tsv': 'y\tx\tg\n1\t2\ta\n'}, '<tmp>/b.tsv: is tsv, expected csv like <tmp>/a.csv: one format a study'),
    ({}, "data: '<tmp>/*': no such file, expected a CSV, TSV or Parquet file or a glob"),
    ({'sub/a.csv': 'y,x,g\n1,2,a\n'}, "data: '<tmp>/sub': a directory, expected files, for example <tmp>/sub/*.parquet"),
]  # fmt: skip


def provoke_files(files: dict, root: Path, formula: str = "y ~ x + (x | g)", drop: bool = False) -> None:
    """Write files, then inspect and scan them as a run does."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    parsed = parse(formula)
    keys, predictors = parsed.keys, parsed.predictors
    source = ingest.inspect([str(root / "*")], parsed.variables, keys, drop, predictors, dates=parsed.dates)
    ingest.scan(source, parsed)


def config(value) -> Callable:
    return lambda root: load(value, ROOT)


def files(content: dict, **options) -> Callable:
    return lambda root: provoke_files(content, root, **options)


def rows(**columns) -> pd.DataFrame:
    return pd.DataFrame({"y": [1.0, 2, 4, 3], "x": [0.5, 1, 2, 3], "g": list("aabb")} | columns)


def parquets(*frames: pd.DataFrame, columns=("y", "x", "g")) -> Callable:
    """Header of Parquet files that do not go together, or have a type that no model takes."""

    def provoke(root):
        for k, frame in enumerate(frames):
            frame.to_parquet(root / f"{k}.parquet")
        ingest.inspect(str(root / "*.parquet"), columns, "g")

    return provoke


def unreadable(root):
    (root / "d.csv").write_text("y,x,g\n1,2,a\n")
    with mock.patch("os.access", return_value=False):
        ingest.inspect(str(root / "d.csv"), ("y",), "g")


def to_predict(content: str, **columns) -> Callable:
    """A file of new rows held against the data's columns."""
    known = {"x": {"type": "numeric", "kind": "DOUBLE"}, "g": {"type": "group", "kind": "VARCHAR"}}

    def provoke(root):
        (root / "new.csv").write_text(content)
        new_rows.check(str(root / "new.csv"), parse(columns.pop("formula", "y ~ x + (x | g)")),
                       {"columns": known | columns})  # fmt: skip

    return provoke


def beyond_the_data(root):
    frame = many()[["y", "x", "g"]]
    described = {"x": {"type": "numeric", "kind": "DOUBLE", "min": 0.0, "max": 6.0}}
    rows = pd.DataFrame({"x": [1.0, 9.0], "g": ["g1", "new"]})
    new_rows.check_values(
        str(root / "new.csv"), build(parse("y ~ bs(x, df=4) + (1 | g)"), frame), rows, {"columns": described}
    )


def no_rows_to_predict(root):
    study = SimpleNamespace(
        data=(), settings=SimpleNamespace(predict="gone.csv", missing="error", plain=dict), name="s"
    )
    look(study, ["y ~ x + (x | g)"])


def names_to_predict(root):
    """Names of groups that are written otherwise than the data's."""
    (root / "d.csv").write_text("y,x,g\n1,1,001\n2,2,001\n4,3,x\n")
    formula = parse("y ~ x + (1 | g)")
    _, data = ingest.scan(ingest.inspect(str(root / "d.csv"), formula.variables, "g"), formula)
    (root / "new.csv").write_text("x,g\n1,1\n")
    new_rows.check(str(root / "new.csv"), formula, data)


def names_too_large(root):
    """Names of groups that are floating-point numbers which are not told apart."""
    rows(g=[2.0**53, 2.0**53, 1, 1]).to_parquet(root / "d.parquet")
    formula = parse("y ~ x + (1 | g)")
    ingest.scan(ingest.inspect(str(root / "d.parquet"), formula.variables, "g"), formula)


def files_of_dates(root, day):
    """A Parquet file whose x is in as_date(...)."""
    rows(x=day).to_parquet(root / "d.parquet")
    ingest.inspect(str(root / "d.parquet"), ("y", "x", "g"), "g", dates=("x",))


def stated_encoding(content: bytes, encoding: str) -> Callable:
    """A file in another encoding than the study states."""

    def provoke(root):
        (root / "d.csv").write_bytes(content)
        formula = parse("y ~ x + (1 | g)")
        source = ingest.inspect(
            str(root / "d.csv"), formula.variables, "g", stated=Reading(encoding=encoding)
        )
        ingest.scan(source, formula)

    return provoke


def configuration(content: bytes | str | None) -> Callable:
    """A configuration file with this content; a link with this target where it is text."""

    def provoke(root):
        if isinstance(content, str):
            (root / "c.yaml").symlink_to(content)
        elif content is not None:
            (root / "c.yaml").write_bytes(content)
        configurations.check(root / "c.yaml")

    return provoke


def linked(target: str, name: str = "l.csv") -> Callable:
    """A study whose data are a link."""

    def provoke(root):
        (root / "d.csv").write_text("y,x,g\n1,2,a\n")
        (root / name).symlink_to(target)
        load({"studies": {"s": OWN | {"data": str(root / name)}}}, ROOT)

    return provoke


def moments(formula: str, frame: pd.DataFrame):
    return of_rows(build(parse(formula), frame), frame)


def many() -> pd.DataFrame:
    """Enough rows for anything: z is twice x."""
    x = np.arange(24.0) % 7
    return pd.DataFrame(
        {"y": np.cos(np.arange(24.0)), "x": x, "z": 2 * x, "g": [f"g{k % 4}" for k in range(24)]}
    )


def alternating(rest: float = 1.0):
    """Groups of two rows, at x = 0 and 1, and a design with random slopes; without a rest, one of intercepts."""
    rows = pd.DataFrame(
        {
            "y": rest * np.cos(np.arange(24.0)),
            "x": np.arange(24.0) % 2,
            "g": [f"g{k // 2}" for k in range(24)],
        }
    )
    rows["y"] += np.arange(24) // 2
    return build(parse("y ~ x + (x | g)" if rest else "y ~ x + (1 | g)"), rows), rows


def large_remainder(root):
    """Three factors, and a limit that a test can reach."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "y": rng.normal(size=200),
            **{c: rng.integers(0, n, 200) for c, n in zip("ghi", (12, 12, 20), strict=True)},
        }
    )
    found = moments("y ~ (1 | g) + (1 | h) + (1 | i)", frame)
    with mock.patch.object(several_places, "LARGEST", 3):
        several_places.check_size(found, [(("Intercept",),)] * 3)


def long_table(change) -> Callable:
    """The table of replicates, broken."""

    def provoke(root):
        table = made_replicates.table(np.random.default_rng(1), groups=(10,), rows=(5,), replicates=4)
        performance.performance(change(table))

    return provoke


def replayed(study: dict, replicate: int = 0, name: str = "s", design=None) -> Callable:
    return lambda root: replay.find(load({"studies": {"s": study}}, ROOT), name, replicate, design)


def engine_of_one_factor(root):
    """An engine of somebody else's that fits one grouping factor."""
    alone = replace(ENGINES["reml"], several=False)
    with mock.patch.dict(ENGINES, {"reml": alone}):
        formula = "Reaction ~ 1 + (1 | Subject) + (1 | Days)"
        load({"studies": {"s": OWN | {"formula": formula, "engines": {"reml": {}}}}}, ROOT)


def two_factors():
    """Moments of two crossed factors."""
    return moments("y ~ x + (1 | g) + (1 | h)", many().assign(h=np.arange(len(many())) % 3))


def posterior_replayed(root):
    """Posterior calibration whose intercept has a prior at the observed predictors' means."""
    source = SimpleNamespace(observed=moments("y ~ x + (x | g)", many()))
    terms = build(parse("y ~ x + (x | g)"), many()).terms
    replay_rows.priors_in_numbers({}, source, terms)


def truth_file(text: str, **changes) -> Callable:
    """A study of own data with a file of what they were simulated from."""

    def provoke(root):
        (root / "t.json").write_text(text)
        load({"studies": {"s": OWN | {"truth": str(root / "t.json")} | changes}}, ROOT)

    return provoke


def scripted(main: Callable, **job) -> Callable:
    """A script's frame around `main`; what it says on the console is what a user reads."""

    def provoke(root):
        said = []
        system = SimpleNamespace(
            dup=lambda fd: fd,
            dup2=lambda *fds: None,
            write=lambda fd, line: said.append(line.decode()),
            isatty=lambda fd: False,
            path=SimpleNamespace(
                sameopenfile=lambda *fds: False, **{n: getattr(os.path, n) for n in ("dirname", "commonpath")}
            ),
            environ={},
        )
        given = {
            "input": [],
            "output": [str(root / "o")],
            "log": [str(root / "log")],
            "wildcards": {"study": "s"},
        }
        with mock.patch.object(running.frame, "os", system), pytest.raises(SystemExit) as ended:
            running.frame.run(main, SimpleNamespace(**given | job))
        assert ended.value.code == 1
        raise Said(said[0].removesuffix("\n"))

    return provoke


class Said(Exception):
    """A line that a script put on the console."""


def failing(number: int) -> Callable:
    def main(job):
        raise OSError(number, os.strerror(number), str(Path(job.output[0])))

    return main


@contextmanager
def inside(root):
    before = Path.cwd()
    os.chdir(root)
    try:
        yield
    finally:
        os.chdir(before)


def half_an_input(root):
    (root / "results/s").mkdir(parents=True)
    (root / "results/s/moments.parquet").write_bytes(b"PAR1 and no more")
    with inside(root):
        scripted(lambda job: None, input=["results/s/moments.parquet"])(root)


def strict_verdict(root):
    gates = [{"name": "rhat_max", "value": 1.02, "limit": 1.01, "passed": False}]
    (root / "d.json").write_text(json.dumps({"status": "gate-failed", "gates": gates, "message": ""}))
    verdict({"s/pymc": str(root / "d.json")}, root)


def verdict(inputs: dict, root):
    """The script that makes an error of a bad fit."""
    job = SimpleNamespace(input=inputs, output=SimpleNamespace(verdict=str(root / "v")))
    with mock.patch.object(running.frame, "run", lambda main, job: main(job)):
        runpy.run_path(str(SCRIPTS / "check_verdict.py"), init_globals={"snakemake": job})


def strict_replicates(root):
    rows = [
        "a1,reml,ok,,998", "a1,reml,singular,,2", "a1,pymc,ok,,988", "a1,pymc,gate-failed,rhat 1.02,7",
        "a1,pymc,gate-failed,rhat 1.03,3", "a1,pymc,error,no memory,2", "b2,mixedlm,skipped,too many,1000",
        "b2,pymc,gate-failed,rhat 1.02,1000",
    ]  # fmt: skip
    (root / "f.csv").write_text("\n".join(["design,engine,status,message,count", *rows]) + "\n")
    verdict({"s/replicates": str(root / "f.csv"), "lib": [], "page": "p"}, root)


def proposed(frame: pd.DataFrame, **named) -> Callable:
    def provoke(root):
        frame.to_csv(root / "d.csv", index=False)
        model.propose(str(root / "d.csv"), **named)

    return provoke


def ragged(root):
    """A file whose third row has a column too few."""
    (root / "d.csv").write_text("y,x,g\n1,2,a\n3,4\n")
    model.propose(str(root / "d.csv"))


def new(name: str, data: str, out: str = "") -> Callable:
    def provoke(root):
        (root / "here.yaml").write_text("")
        with inside(root):
            new_study.write(name, data, out, "", "")

    return provoke


def printed(root, script: str = "", patience: float = 10.0):
    """Print with a browser that does as `script` says; with none where it is empty."""
    browser = root / "chromium"
    browser.write_text(f"#!/bin/sh\n{script}\n")
    browser.chmod(0o755)
    found = str(browser) if script else None
    with (
        mock.patch.object(printing, "browser", lambda: found),
        mock.patch.object(printing, "PATIENCE", patience),
    ):
        printing.pdf(root / "report.html", root / "report.pdf")


def finite(root):
    frame = rows(x=[0.0, 1, 2, 3])
    pilot.finite_matrix(build(parse("y ~ np.log(x) + (1 | g)"), frame), frame)


def not_finite_in_a_file(root):
    """Rows are counted in the file, those that are left out among them."""
    (root / "d.csv").write_text("y,x,g\n1,1,a\n2,,a\n3,0,b\n4,2,b\n5,3,b\n")
    formula = parse("y ~ np.log(x) + (1 | g)")
    source = ingest.inspect(str(root / "d.csv"), formula.variables, "g", drop=True)
    _, data = ingest.scan(source, formula)
    design = build(formula, data["columns"])
    of_sources(design, data)


def weights(root):
    frame = rows(x=[0.0, 1, 2, 3]).assign(w=[1.0, 2.0, -1.0, 0.0])
    build(parse("y | weights(w) ~ x + (1 | g)"), frame).weights(frame)


def steps(root):
    frame = rows(x=[0.0, 1, 2, 3])
    log_derivative(build(parse("np.floor(y / 3) ~ x + (1 | g)"), frame), frame)


def weights_in_a_file(root):
    (root / "d.csv").write_text("y,x,g,w\n1,1,a,1\n2,3,a,0\n3,0,b,1\n4,2,b,1\n")
    formula = parse("y | weights(w) ~ x + (1 | g)")
    ingest.scan(ingest.inspect(str(root / "d.csv"), formula.variables, "g"), formula)


def orders(*categories) -> Callable:
    """Parquet files whose categories stand in these orders; None: plain text."""

    def provoke(root):
        for k, order in enumerate(categories):
            values = pd.Categorical(list("uvuv"), order) if order else list("uvuv")
            rows(x=values).to_parquet(root / f"{k}.parquet")
        formula = parse("y ~ x + (1 | g)")
        ingest.scan(ingest.inspect(str(root / "*.parquet"), formula.variables, "g"), formula)

    return provoke


def singular_moments(root):
    broken = mock.Mock(n_rows=10)
    broken.ols.side_effect = np.linalg.LinAlgError
    ols.fit(["Intercept", "x"], moments=broken)


# what provokes it, and the message
def effect(request: Request):
    """A means or slopes request to a model with a factor and a number."""

    def ask(root):
        data = rows(f=list("uvuv"))
        columns = {"x": {"min": 0.5, "max": 3.0, "mean": 1.6, "sd": 1.1}}
        functions(ReferenceGrid(build(parse("y ~ f + x + (1 | g)"), data), columns, 4), request)

    return ask


def large_grid(root):
    names = [f"f{k}" for k in range(20)]
    data = pd.DataFrame({name: ["u", "v"] for name in names} | {"y": [0.0, 1.0], "g": ["a", "b"]})
    grid = ReferenceGrid(build(parse(f"y ~ {' + '.join(names)} + (1 | g)"), data), {}, 2)
    functions(grid, Request("means", ("f0",)))


OTHERS = {
    "frames: engine": (lambda root: frames.fit("y ~ x + (1 | g)", rows(), "lme4"), "engine: 'lme4'; expected one of ols, mixedlm, reml, pymc"),
    "frames: column": (lambda root: frames.fit("y ~ z + (1 | g)", rows()), "data: column 'z' is missing; expected y, z, g"),
    "frames: missing values": (lambda root: frames.fit("y ~ x + (1 | g)", rows(x=[1.0, None, 2, 3])), "data: column 'x' has 1 missing values; expected none"),
    "frames: setting": (lambda root: frames.fit("y ~ x + (1 | g)", rows(), "pymc", chain=2), "chain: unknown key; did you mean 'chains'? expected one of: "),
    "no configuration": (config({}), "config: {}: expected a mapping with the key 'studies'"),
    "unknown top key": (config({"studys": {}}), "studys: unknown key; did you mean 'studies'? expected one of: studies, report"),
    "no studies": (config({"studies": None}), "studies: None: expected at least one study, by its name"),
    "name": (config({"studies": {"A b": {}}}), "studies: study name 'A b': expected lower-case letters, digits, _ and - ([a-z0-9_-]+)"),
    "report": (config({"studies": {"s": SIM}, "report": {"titel": "x"}}), "report.titel: unknown key; did you mean 'title'? expected one of: title"),
    "no complete row": (files({"d.csv": "y,x,g\n1,,a\n2,NA,a\n"}, drop=True), "<tmp>/d.csv: 0 complete rows of 2, expected at least one"),
    "identifier": (files({"d.csv": "y,x,g\n" + "".join(f"{k},id{k},{k % 5}\n" for k in range(1001))}),
                   "<tmp>/d.csv: column 'x': text with more than 1000 levels, for example 'id0'; expected numbers or a categorical predictor with few levels"),
    "few rows per level": (files({"d.csv": "y,x,g\n" + "".join(f"{k},{k} cm,{k % 5}\n" for k in range(20))}),
                         "<tmp>/d.csv: column 'x': text with 20 levels in 20 rows, for example '0 cm'; expected numbers, a categorical predictor with few levels, or C(x) if its values are categories"),
    "decimal commas": (files({"d.csv": 'y,x,g\n1,"1,234",a\n2,"2,345",a\n3,"2,345",b\n4,"1,000",b\n'}),
                       "<tmp>/d.csv: column 'x': text such as '1,000', expected numbers with a decimal point and no other comma, or `csv: {decimal: \",\"}`, or C(x) if its values are categories"),
    "no date": (files({"d.csv": "y,x,g\n1,2024-01-31,a\n2,soon,a\n3,2024-02-02,b\n"}, formula="y ~ as_date(x) + (1 | g)"),
                "<tmp>/d.csv: column 'x': 'soon' in row 2 is not a date, expected dates such as 2024-01-31, or `missing_values: [\"soon\"]` if it means missing"),
    "zone": (lambda root: files_of_dates(root, pd.Timestamp("2024-01-31", tz="UTC")), "<tmp>/d.parquet: column 'x': its type is timestamp["),
    "new rows: date": (to_predict("x,g\n2024-01-31,a\nsoon,a\n", formula="y ~ as_date(x) + (1 | g)", x={"type": "numeric", "kind": "DAYS"}),
                       "<tmp>/new.csv: column 'x': 'soon' in row 2 is text, expected a date such as 2024-01-31 as in the data"),
    "encoding: stated": (stated_encoding(b"y,x,g\n1,\xe9,a\n", "ascii"), "<tmp>/d.csv: cannot be read: 'ascii' codec can't decode byte 0xe9 in position 8: ordinal not in range(128), expected text in ascii, as `csv: {encoding}` says"),
    "encoding: later": (stated_encoding(b"y,x,g\n" + b"1,a,a\n" * 200_000 + b"1,\xe9,a\n", "ascii"), "<tmp>/d.csv: cannot be read: 'ascii' codec can't decode byte 0xe9 in position "),
    "configuration file: none": (configuration(None), "<tmp>/c.yaml: cannot be read: No such file or directory; expected a configuration file"),
    "configuration file: Latin-1": (configuration("# Größe".encode("latin-1")), "<tmp>/c.yaml: byte 0xf6 in line 1 is not UTF-8, perhaps Latin-1; expected UTF-8: save it in that encoding"),
    "configuration file: UTF-16": (configuration("a: 1".encode("utf-16")), "<tmp>/c.yaml: is in UTF-16; expected UTF-8: save it in that encoding"),
    "configuration file: no YAML": (configuration(b"studies: {a: ["), "<tmp>/c.yaml: is not YAML: expected the node content, but found '<stream end>' in line 1, column 15; expected YAML or JSON"),
    "configuration file: no text": (configuration(b"studies: \0"), "<tmp>/c.yaml: is not YAML: unacceptable character #x0000: special characters are not allowed; expected YAML or JSON as text"),
    "configuration file: deep": (configuration(b"[" * 10_000 + b"]" * 10_000), "<tmp>/c.yaml: is nested too deeply or refers to itself; expected no more than 50 levels"),
    "configuration file: itself": (configuration(b"studies: &a {s: *a}"), "<tmp>/c.yaml: is nested too deeply or refers to itself; expected no more than 50 levels"),
    "configuration file: digits": (configuration(b"a: " + b"9" * 5000), "<tmp>/c.yaml: has a value that cannot be read: Exceeds the limit (4300 digits) for integer string conversion"),
    "configuration file: hexadecimal": (configuration(b"a: 0x" + b"f" * 5000), "<tmp>/c.yaml: has a value that cannot be read: a number of more than 1024 bits; expected another"),
    "configuration file: list": (configuration(b"- a"), "<tmp>/c.yaml: has no keys at its top: \"['a']\"; expected `studies:`"),
    "configuration file: loop": (configuration("c.yaml"), "<tmp>/c.yaml: is a link to 'c.yaml', which is not there or leads back to itself; expected a configuration file"),
    "configuration file: directory": (lambda root: configurations.check(root), "<tmp>: is a directory; expected a configuration file"),
    "data: broken link": (linked("gone.csv"), "studies.s.data: '<tmp>/l.csv': a link to a file that is not there, or to itself; expected a file"),
    "data: looping link": (linked("l.csv"), "studies.s.data: '<tmp>/l.csv': a link to a file that is not there, or to itself; expected a file"),
    "data: braces": (linked("d.csv", "{x}.csv"), "studies.s.data: '<tmp>/{x}.csv': Snakemake reads {...} as a wildcard; expected a path without braces"),
    "exact fit": (lambda root: checks.exact(moments("y ~ x + (1 | g)", many().assign(y=2 + 3 * many()["x"])), "y", ("Intercept", "x"), "d.csv"),
                  "d.csv: column 'y': fitted exactly by Intercept, x, expected a response that varies around the fixed effects"),
    "types": (parquets(rows(), rows(x=list("abcd"))), "<tmp>/1.parquet: column 'x': "),
    "a time": (parquets(rows(x=pd.Timestamp("2024-01-01"))), "<tmp>/0.parquet: column 'x': its type is timestamp["),
    "empty Parquet": (parquets(rows().iloc[:0]), "<tmp>/0.parquet: has no rows, expected rows"),
    "permission": (unreadable, "<tmp>/d.csv: cannot be read (permission denied), expected a readable file"),
    "new rows: missing": (to_predict("x,g\n1,a\n,a\n"), "<tmp>/new.csv: column 'x': missing in 1 of 2 rows, first in row 2; expected rows to predict without missing values"),
    "new rows: text": (to_predict("x,g\n1,a\noops,a\n"), "<tmp>/new.csv: column 'x': 'oops' in row 2 is text, expected a number as in the data"),
    "new rows: no value": (beyond_the_data, "<tmp>/new.csv: column 'x': 9 in row 2, where 'bs(x, df=4)' has no value; expected numbers like the data's, 0 to 6"),
    "new rows: level": (to_predict("x,g\nu,a\nw,a\n", x={"type": "categorical", "kind": "VARCHAR", "levels": ["u", "v"]}),
                        "<tmp>/new.csv: column 'x': 'w', expected one of the data's levels: u, v"),
    "new rows: fraction": (to_predict("x,g\n1,a\n1.5,a\n", formula="y ~ C(x) + (1 | g)", x={"type": "categorical", "kind": "BIGINT", "levels": [1, 2]}),
                           "<tmp>/new.csv: column 'x': 1.5 in row 2, expected a whole number as in the data"),
    "new rows: names": (names_to_predict, "<tmp>/new.csv: column 'g': '1' in row 1, where the data have numbers with leading zeros; expected every group's name written as in the data"),
    "names too large": (names_too_large, "<tmp>/d.parquet: column 'g': 9007199254740992 in row 1 as a floating-point number; expected numbers of that size as integers or text, to be told apart"),
    "weights of a file": (files({"d.csv": "y,x,g,w\n1,1,a,1\n2,2,a,0\n4,3,b,1\n"}, formula="y | weights(w) ~ x + (1 | g)"), "<tmp>/d.csv: column 'w': 0 in row 2, expected weights above 0"),
    "weights of a frame": (lambda root: build(parse("y | weights(w) ~ x + (1 | g)"), rows()).weights(rows(w=[1.0, 0, 1, 1])), "data: column 'w': 0, expected weights above 0"),
    "levels like terms": (lambda root: build(parse("y ~ f * h + (1 | g)"), {"f": "categorical", "h": "categorical"}, {"f": ["a", "u", "u]:h[T.v"], "h": ["a", "v"]}), "formula: 'f[T.u]:h[T.v]' is the name of two columns of the model, whose levels look like its terms; expected levels with other names"),
    "new rows: file": (no_rows_to_predict, "studies.s.predict: 'gone.csv': no such file; expected new rows as CSV, TSV or Parquet"),
    "column": (lambda root: build(parse("y ~ z + (1 | g)"), rows()), "formula: column 'z' is not there; expected one of: y, x, g"),
    "stateful": (lambda root: build(parse("y ~ poly(x, 2) + (1 | g)"), {"x": "numeric"}), "formula: 'poly(x, 2)' depends on all rows; expected a formula without it here"),
    "evaluation": (lambda root: build(parse("y ~ bs(x, df=1) + (1 | g)"), rows()), "formula: '1 + bs(x, df=1)' cannot be evaluated: "),
    "evaluation in a contrast": (lambda root: build(parse("y ~ C(x, contr.treatment('w')) + (1 | g)"), rows(x=list("uvuv"))),
                                 "formula: '1 + C(x, contr.treatment('w'))' cannot be evaluated: Value `'w'` for `TreatmentContrasts.base` is not among the provided levels.; expected another formula"),
    "levels": (lambda root: build(parse("y ~ C(x) + (1 | g)"), rows(x=[1, 1, 1, 1])), "formula: categorical predictor 'x' has levels [1]; expected at least two"),
    "a level that is not known": (lambda root: build(parse("y ~ x + (1 | g)"), rows(x=list("uvuv"))).predictors(rows(x=list("uvuw"))),
                                  "data: column 'x': value 'w' is not among its levels; expected one of: u, v"),
    "not finite": (finite, "formula: 'np.log(x)': -inf in the row {'y': 1.0, 'x': 0.0, 'g': 'a'}, expected a finite number"),
    "weights": (weights, "data: column 'w': -1, expected weights above 0"),
    "no derivative": (steps, "models: response 'np.floor(y / 3)': no derivative at y = 1; expected a function of y alone that is smooth where the data are"),
    "weights in a file": (weights_in_a_file, "<tmp>/d.csv: column 'w': 0 in row 2, expected weights above 0"),
    "not finite, in a file": (not_finite_in_a_file, "<tmp>/d.csv: column 'x': 0 in row 3, where 'np.log(x)' is -inf; expected numbers that give it a finite value"),
    "order of categories": (orders(["v", "u"], ["u", "v"]), "<tmp>/1.parquet: column 'x': categories 'u', 'v', expected 'v', 'u' as in <tmp>/0.parquet, in one order throughout: the first is the reference level"),
    "order of some categories": (orders(["v", "u"], None), "<tmp>/1.parquet: column 'x': text without an order of its own, expected 'v', 'u' as in <tmp>/0.parquet, in one order throughout"),
    "too many parameters": (lambda root: checks.size(5, {"g": 3}, Terms.one(("Intercept", "x"), (("Intercept", "x"),), "g", ("Intercept", "x")), "d.csv"),
                            "d.csv: 2 fixed effects and 4 variance parameters for 5 rows, expected more rows than parameters"),
    "too many levels": (lambda root: designs(["y ~ x + (1 | g)"], {"rows": 4, "factors": [{"group": "g", "levels": 2}], "columns": {}, "sources": ["d.csv"]}, rows(x=list("stuv"))),
                        "d.csv: column 'x': 4 levels; 4 fixed effects and 2 variance parameters for 4 rows, expected more rows than parameters"),
    "too few groups": (lambda root: checks.size(50, {"g": 2}, Terms.one(("Intercept",), (("Intercept", "x", "z"),), "g", ("Intercept", "x", "z")), "d.csv"),
                       "d.csv: column 'g': 2 groups for 3 correlated random effects (Intercept, x, z), expected at least as many groups, or independent effects with ||"),
    "numbers as labels": (files({"d.csv": "y,x,g\n1,1.5,a\n2,2,a\n3,1.5,b\n4,2,b\n"}, formula="y ~ x + (1 | x:g)"),
                          "<tmp>/d.csv: column 'x': numbers of a predictor, which 'x:g' cannot take for labels as well; expected text, or a copy of it under another name"),
    "the same factor twice": (lambda root: checks.different(moments("y ~ x + (1 | g) + (1 | h)", many().assign(h=many()["g"] + "'")), "d.csv"),
                              "d.csv: columns 'g' and 'h': each level of one meets one level of the other, expected grouping factors that differ; take one out of the formula"),
    "variances that cannot be told apart": (lambda root: (lambda design, rows: estimable.check(of_rows(design, rows), [design], "d.csv"))(*alternating()),
                                           "d.csv: formula 'y ~ x + (x | g)': (x | g): the variances and the residual variance cannot be told apart: there are 2 random effects for at most 2 rows in a group of 'g'; expected (1 | g)"),
    "a response that groups determine": (lambda root: (lambda design, rows: estimable.check(of_rows(design, rows), [design], "d.csv"))(*alternating(rest=0.0)),
                                         "d.csv: column 'y': determined by the groups of 'g' and x: what they leave has an sd of "),
    "a large remainder": (large_remainder, "formula: 24 random effects of g, h are crossed with i, expected at most 3; leave out random slopes or a factor, or fit part of the data"),
    "collinear": (lambda root: checks.collinear(moments("y ~ x + z + (1 | g)", many()), ("Intercept", "x", "z"), "d.csv"),
                  "d.csv: column 'z': a linear combination of 'x' in all rows, expected columns that are not; take one out of the formula"),
    "ols: rows": (lambda root: ols.fit(["Intercept", "x"], y=np.ones(2), X=np.ones((2, 2))), "formula: 2 rows cannot carry 2 fixed effects (Intercept, x); expected more rows"),
    "ols: collinear": (lambda root: ols.fit(["Intercept", "x"], y=np.arange(4.0), X=np.ones((4, 2))), "formula: the fixed effects Intercept, x are collinear in these data; expected independent columns"),
    "ols: moments": (singular_moments, "formula: the fixed effects Intercept, x are collinear in these data; expected independent columns"),
    "prior of no term": (lambda root: resolve({"fixed": {"w": "flat"}}, moments("y ~ x + (x | g)", many()), ("Intercept", "x"), (("Intercept", "x"),), True),
                         "engines.pymc.priors.fixed.w: no such term; expected one of Intercept, x"),
    "prior without closed form": (lambda root: resolve({"fixed": "student_t(3, 0, 1)"}, moments("y ~ x + (x | g)", many()), ("Intercept", "x"), (("Intercept", "x"),), True),
                                  "engines.pymc.priors.fixed.Intercept: student_t(3, 0, 1) has no closed form in the marginal model; expected flat or normal(mean, sd), or sampler: full"),
    "engine of one factor": (engine_of_one_factor, "studies.s.engines.reml: does not fit several grouping factors (Subject, Days); expected engines among ols, mixedlm, pymc"),
    "prior of no factor": (lambda root: resolve_several({"sd": {"i": "flat"}}, two_factors(), ("Intercept", "x"), [(("Intercept",),)] * 2),
                           "engines.pymc.priors.sd.i: no such grouping factor; expected one of g, h"),
    "prior of no term of a factor": (lambda root: resolve_several({"sd": {"g": {"x": "flat"}}}, two_factors(), ("Intercept", "x"), [(("Intercept",),)] * 2),
                                     "engines.pymc.priors.sd.g.x: no such term; expected one of Intercept"),
    "prior of a term of two factors": (lambda root: resolve_several({"sd": {"Intercept": "flat"}}, two_factors(), ("Intercept", "x"), [(("Intercept",),)] * 2),
                                       "engines.pymc.priors.sd.Intercept: g, h have this term; expected a mapping by factor such as g: {Intercept: flat}"),
    "replicates: column": (long_table(lambda table: table.drop(columns="truth")), "recovery/replicates.parquet: column truth is missing; expected design, replicate, engine, "),
    "replicates: status": (long_table(lambda table: table.assign(status="odd")), "recovery/replicates.parquet: status 'odd'; expected one of ok, singular, "),
    "replicates: twice": (long_table(lambda table: pd.concat([table, table.iloc[[0]]])), "recovery/replicates.parquet: "),
    "replicates: two statuses": (long_table(lambda table: table.assign(status=["singular", *table["status"][1:]])),
                                 "recovery/replicates.parquet: a fit has two statuses; expected one for each design, replicate and engine"),
    "replay: study": (replayed(rep(), name="t"), "studies: no study 't'; expected one of s"),
    "replay: none": (replayed(SIM), "studies.s.replicates: the study has none to replay; expected a study with `replicates`"),
    "replay: beyond": (replayed(rep(), 5), "studies.s.replicates: no replicate 5; expected 0 to 4"),
    "replay: nothing": (lambda root: replay_script.run("", "", None, "", []), "replay: STUDY= REPLICATE=: expected a study and a replicate: make replay STUDY=design REPLICATE=17 CONFIG=config/recovery.yaml"),
    "replay: rows": (lambda root: replay_rows.check_size(5_000_001), "replicates: drawn as moments of 5,000,001 rows; a replay writes them out, expected at most 5,000,000 rows"),
    "replay: priors": (posterior_replayed, "engines.pymc.priors.fixed.Intercept: 'auto' is scaled and centred by the observed data, "),
    "truth: simulated": (config({"studies": {"s": SIM | {"truth": "t.json"}}}), "studies.s.truth: 't.json': is for a study with `data`; expected no such key"),
    "truth: replicates": (truth_file("{}", replicates=2, engines={"reml": {}}), "studies.s.truth: '<tmp>/t.json': replicates have their own; expected no such key"),
    "truth: no JSON": (truth_file("{"), "studies.s.truth: '<tmp>/t.json': cannot be read; expected a JSON file"),
    "truth: list": (truth_file("[1, 2]"), "studies.s.truth: '<tmp>/t.json': has no 'fixed'; expected a mapping of terms to numbers"),
    "truth: deep": (truth_file("[" * 100_000), "studies.s.truth: '<tmp>/t.json': cannot be read; expected a JSON file"),
    "truth: NaN": (truth_file('{"fixed": {"Intercept": NaN}, "sd": {}, "corr": {}, "sigma": 1}'), "studies.s.truth: '<tmp>/t.json': fixed.Intercept is nan; expected a finite number"),
    "truth: sd": (truth_file('{"fixed": {}, "sd": {"Intercept": -1}, "corr": {}, "sigma": 1}'), "studies.s.truth: '<tmp>/t.json': sd.Intercept is -1; expected a number of at least 0"),
    "truth: text": (truth_file('{"fixed": {}, "sd": {}, "corr": {"a.b": "x"}, "sigma": 1}'), "studies.s.truth: '<tmp>/t.json': corr.a.b is x; expected a number from -1 to 1"),
    "truth: incomplete": (truth_file('{"fixed": {}, "sd": {}, "corr": {}}'), "studies.s.truth: '<tmp>/t.json': has no 'sigma'; expected a number"),
    "replay: design": (replayed(rep(), design="zz"), "studies.s.designs: "),
    "failed gate as an error": (strict_verdict, "studies.s.engines.pymc: failed its convergence gates: rhat_max 1.02 (limit 1.01); on_failed_gate is 'error'"),
    "failed replicates as an error": (strict_replicates, "studies.s.replicates: pymc failed in 1,000 of 1,000 replicates of design b2 (1000 gate-failed); pymc failed in 12 of 1,000 "
                                      "replicates of design a1 (10 gate-failed, 2 error); all of them are in <tmp>/f.csv; on_failed_gate is 'error'"),
    "search: nothing to fit": (unfitted, "search: no replicate of 3 designs gives a power; expected larger bounds or a simpler model"),
    "search: large pilot": (large_pilot, "data: 30,000 groups: too many for each to be drawn again; expected a pilot study"),
    "search: not reached": (strict_search, "studies.s.search: the target is not reached within the bounds; on_failed_gate is 'error'"),
    "half an artifact": (half_an_input, "studies.s.results/s/moments.parquet: not a whole Parquet file; run again, it is then made anew"),
    "disk full": (scripted(failing(errno.ENOSPC)), "studies.s.<tmp>: the disk is full: make room, then run again; what is finished stays"),
    "quota": (scripted(failing(errno.EDQUOT)), "studies.s.<tmp>: the disk quota is used up: make room, then run again; what is finished stays"),
    "read-only": (scripted(failing(errno.EROFS)), "studies.s.<tmp>: read-only or not yours: make it writable, then run again; what is finished stays"),
    "not writable": (scripted(failing(errno.EACCES)), "studies.s.<tmp>: read-only or not yours: make it writable, then run again; what is finished stays"),
    "effects: predictor": (effect(Request("means", ("z",))), "effects: 'z' is not a predictor of the fixed effects; expected one of: f, x"),
    "effects: slope": (effect(Request("slopes", ("f",))), "effects: 'f' is categorical and has no slope; expected a numeric predictor, or means: f"),
    "effects: mean": (effect(Request("means", ("x",))), "effects: 'x' is numeric; expected a categorical predictor, or its values under `at`"),
    "effects: level": (effect(Request("means", ("f",), at={"f": ["w"]})), "effects: at: f: 'w'; expected one of its levels u, v"),
    "effects: number": (effect(Request("means", ("f",), at={"x": ["w"]})), "effects: at: x: 'w'; expected a number"),
    "effects: one slope": (effect(Request("slopes", ("x",), contrasts="pairwise")), "effects: contrasts of one slope; expected `by` a categorical predictor"),
    "effects: one level": (effect(Request("means", ("f",), at={"f": ["u"]}, contrasts="pairwise")), "effects: contrasts of one level; expected two or more"),
    "effects: weights": (effect(Request("means", ("f",), contrasts={"c": [1, -1, 0]})), "effects: contrasts: c: 3 weights; expected weights of the levels u, v"),
    "effects: grid": (large_grid, "effects: a reference grid of 1,048,576 rows; expected at most 1,000,000"),
    "new: nothing": (new("", ""), "new: expected a name and a file: make new STUDY=name DATA=file.csv"),
    "new: exists": (new("s", "d.csv", "here.yaml"), "studies.s.here.yaml: exists already, expected a new file; name another one by OUT="),
    "new: column": (proposed(many(), response="w"), "<tmp>/d.csv: RESPONSE=w: no such column, expected one of y, x, z, g"),
    "new: group": (proposed(many().assign(g="a"), group="g"), "<tmp>/d.csv: GROUP=g: 1 level in 24 rows, expected at least 2 levels, and groups of several rows"),
    "new: which group": (proposed(many().drop(columns="g")), "<tmp>/d.csv: cannot tell the grouping factor: x (numbers, 7 distinct values), z (numbers, 7 distinct values) would do equally well; "
                         "expected one choice: add GROUP=x to `make new`, or write the formula by hand, with both as in (1 | x) + (1 | z) (config/README.md)"),
    "new: response": (proposed(many(), response="g", group="g"), "<tmp>/d.csv: RESPONSE=g: is the grouping factor, expected a column of numbers"),
    "new: a response with units": (proposed(many().assign(y=[f"{k + 0.5} %" for k in range(24)])), "<tmp>/d.csv: column 'y': '0.5 %' in row 1, like the others: a number with a sign, a unit or separators, "
                                   "expected plain numbers; correct the file, or add RESPONSE=<column> to `make new` if another column is the response"),
    "new: which response": (proposed(many().drop(columns="y")), "<tmp>/d.csv: cannot tell the response: x (numbers, 7 distinct values), z (numbers, 7 distinct values) would do equally well; "
                            "expected one choice: add RESPONSE=x to `make new`, or write the formula by hand (config/README.md)"),
    "new: ragged": (ragged, "<tmp>/d.csv: cannot be read: "),
    "compare: nothing": (lambda root: compare_runs.write("", "", ""), "compare: expected two folders: make compare A=old/results B=results"),
    "compare: folder": (lambda root: runs.read(root / "none"), "<tmp>/none: no such folder, expected one of results, as a finished run leaves it"),
    "compare: unfinished": (lambda root: runs.read(root), "<tmp>: has no summary.json, expected the results of a run that made its report"),
    "no browser": (printed, "<tmp>/report.pdf: no browser to print with, expected one of chromium, "),
    "browser fails": (lambda root: printed(root, "echo 'no display' >&2; exit 3"), "<tmp>/report.pdf: <tmp>/chromium ended with 3 and said: no display; expected a PDF"),
    "browser hangs": (lambda root: printed(root, "exec sleep 5", 0.1), "<tmp>/report.pdf: <tmp>/chromium did not end in 0.1 s, expected a PDF"),
}  # fmt: skip

CASES: dict[str, tuple[Callable, str]] = {
    **{f"configuration {k}": (config({"studies": {"s": study}}), said) for k, (study, said) in enumerate(CONFIGURATIONS)},
    **{f"formula {text}": (lambda root, text=text: parse(text), said) for text, said in FORMULAS},
    **{f"files {k}": (files(content), said) for k, (content, said) in enumerate(FILES)},
    **OTHERS,
}  # fmt: skip


@functools.cache
def provoked(name: str) -> tuple[str, frozenset[tuple[str, int]]]:
    """The message of a case, and the lines of ours that raised anything on its way (sys.monitoring sees them all)."""
    lines = set()
    tool = sys.monitoring.PROFILER_ID

    def raised(code, offset, error):
        if code.co_filename.startswith(str(SCRIPTS)) and error.__traceback__ is not None:
            at = error.__traceback__
            while at.tb_next:
                at = at.tb_next
            lines.add((at.tb_frame.f_code.co_filename, at.tb_lineno))

    # as in a process that has not imported PyTensor, which raises it tenfold: ten thousand levels take 15 s
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    with tempfile.TemporaryDirectory() as folder:
        sys.monitoring.use_tool_id(tool, "messages")
        sys.monitoring.register_callback(tool, sys.monitoring.events.RAISE, raised)
        sys.monitoring.set_events(tool, sys.monitoring.events.RAISE)
        try:
            CASES[name][0](Path(folder))
            message = ""
        except (StudyError, Said) as error:
            message = str(error).replace(folder, "<tmp>")
        finally:
            sys.monitoring.set_events(tool, 0)
            sys.monitoring.free_tool_id(tool)
            sys.setrecursionlimit(limit)
    return message, frozenset(lines)


@pytest.mark.parametrize("name", CASES)
def test_message(name):
    message, _ = provoked(name)
    assert message.startswith(CASES[name][1]), message
    assert "\n" not in message
    assert re.match(r"[^:]+: \S", message), "where, then what"
    assert ADVICE.search(message), "what was expected, or what to do"


def sites() -> dict[tuple[str, int], tuple[int, str]]:
    """Every `raise` of a message for users: (file, first line) -> last line and source."""
    found = {}
    for file in sorted(SCRIPTS.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            call = node.exc if isinstance(node, ast.Raise) else None
            if isinstance(call, ast.Call) and ast.unparse(call.func) in RAISES:
                found[str(file), node.lineno] = (node.end_lineno, ast.unparse(node))
    return found


def test_every_place_that_raises_a_message_is_provoked_here():
    lines = set().union(*(provoked(name)[1] for name in CASES))
    missed = [
        f"{Path(file).relative_to(SCRIPTS)}:{first}: {source}"
        for (file, first), (last, source) in sites().items()
        if not any(name == file and first <= line <= last for name, line in lines)
    ]
    assert missed == []


def test_all_that_the_system_may_say_is_a_case():
    assert {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES} == set(integrity.SAYS)


def test_make_says_which_python_it_needs(tmp_path):
    """Where there is no Python new enough, the one line names what was found and what is needed."""
    for name in ("python3.13", "python3", "python"):
        (tmp_path / name).write_text(
            '#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n'
        )
        (tmp_path / name).chmod(0o755)
    project = tmp_path / "project"
    project.mkdir()
    for name in ("Makefile", "requirements.lock", ".python-version"):
        (project / name).write_bytes((ROOT / name).read_bytes())
    run = subprocess.run(
        ["make"], cwd=project, capture_output=True, text=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
    )
    assert run.returncode != 0
    assert "lmm-recovery needs Python 3.12 or newer (best 3.13); found: Python 3.9.2" in run.stderr
    assert not (project / ".venv").exists()


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ("slurm_check", "missing: no profile nowhere"),
        ("resume", "resume: no profile nowhere"),
    ],
)
def test_tools_name_a_profile_that_is_not_there(tool, said, tmp_path):
    run = subprocess.run(
        [sys.executable, ROOT / f"workflow/tools/{tool}.py", "nowhere"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert run.stderr.startswith(said)

"""What several test files share: a project to run in, and a way to run it."""

import atexit
import gc
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml

from cluster import lab
from lmm.core.compiled import CACHE
from warm import Warm

ROOT = Path(__file__).parents[1]
TINY = {
    "formula": "y ~ x + (x | group)",
    "simulate": {
        "seed": 1,
        "rows": 60,
        "groups": 12,
        "fixed": {"Intercept": 3, "x": 0.5},
        "sd": {"Intercept": 2, "x": 1},
        "sigma": 1,
    },
    "engines": {
        "ols": {},
        "mixedlm": {},
        "reml": {},
        "pymc": {"chains": 2, "tune": 200, "draws": 200, "seed": 1},
    },
}


# What takes ten seconds and more while a quicker test looks at it too, and further cases of a kind: `make thorough`.
LONG = (
    "test_bayes.py::test_the_full_model_agrees",
    "test_benchmarks.py::test_a_tiny_run_from_the_command_line",
    "test_compile.py::test_another_nutpie_compiles_by_its_own_wrappers[no density]",
    "test_compile.py::test_another_nutpie_compiles_by_its_own_wrappers[no expansion]",
    "test_compile.py::test_another_nutpie_compiles_by_its_own_wrappers[other C signature]",
    "test_compile.py::test_another_nutpie_compiles_by_its_own_wrappers[other arguments]",
    "test_faults.py::test_a_cut_artifact_is_noticed_and_made_anew",
    "test_faults.py::test_a_folder_that_cannot_be_written_is_named",
    "test_faults.py::test_a_full_disk_says_so_and_nothing_half_written_stays",
    "test_faults.py::test_a_killed_fit_is_made_again",
    "test_faults.py::test_a_killed_local_run_is_resumed",
    "test_faults.py::test_an_input_cut_in_mid_run_is_not_read",
    "test_messages.py::test_message[configuration file: deep]",
    "test_own_data.py::test_many_large_files_are_scattered_over_jobs",
    "test_own_data.py::test_other_rows_to_predict_are_predicted_without_a_new_fit",
    "test_prior_coordinates.py::test_the_full_model_has_the_same_coordinates",
    "test_recovery_workflow.py::test_a_replay_has_the_replicates_bits_and_the_whole_report",
    "test_recovery_workflow.py::test_a_replay_of_own_data_has_the_replicates_fits_and_the_whole_report",
    "test_recovery_workflow.py::test_failed_replicates_are_an_error_only_where_a_study_says_so",
    "test_recovery_workflow.py::test_other_cores_and_chunks_give_the_same_bits",
    "test_replicate.py::test_rows_and_moments_have_the_same_distribution",
    "test_sbc.py::test_a_likelihood_left_out_is_caught_by_what_depends_on_the_data_alone",
    "test_sbc.py::test_a_prior_that_is_not_the_simulators_is_caught",
    "test_sbc.py::test_a_sign_error_in_the_conditional_of_the_random_effects_is_caught",
    "test_schedulers.py::test_jobs_are_submitted_asked_for_and_come_again_with_more",
    "test_schedulers.py::test_stopped_by_hand_it_cancels_its_jobs",
    "test_search.py::test_a_pilot_study_from_its_file_to_the_closing_line",
    "test_sentences.py::test_every_sentence_is_true_of_the_tables[MixedLM alone]",
    "test_sentences.py::test_every_sentence_is_true_of_the_tables[a covariate of the groups]",
    "test_sentences.py::test_every_sentence_is_true_of_the_tables[criticised]",
    "test_sentences.py::test_every_sentence_is_true_of_the_tables[failed gates]",
    "test_sentences.py::test_every_sentence_is_true_of_the_tables[missed optimum]",
    "test_sentences.py::test_every_sentence_is_true_of_the_tables[categorical]",
    "test_sentences.py::test_every_sentence_is_true_of_the_tables[dropped rows]",
    "test_sentences.py::test_every_sentence_is_true_of_the_tables[groups without a line]",
    "test_sentences.py::test_every_sentence_is_true_of_the_tables[intercept only]",
    "test_sentences.py::test_every_sentence_is_true_of_the_tables[no slope]",
    "test_sentences.py::test_every_sentence_is_true_of_the_tables[not identified]",
    "test_sentences.py::test_every_sentence_is_true_of_the_tables[not prior-sensitive]",
    "test_sentences.py::test_every_sentence_is_true_of_the_tables[rows not copied]",
    "test_sentences.py::test_every_sentence_is_true_of_the_tables[two that are not PyMC]",
    "test_sentences.py::test_every_sentence_on_replicates_is_true_of_the_tables[OLS and PyMC]",
    "test_sentences.py::test_every_sentence_on_replicates_is_true_of_the_tables[a true sd near 0]",
    "test_sentences.py::test_every_sentence_on_replicates_is_true_of_the_tables[coverage low within the allowance]",
    "test_sentences.py::test_every_sentence_on_replicates_is_true_of_the_tables[no failures]",
    "test_sentences.py::test_every_sentence_on_replicates_is_true_of_the_tables[not calibrated]",
    "test_sentences.py::test_every_sentence_on_replicates_is_true_of_the_tables[one design, coverage too low]",
    "test_several_search.py::test_the_answer_is_that_of_the_closed_form",
    "test_several_bayes.py::test_nuts_agrees",
    "test_several_full.py",
    "test_several_sbc.py::test_a_likelihood_without_one_factor_is_caught",
    "test_several_sbc.py::test_a_prior_of_one_factor_that_is_not_the_simulators_is_caught",
    "test_several_sbc.py::test_a_sign_error_in_the_conditional_of_the_random_effects_is_caught",
    "test_several_sbc.py::test_the_engine_is_calibrated[500]",
    "test_several_sbc.py::test_the_engine_is_calibrated_at_own_data[500]",
    "test_several_simulation.py::test_replicates_recover_what_they_were_simulated_from",
    "test_text.py::test_any_name_survives_from_file_to_page",
    "test_until.py::test_a_study_ends_design_by_design",
    "test_workflow.py::test_a_failed_gate_is_an_error_only_where_a_study_says_so",
    "test_workflow.py::test_after_a_kill_the_next_run_completes_with_the_same_tables",
    "test_workflow.py::test_tables_are_the_same_bytes_in_another_environment[-16]",
    "test_workflow.py::test_the_workflow_is_a_module_of_another_one",
)


# The longest files first: a worker that began one last would leave the other idle.
FIRST = (
    "test_sentences.py", "test_workflow.py", "test_several_workflow.py", "test_docs.py", "test_figures.py",
    "test_recovery_workflow.py", "test_new_engine.py", "test_compact.py", "test_cells.py", "test_own_data.py",
)  # fmt: skip


def pytest_collection_modifyitems(items) -> None:
    """Mark the long tests, and put the long files first."""
    for item in items:
        if item.nodeid.removeprefix("tests/").startswith(LONG):
            item.add_marker(pytest.mark.long)
    place = {name: at for at, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def pytest_collection_finish() -> None:
    """Keep what is imported out of collections of garbage, which take a twentieth of the time otherwise."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """What is imported ends as ever."""
    gc.unfreeze()


@cache
def warm() -> Warm:
    """The process that all of this one's runs of Snakemake come from."""
    started = Warm()
    atexit.register(started.end)
    return started


@dataclass(frozen=True)
class Project:
    """A copy of the workflow in a directory of its own."""

    root: Path

    def snakemake(self, *options: str, cold: bool = False) -> subprocess.CompletedProcess:
        """Run Snakemake there as a user would; stdout and stderr come back as text."""
        return warm().run(options, self.root, cold=cold)

    def configure(self, studies: dict, name: str = "config/config.yaml", **top) -> None:
        """Write a configuration."""
        (self.root / name).write_text(yaml.safe_dump({"studies": studies, **top}, sort_keys=False))

    def planned(self, *options: str) -> dict[str, int]:
        """Jobs that a run would do, a rule each."""
        done = self.snakemake("--dry-run", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = (done.stdout + done.stderr).partition("Job stats:\n")[2].splitlines()[2:]
        counts = {}
        for line in lines:
            rule, count = line.split()
            if rule == "total":
                break
            counts[rule] = int(count)
        return counts


def copy_project(to: Path) -> Project:
    """What a run needs of the repository, without results."""
    for name in ("workflow", "config", "profiles"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "environment.yml"):
        shutil.copy2(ROOT / name, to / name)
    (to / "results").mkdir()
    # the same sources give the same machine code; an edit of a kernel gets a directory of its own
    copied = to / "workflow/scripts/lmm/__pycache__"
    copied.mkdir()
    for compiled in CACHE.glob("*"):
        (copied / CACHE.name).mkdir(exist_ok=True)
        (copied / CACHE.name / compiled.name).symlink_to(compiled)
    return Project(to)


@pytest.fixture
def project(tmp_path) -> Project:
    """A fresh copy of the workflow with the tiny study as its configuration."""
    copy = copy_project(tmp_path)
    copy.configure({"tiny": TINY})
    return copy


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Project:
    """The tiny study, run on this machine to its comparison; tests copy it and leave it alone."""
    project = copy_project(tmp_path_factory.mktemp("undisturbed"))
    project.configure({"tiny": TINY})
    run = project.snakemake("--cores", "2", "results/tiny/comparison/variance_recovery.csv")
    assert run.returncode == 0, run.stdout + run.stderr
    return project


@pytest.fixture(scope="session")
def coffee_drawn(tmp_path_factory):
    """The coffee study's results and all figures of it; tests leave both alone."""
    import made_results
    from lmm.report import figures

    root = made_results.coffee(tmp_path_factory.mktemp("coffee"))
    return root, figures.draw("coffee", made_results.SETTINGS, made_results.paths(root))


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A Slurm of one node, for one test file."""
    if reason := lab.obstacle():
        pytest.skip(reason)
    with lab.lab(tmp_path_factory.mktemp("lab")) as cluster:
        yield cluster

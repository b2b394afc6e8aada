"""Documentation that is true: every code block is run, every printed result compared, every link followed.

Shell blocks run in a copy of the project, whatever would fit models as a dry run; Python blocks of a page run in one
process, in order, on the coffee study's tables; a `text` block is what the block before it prints; YAML blocks are
configurations; a `row` block is a row of the catalogue of engines (tests/test_new_engine.py).
"""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import made_results
from conftest import ROOT, Project, copy_project
from lmm.config.load import load
from lmm.core.store import write_json

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
# Targets that are not tried here: `make -n` shows that they exist. Others have tests of their own.
SHOWN_ONLY = {
    "test",
    "mutate",
    "lint",
    "bench",
    "lock",
    "schema",
    "faults",
    "slurm-check",
    "resume",
    "clean-results",
}
RUN = runpy.run_path(str(ROOT / "workflow/tools/run.py"))
DRIVER = """
import contextlib, io, json, sys
space, said = {}, []
for block in json.loads(sys.stdin.read()):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(block, "block", "exec"), space)
    said.append(out.getvalue())
print(json.dumps(said))
"""


def blocks(page: Path, *languages: str) -> list[str]:
    return [
        text for language, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages
    ]


def having(*languages: str) -> list:
    return [
        pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in PAGES if blocks(page, *languages)
    ]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A project with results of the coffee study, and an older copy of them."""
    root = copy_project(tmp_path_factory.mktemp("docs")).root
    for name in ("Makefile", "requirements.lock", ".python-version"):
        shutil.copy2(ROOT / name, root / name)
    made_results.coffee(root / "results")
    provenance = {"rendered": "2026-01-01", "revision": "", "system": "", "versions": {}}
    write_json(root / "results/summary.json", {"studies": {"coffee": {}}, "provenance": provenance})
    shutil.copytree(root / "results", root / "old/results")
    return root


def rehearsed(line: str) -> list[str]:
    """A command of make as it is tried here: nothing is installed, and nothing that takes long is run."""
    words = shlex.split(line)
    assert words[0] == "make", f"{line}: expected make or snakemake"
    make = ["make", "-s", "-o", ".venv/stamp", f"BIN={Path(sys.executable).parent}"]
    target = next((word for word in words[1:] if "=" not in word), "run")
    if target in SHOWN_ONLY:
        return [*make, "-n", *words[1:]]
    if target in ("new", "compare"):
        return [*make, *words[1:]]
    given = [word for word in words[1:] if not word.startswith("ARGS=")]
    options = "".join(word.removeprefix("ARGS=") for word in words[1:] if word.startswith("ARGS="))
    return [*make, *given, f"ARGS={options} --dry-run"]


def options_of_a_run(line: str, root: Path) -> list[str]:
    """Snakemake's options in a command that is nothing but a run with options, as make expands it; else none."""
    words = shlex.split(line)
    if words[0] == "snakemake":
        return words[1:]
    if len(words) != 2 or not words[1].startswith("ARGS="):
        return []
    make = ["make", "-s", "-n", "-o", ".venv/stamp", words[1]]
    shown = subprocess.run(make, cwd=root, capture_output=True, text=True, check=True).stdout
    python, tool, *options = shlex.split(shown)
    assert (python, tool) == (".venv/bin/python", "workflow/tools/run.py")
    return options


COMMANDS = list(
    dict.fromkeys(
        line for page in PAGES for block in blocks(page, "sh") for line in block.splitlines() if line.strip()
    )
)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_works(copy, line, monkeypatch):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("SNAKEMAKE", "MAKE"))
    }
    written = copy / "config/growth.yaml"
    if line.startswith("make new"):
        written.unlink(missing_ok=True)
    elif written.name in line and not written.exists():  # the line before it was left out
        shutil.copy(ROOT / "config/orthodont.yaml", written)
    if options := options_of_a_run(line, copy):
        monkeypatch.chdir(copy)
        for file in RUN["files"](options):
            RUN["check"](file)
        run = Project(copy).snakemake(*options, "--dry-run")
    else:
        run = subprocess.run(
            rehearsed(line), cwd=copy, env=environment, capture_output=True, text=True, timeout=120
        )
    assert run.returncode == 0, run.stdout + run.stderr
    if line.startswith("make new"):
        assert "Wrote config/growth" in run.stdout
    if line.startswith("make compare"):
        assert (copy / "results/comparison-of-runs.html").exists()


@pytest.mark.parametrize("page", having("python"))
def test_python_runs_and_prints_what_is_shown(copy, page):
    found = [
        (language, text)
        for language, text in BLOCK.findall(page.read_text(encoding="utf-8"))
        if language in ("python", "text")
    ]
    code = [text for language, text in found if language == "python"]
    run = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(code),
        cwd=copy,
        env=os.environ
        | {"PYTHONPATH": str(copy / "workflow/scripts")},  # the environment's library may be another
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    said = iter(json.loads(run.stdout))
    printed = ""
    for language, text in found:
        if language == "python":
            assert not printed.strip(), f"printed, and not shown: {printed}"
            printed = next(said)
        else:
            assert stripped(printed) == stripped(text)
            printed = ""
    assert not printed.strip(), f"printed, and not shown: {printed}"


def stripped(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


@pytest.mark.parametrize("page", having("yaml"))
def test_configurations_are_valid(page):
    for block in blocks(page, "yaml"):
        assert load(yaml.safe_load(block), ROOT).studies


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "config/README.md", ROOT / "results/README.md"], ids=lambda p: p.name
)
def test_links_lead_somewhere_and_no_machine_is_named(page):
    text = page.read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    missing = [link for link in links if link and "://" not in link and not (page.parent / link).exists()]
    assert missing == []
    assert not re.search(r"/(home|work|root|Users)/", text)
    unknown = {language for language, _ in BLOCK.findall(text)} - {"sh", "python", "text", "yaml", "row"}
    assert not unknown, "a block in a language that no test looks at"


def test_files_that_are_named_are_there():
    """Paths of the project that the pages speak of in plain text; what a run or a user makes is left out."""
    pattern = re.compile(
        r"\b((?:config|tests|workflow|docs|profiles)/[\w/.-]+\.(?:py|ya?ml|md|smk|json|csv|png))\b"
    )
    named = {
        (page.name, path) for page in PAGES for path in pattern.findall(page.read_text(encoding="utf-8"))
    }
    made = {"config/growth.yaml", "config/growth2.yaml", "config/mine.yaml"}
    made |= {"workflow/scripts/lmm/engines/anova.py"}  # the engine of docs/new-engine.md
    missing = {(page, path) for page, path in named if path not in made and not (ROOT / path).exists()}
    assert not missing


SOURCES = sorted(
    path for folder in ("workflow", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)


def test_cited_pages_exist():
    """Pages that docstrings, comments and messages name: by their path, beside the file or with the benchmarks."""
    missing = {
        (str(path.relative_to(ROOT)), page)
        for path in SOURCES
        for page in re.findall(r"(?<![\w*/{])[\w./-]*\w\.md\b", path.read_text(encoding="utf-8"))
        if not any((folder / page).exists() for folder in (ROOT, path.parent, ROOT / "benchmarks"))
    }
    assert missing == set()


def test_cited_sections_of_the_statistics_exist_and_each_is_cited():
    """Docstrings cite docs/statistics.md by section; a section whose modules exist is cited by one of them."""
    text = (ROOT / "docs/statistics.md").read_text(encoding="utf-8")
    sections = {int(number) for number in re.findall(r"^## (\d+)\. ", text, re.M)}
    assert sections == set(range(1, max(sections) + 1))
    listed = dict(re.findall(r"^\| (\d+) \| .* \| (.*) \|$", text, re.M))
    assert {int(number) for number in listed} == sections
    library, cited = ROOT / "workflow/scripts/lmm", {}
    for path in SOURCES:
        words = " ".join(path.read_text(encoding="utf-8").replace("#", " ").split())
        for numbers in re.findall(r"statistics\.md, sections? (\d+(?:(?:, | and | to )\d+)*)", words):
            cited.setdefault(path, set()).update(map(int, re.findall(r"\d+", numbers)))
        if path != Path(__file__):
            assert not re.search(r"statistics\.md(?!, sections? \d)", words), f"{path}: which section?"
    assert set().union(*cited.values()) <= sections
    for number, modules in listed.items():
        names = re.findall(r"`([\w.*]+)`", modules)
        folders = [library / name.replace(".", "/") for name in names]
        files = [file for folder in folders for file in (folder.with_suffix(".py"), *folder.rglob("*.py"))]
        if any(file.exists() for file in files):
            assert any(int(number) in cited.get(file, ()) for file in files), (
                f"nothing cites section {number}"
            )


def test_every_target_is_documented():
    """Targets of the Makefile are in the reference, and no others."""
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    text = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    assert {target for target in phony if target != "run" and f"make {target}" not in text} == set()
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= set(phony)


def test_speed_is_quoted_from_the_benchmark():
    """Numbers in the README are lines of benchmarks/results.md, word for word; without that file there are none."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    quoted = text.partition("<!-- speed:")[2].partition("-->")[2].partition("<!-- end of speed -->")[0]
    file = ROOT / "benchmarks/results.md"
    measured = set(file.read_text(encoding="utf-8").splitlines()) if file.exists() else set()
    assert [line for line in quoted.splitlines() if line.strip() and line not in measured] == []


def test_the_picture_is_small():
    assert (ROOT / "docs/images/report.png").stat().st_size <= 300_000

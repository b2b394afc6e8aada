"""environment.yml asks conda for what pyproject.toml asks pip for; CITATION.cff is one."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
# conda-forge's names where they differ from PyPI's
PYPI_NAME = {
    "python-duckdb": "duckdb",
    "matplotlib-base": "matplotlib",
    "pymc-base": "pymc",
    "snakemake-minimal": "snakemake",
    "playwright-python": "playwright",
}
CONDA_ONLY = {"pip", "make"}
# Top-level keys of the Citation File Format, version 1.2.0; others are not allowed.
CFF_KEYS = {
    "abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers", "keywords",
    "license", "license-url", "message", "preferred-citation", "references", "repository", "repository-artifact",
    "repository-code", "title", "type", "url", "version",
}  # fmt: skip


def asked_of_pip() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["dev"]]
    return {item.name: str(item.specifier) for item in asked} | {"python": project["requires-python"]}


def asked_of_conda() -> dict[str, str]:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    nested = [line for entry in entries if isinstance(entry, dict) for line in entry["pip"] if line != "-e ."]
    items = [Requirement(line) for line in [e for e in entries if isinstance(e, str)] + nested]
    return {PYPI_NAME.get(item.name, item.name): str(item.specifier) for item in items}


def test_conda_and_pip_ask_for_the_same_packages_and_ranges():
    conda = asked_of_conda()
    assert {name: spec for name, spec in conda.items() if name not in CONDA_ONLY} == asked_of_pip()


@pytest.mark.parametrize("name, spec", sorted(asked_of_pip().items() - {("python", ">=3.12")}))
def test_lock_holds_a_version_in_the_range(name, spec):
    lock = (ROOT / "requirements.lock").read_text()
    (version,) = re.findall(rf"^{re.escape(name)}==([^ ;\\]+)", lock, flags=re.M)
    assert Requirement(f"{name}{spec}").specifier.contains(version, prereleases=True)


def test_lock_has_hashes_and_no_index_address():
    lock = (ROOT / "requirements.lock").read_text()
    pins = re.findall(r"^[A-Za-z0-9_.-]+==", lock, flags=re.M)
    assert len(re.findall(r"==.*\\\n +--hash=sha256:", lock)) == len(pins) > 50
    assert "://" not in lock


def test_citation_file_has_what_the_citation_file_format_asks_for():
    """The keys that version 1.2.0 of the format requires, those that we use in its types, and our own version."""
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "message", "title", "authors"} <= cff.keys()
    assert cff.keys() <= CFF_KEYS
    assert cff["cff-version"] == "1.2.0"
    assert cff["type"] in ("software", "dataset")
    assert all(isinstance(cff[key], str) and cff[key] for key in ("message", "title", "abstract"))
    assert cff["authors"]
    for author in cff["authors"]:
        assert "name" in author or {"family-names", "given-names"} <= author.keys(), "an entity or a person"
        assert all(isinstance(value, str) and value for value in author.values())
    assert len(set(cff["keywords"])) == len(cff["keywords"]) > 0
    assert (str(cff["version"]), cff["license"]) == (project["version"], project["license"])

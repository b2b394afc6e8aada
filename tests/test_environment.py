"""environment.yml asks conda for what pyproject.toml asks pip for."""

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


def asked_of_pip() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["dev"]]
    return {item.name: str(item.specifier) for item in asked} | {"python": project["requires-python"]}


def asked_of_conda() -> dict[str, str]:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    nested = [line for entry in entries if isinstance(entry, dict) for line in entry["pip"]]
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

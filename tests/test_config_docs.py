"""Schema and documentation of the configuration agree with the models."""

import copy
from pathlib import Path

import jsonschema
import pytest
import yaml

import write_schema
from lmm.config.study import Configuration

ROOT = Path(__file__).parents[1]
SCHEMA = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text())
COFFEE = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())


def test_schema_is_in_step():
    """After a change of lmm/config/*.py: python workflow/scripts/write_schema.py."""
    assert write_schema.SCHEMA.read_text(encoding="utf-8") == write_schema.schema_text()


def test_readme_is_in_step():
    text = write_schema.README.read_text(encoding="utf-8")
    assert text == write_schema.readme_text(text)


def test_every_key_is_explained():
    """Every property in the schema has a description, and none is empty."""

    def check(node, path):
        if isinstance(node, dict):
            for key, value in node.get("properties", {}).items():
                target = SCHEMA["$defs"].get(value.get("$ref", "").rpartition("/")[2], {})
                assert value.get("description") or target.get("description"), f"{path}.{key}"
            for key, value in node.items():
                check(value, f"{path}.{key}")

    check(SCHEMA, "")
    assert set(SCHEMA["properties"]) == set(Configuration.model_fields)


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda file: file.name)
def test_ready_made_configurations_fit_the_schema(file):
    jsonschema.validate(yaml.safe_load(file.read_text()), SCHEMA, jsonschema.Draft202012Validator)


def test_schema_knows_lists():
    config = copy.deepcopy(COFFEE)
    study = config["studies"]["coffee"]
    study["replicates"] = 10
    study["simulate"] |= {"groups": [10, 30], "sd": {"Intercept": 1, "x": [0, 1]}}
    study["simulate"]["rows_per_group"] = [5, {"poisson": [3, 8]}, {"sizes": [1, 2]}]
    study["simulate"]["predictors"] = {"x": ["normal", {"binary": 0.5, "between": True}]}
    jsonschema.validate(config, SCHEMA, jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "change",
    [
        {"simulat": {}},
        {"simulate": {"rowz": 3}},
        {"simulate": {"rows": "many"}},
        {"simulate": {"groups": 0}},
        {"simulate": {"groups": []}},
        {"simulate": {"seed": [1, 2]}},
        {"simulate": {"sd": {"x": -1}}},
        {"engines": {"stan": {}}},
        {"engines": {"pymc": {"chains": 1.5}}},
        {"replicates": 0},
        {"formula": None},
    ],
)
def test_schema_refuses(change):
    config = copy.deepcopy(COFFEE)
    config["studies"]["coffee"] |= change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config, SCHEMA, jsonschema.Draft202012Validator)


def test_schema_refuses_names():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"studies": {"A b": COFFEE["studies"]["coffee"]}}, SCHEMA)

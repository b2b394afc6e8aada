"""Write workflow/schemas/config.schema.yaml and the table of keys in config/README.md from the models.

python workflow/scripts/write_schema.py
"""

from pathlib import Path

import yaml

from lmm.config.schema import key_table, schema
from lmm.core.store import write_text

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
README = ROOT / "config" / "README.md"
START, END = "<!-- keys: made by workflow/scripts/write_schema.py -->\n", "<!-- end of keys -->\n"


def schema_text() -> str:
    """The schema as YAML."""
    head = "# Made by workflow/scripts/write_schema.py from workflow/scripts/lmm/config/*.py; do not edit.\n"
    return head + yaml.safe_dump(schema(), sort_keys=False, allow_unicode=True, width=110)


def readme_text(text: str) -> str:
    """`text` with the table of keys between its markers."""
    before, rest = text.split(START)
    _, after = rest.split(END)
    return before + START + "\n" + key_table() + "\n" + END + after


if __name__ == "__main__":
    write_text(SCHEMA, schema_text())
    write_text(README, readme_text(README.read_text(encoding="utf-8")))

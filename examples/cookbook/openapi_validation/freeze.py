"""Writes openapi.py, which is openapi.yaml as Python: a filter has no files at run time, so this one imports its API.

Run it after each change of the YAML: `python examples/cookbook/openapi_validation/freeze.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent


def frozen() -> str:
    """The text of openapi.py."""
    document = yaml.safe_load((FOLDER / "openapi.yaml").read_text(encoding="utf-8"))
    text = json.dumps(document, indent=1).replace("\\", "\\\\")
    return f'"""Made by freeze.py of openapi.yaml."""\n\nimport json\n\nDOCUMENT = json.loads("""\n{text}\n""")\n'


if __name__ == "__main__":
    (FOLDER / "openapi.py").write_text(frozen(), encoding="utf-8")

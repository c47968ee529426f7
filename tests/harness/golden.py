"""Files that are as the code writes them: a change of one is a change to see.

UPDATE_GOLDEN=1 writes them anew.
"""

import json
import os
from pathlib import Path
from typing import Any, Final

import yaml

OPERATOR: Final = Path(__file__).parents[1] / "golden" / "operator"


def compare(path: Path, found: str) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


def compare_objects(case: str, objects: list[dict[str, Any]]) -> None:
    """The operator's, as YAML."""
    text = yaml.safe_dump_all(objects, sort_keys=False, width=100)
    compare(OPERATOR / f"{case}.yaml", text)


def containers(thing: dict[str, Any]) -> list[dict[str, Any]]:
    """Of its pod template, init containers first; none where it has no template."""
    spec = thing.get("spec", {}).get("template", {}).get("spec", {})
    return [*spec.get("initContainers", []), *spec.get("containers", [])]


def readable(thing: dict[str, Any]) -> dict[str, Any]:
    """A copy, with the JSON of environment variables as YAML."""
    copy: dict[str, Any] = json.loads(json.dumps(thing))
    for container in containers(copy):
        for variable in container.get("env", []):
            if variable.get("value", "").startswith("{"):
                variable["value"] = json.loads(variable["value"])
    return copy

"""`berth plan`: what the operator would do with a model, without a cluster.

    berth plan -f model.yaml --config config.yaml --shape shape.json

The configuration is the operator's (the chart's ConfigMap holds it); the shape is what the shape
Job would answer. Prints the status and the objects, by the very functions that the operator runs.
Exit codes: 0 it fits, 1 it does not, 2 an input cannot be read.
"""

import argparse
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from berth_api.shape import ShapeReport
from berth_operator import settings
from berth_operator.core.context import Context
from berth_operator.core.decide import decide
from berth_operator.core.observed import Observed
from berth_operator.core.outcome import Outcome
from berth_operator.errors import ConfigurationError

EXIT_DOES_NOT_FIT: Final = 1
EXIT_INPUT: Final = 2
# What the API server would have added.
_IDENTITY: Final = {"namespace": "default", "uid": "00000000-0000-0000-0000-000000000000"}
# A preview's engine key opens nothing.
_NO_KEY: Final = bytes(32)


def main() -> int:
    options = _parse()
    try:
        outcome = preview(
            _read(options.file),
            settings.parse(_read(options.config)),
            ShapeReport.model_validate(_read(options.shape)),
            datetime.now(timezone.utc),
        )
    except (OSError, yaml.YAMLError, ValidationError, ConfigurationError) as error:
        print(f"berth plan: {error}", file=sys.stderr)
        return EXIT_INPUT
    print(render(outcome))
    planned = "plan" in (outcome.status or {})
    return 0 if planned else EXIT_DOES_NOT_FIT


def preview(
    cr: dict[str, Any], configured: settings.Settings, shape: ShapeReport, now: datetime
) -> Outcome:
    """The operator's first decision on `cr`, had it just been applied."""
    applied = cr | {"metadata": _IDENTITY | cr.get("metadata", {})}
    source = applied.get("spec", {}).get("model", {}).get("source", "")
    observed = Observed(cr=applied, now=now, shapes={source: shape})
    return decide(observed, Context(configured, _NO_KEY))


def render(outcome: Outcome) -> str:
    """The status, then each object in the order in which it would be applied; no Secrets."""
    shown = [one for one in outcome.apply if one["kind"] != "Secret"]
    return yaml.safe_dump_all([{"status": outcome.status}, *shown], sort_keys=False, width=100)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="berth", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    plan = verbs.add_parser("plan", help="what the operator would do, without a cluster")
    plan.add_argument("-f", "--file", type=Path, required=True, help="the ModelDeployment")
    plan.add_argument("--config", type=Path, required=True, help="the operator's configuration")
    plan.add_argument("--shape", type=Path, required=True, help="the shape Job's answer, as JSON")
    return parser.parse_args()


def _read(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path} holds no object")
    return found


if __name__ == "__main__":
    sys.exit(main())

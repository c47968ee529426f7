"""What Berth applies for one model, for whoever makes the same objects without deciding."""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from bench.operator import models, subject
from berth_operator import settings
from berth_operator.core import drift
from berth_operator.core.decide import decide
from berth_operator.core.observed import Observed
from berth_operator.core.planner.context import Context

# Found and replaced in the text, so nothing else may be called so.
NAME: Final = "recorded-model-name"
UID: Final = "recorded-model-uid"
_MASTER_KEY: Final = b"0123456789abcdef0123456789abcdef"


def write(path: Path) -> None:
    """The children in Berth's order and the status that goes with them, as the twin reads it."""
    created = "2026-01-01T00:00:00Z"
    metadata = {"namespace": models.NAMESPACE, "name": NAME, "uid": UID, "generation": 1}
    cr = models.body(0) | {"metadata": {**metadata, "creationTimestamp": created}}
    parsed = settings.parse(subject.settings())
    observed = Observed(cr=cr, now=datetime.now(timezone.utc), shapes=parsed.model_shapes)
    outcome = decide(observed, Context(parsed, _MASTER_KEY))
    if outcome.status is None:
        raise RuntimeError("Berth decides no status for the model that is to be recorded")
    told = {
        "name": NAME,
        "uid": UID,
        "children": [drift.stamp(child) for child in outcome.apply],
        "waiting": outcome.status,
        "serving": _serving(outcome.status),
    }
    path.write_text(json.dumps(told))


def _serving(waiting: dict[str, Any]) -> dict[str, Any]:
    """As many bytes as Berth's own, with the words of another phase."""
    return {**waiting, "phase": "Serving", "reason": "Serving", "replicas": 1, "readyReplicas": 1}

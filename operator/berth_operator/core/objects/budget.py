"""The PodDisruptionBudget.

Node drains take one serving pod at a time, and never wait for a broken one.
"""

from typing import Any

from berth_api import names
from berth_operator.core.resolved import Resolved, metadata


def build(resolved: Resolved) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(resolved, names.disruption_budget(resolved.name)),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {
                "matchLabels": {
                    names.LABEL_MODEL: resolved.name,
                    names.LABEL_ROLE: names.ROLE_ENGINE,
                }
            },
        },
    }

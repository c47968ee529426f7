"""What the Jobs that read or fetch a model have in common: labels, and the user's annotations."""

from typing import Any

from berth_operator.core.resolved import Resolved, labels, metadata


def job(
    resolved: Resolved, name: str, role: str, limits: dict[str, int], pod: dict[str, Any]
) -> dict[str, Any]:
    """`limits`: the fields of its spec that bound its tries and its time; `pod`: its pod's spec."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(resolved, name, role=role),
        "spec": {
            **limits,
            "template": {
                "metadata": {
                    "labels": labels(resolved, role),
                    "annotations": dict(resolved.spec.pod_template.annotations),
                },
                "spec": pod,
            },
        },
    }

"""One Deployment per revision. Its pod template is the revision's own, re-applied verbatim."""

from collections.abc import Mapping
from typing import Any, Final

from berth_api import names
from berth_operator.core.resolved import Resolved, metadata
from berth_operator.core.revision import Revision

# Pods say themselves when they fail and why; the Deployment's own deadline is only a backstop.
_PROGRESS_DEADLINE_SECONDS: Final = 86_400


def build(
    resolved: Resolved, revision: Revision, replicas: int, marks: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """`marks` are annotations by which a roll-out knows how far it is."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(
            resolved,
            names.revision_name(resolved.name, revision.name),
            revision=revision.name,
            annotations=marks,
        ),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,  # Berth keeps its own
            "progressDeadlineSeconds": _PROGRESS_DEADLINE_SECONDS,
            "selector": {
                "matchLabels": {
                    names.LABEL_MODEL: resolved.name,
                    names.LABEL_ROLE: names.ROLE_ENGINE,
                    names.LABEL_REVISION: revision.name,
                }
            },
            "template": revision.template,
        },
    }

"""What every pod that Berth makes has in common.

The restricted security context, and the user's and the accelerator profile's pod settings.
"""

from collections.abc import Mapping
from typing import Any, Final

from berth_api.spec import PodTemplate
from berth_operator.core.resolved import Resolved
from berth_operator.settings import AcceleratorProfile, Settings

# The non-root user of Berth's own images; engine images take their profile's.
CONTROL_USER: Final = 65532

# Pods on a lost node are replaced after this, not after Kubernetes' five minutes.
_LOST_NODE_SECONDS: Final = 30
_LOST_NODE: Final = tuple(
    {
        "key": f"node.kubernetes.io/{condition}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": _LOST_NODE_SECONDS,
    }
    for condition in ("not-ready", "unreachable")
)


def container_security(*, read_only_root: bool = True) -> dict[str, Any]:
    """Pod Security Standard "restricted"."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": read_only_root,
    }


def pod_security(user: int) -> dict[str, Any]:
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        # Large claims would be walked file by file at every start otherwise.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def pod_spec(
    resolved: Resolved, settings: Settings, profile: AcceleratorProfile | None, user: int
) -> dict[str, Any]:
    return pod_spec_of(resolved.spec.pod_template, settings, profile, user)


def pod_spec_of(
    template: PodTemplate, settings: Settings, profile: AcceleratorProfile | None, user: int
) -> dict[str, Any]:
    """The parts of a pod's spec that are no container and no volume; empty ones are left out."""
    runtime_class = template.runtime_class_name or (profile.runtime_class_name if profile else None)
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a Service named vllm would set VLLM_PORT
        "securityContext": pod_security(user),
        "tolerations": _tolerations(template, profile),
        "nodeSelector": {**(profile.node_selector if profile else {}), **template.node_selector},
        "imagePullSecrets": _pull_secrets(template, settings),
        "runtimeClassName": runtime_class,
        "priorityClassName": template.priority_class_name,
    }
    return {key: value for key, value in spec.items() if value not in (None, [], {})}


def env(
    resolved: Resolved, values: Mapping[str, str], *given: dict[str, Any]
) -> list[dict[str, Any]]:
    return env_of(resolved.spec.pod_template, values, *given)


def env_of(
    template: PodTemplate, values: Mapping[str, str], *given: dict[str, Any]
) -> list[dict[str, Any]]:
    """The user's variables, then Berth's, then `given` whole ones; the last of a name wins."""
    found = {one.name: one.wire() for one in template.env}
    found |= {name: {"name": name, "value": value} for name, value in values.items()}
    return list((found | {one["name"]: one for one in given}).values())


def _tolerations(template: PodTemplate, profile: AcceleratorProfile | None) -> list[dict[str, Any]]:
    given = [*(profile.tolerations if profile else []), *template.tolerations]
    return [*({**one} for one in _LOST_NODE), *(one.wire() for one in given)]


def _pull_secrets(template: PodTemplate, settings: Settings) -> list[dict[str, str]]:
    found = [one.name for one in template.image_pull_secrets] + settings.image_pull_secrets
    return [{"name": name} for name in dict.fromkeys(found)]

"""Why a pod does not serve: an ordered table of checks, each a pure reading of the pod.

The first check that finds something names the reason, the message and the fix; the same words
are the conditions' reasons, the events' and the columns'.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from berth_api.shape import Failure
from berth_operator.core.kubernetes import condition, container_statuses, termination
from berth_operator.core.node_health import DEVICE_UNHEALTHY, NODE_UNHEALTHY, NodeFault
from berth_operator.core.observed import Object, Pod, Refusal

_MESSAGE_CHARS: Final = 1024  # of a foreign message: enough for its sense, not for a log
_OOM_EXIT: Final = 137


@dataclass(frozen=True)
class Problem:
    """A typed reason with its fix; `condition` is the condition that it makes false."""

    condition: str
    failure: Failure
    pod: str | None = None
    exit_code: int | None = None
    count: int = 1
    node: str | None = None


def of_pods(pods: Iterable[Pod]) -> Problem | None:
    """The first problem of the newest pod that has one."""
    newest_first = sorted(
        pods, key=lambda pod: pod.object["metadata"].get("creationTimestamp", ""), reverse=True
    )
    found = (problem for pod in newest_first if (problem := of_pod(pod)) is not None)
    return next(found, None)


def of_pod(pod: Pod) -> Problem | None:
    found = (problem for check in _CHECKS if (problem := check(pod.object)) is not None)
    return next(found, None)


def of_fault(pod: Object, found: NodeFault, consequence: str) -> Problem:
    """The node's fault; `consequence` is what becomes of the pod."""
    return _problem(
        pod,
        "RuntimeHealthy",
        found.reason,
        f"{found.message}; pod {pod['metadata']['name']} {consequence}",
        "mend or drain the node: Berth mends none",
    )


def of_refusal(refusal: Refusal) -> Problem:
    """The API server refused one of the children: quota, policy, or a name that is taken."""
    return _of_message(f"{refusal.kind} {refusal.name}", refusal.message)


def of_deployment(deployment: Object) -> Problem | None:
    """Pods that were never made: the ReplicaSet's refusals, verbatim."""
    failing = condition(deployment, "ReplicaFailure")
    if failing.get("status") != "True":
        return None
    return _of_message("the pods", failing.get("message", ""))


def of_warnings(warnings: Iterable[Object], pods: Iterable[Pod]) -> Problem | None:
    """A volume that a waiting pod cannot have: only an Event tells of it.

    An Event stays for an hour; a pod that has started since then has its volumes.
    """
    names = {pod.object["metadata"]["name"] for pod in pods if not _has_started(pod.object)}
    for warning in reversed(tuple(warnings)):
        pod = warning.get("involvedObject", {}).get("name")
        if pod in names and warning.get("reason") in ("FailedMount", "FailedAttachVolume"):
            message = _cut(str(warning.get("message", "")))
            fix = next(fix for pattern, fix in _VOLUMES if re.search(pattern, message))
            failure = Failure(reason="Unschedulable", message=message, fix=fix)
            return Problem("Scheduled", failure, pod=pod)
    return None


def _has_started(pod: Object) -> bool:
    return any(
        one.get("state", {}).keys() & {"running", "terminated"} for one in container_statuses(pod)
    )


_ONE_NODE: Final = (
    "let the claim be on several nodes (access mode ReadWriteMany or ReadOnlyMany), or set "
    "spec.replicas to 1"
)

# What an Event says of a volume that cannot be had: pattern, fix. The last row matches everything.
_VOLUMES: Final = (
    (r"Multi-Attach", _ONE_NODE),
    (r"", "mend the volume that the message names; the pod waits for it"),
)


def _of_message(what: str, message: str) -> Problem:
    reason, fix = next((r, f) for pattern, r, f in _REFUSALS if re.search(pattern, message))
    return Problem("Scheduled", Failure(reason=reason, message=f"{what}: {_cut(message)}", fix=fix))


# What the API server says when it will not have an object: pattern, reason, fix. The last row
# matches everything.
_REFUSALS: Final = (
    (r"exceeded quota|quota", "QuotaExceeded", "raise the quota, or ask for less"),
    (
        r"(maximum|minimum) \S+ (usage )?per |limit to request ratio per ",  # a LimitRange's words
        "Refused",
        "set spec.resources within the namespace's LimitRange, or change that",
    ),
    (r"PodSecurity|violates", "PodSecurityDenied", "allow it in the namespace's pod security"),
    (r"belongs to something else", "NameConflict", "rename this ModelDeployment or that object"),
    (r"", "Refused", "see the message; Berth tries again by itself"),
)


def _rejected(pod: Object) -> Problem | None:
    """A pod that its kubelet or its node has ended for good."""
    status = pod.get("status", {})
    if status.get("phase") != "Failed" or not status.get("reason"):
        return None
    said = f"{status['reason']}: {_cut(status.get('message', ''))}"
    where, reason, fix = next(
        (w, r, f) for pattern, w, r, f in _REJECTIONS if re.search(pattern, said)
    )
    return _problem(pod, where, reason, f"node {pod['spec'].get('nodeName')}: {said}", fix)


# What a kubelet says of a pod that it would not have: pattern, condition, reason, fix. The last row
# matches everything.
_REJECTIONS: Final = (
    (
        r"^UnexpectedAdmissionError",  # the device plugin gave no card, though one was counted
        "Scheduled",
        DEVICE_UNHEALTHY,
        "mend that node's device plugin or card, or cordon the node; Berth tries again by itself",
    ),
    (r"ephemeral|(?i:disk)", "ModelCached", "NoSpace", "free disk there, or use model.cache"),
    (r"^OutOf\S+/", "Scheduled", "InsufficientGPU", "free a GPU or add a node; Berth waits"),
    (
        r"^(NodeShutdown|NodeLost|Shutdown|Terminated)",
        "Scheduled",
        NODE_UNHEALTHY,
        "see the node's conditions; the pod is made anew by itself",
    ),
    (r"", "Scheduled", "Unschedulable", "see the node's conditions"),
)


def _unscheduled(pod: Object) -> Problem | None:
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") != "False":
        return None
    message = _cut(scheduled.get("message", ""))
    reason, fix = next((r, f) for pattern, r, f in _UNSCHEDULED if re.search(pattern, message))
    return _problem(pod, "Scheduled", reason, message, fix)


# What the scheduler says of a pod that has no node: pattern, reason, fix. The last row matches
# everything.
_UNSCHEDULED: Final = (
    (
        r'persistentvolumeclaim "\S+" not found',
        "Unschedulable",
        "create the claim that the message names, or mend spec.model; Berth goes on by itself",
    ),
    (r"volume node affinity conflict", "Unschedulable", _ONE_NODE),
    (r"Insufficient \S+/\S+", "InsufficientGPU", "free a GPU or add a node; Berth waits"),
    (r"", "Unschedulable", "make room, or mend spec.podTemplate; it waits"),
)


def _image(pod: Object) -> Problem | None:
    for container in container_statuses(pod):
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in _IMAGE_REASONS:
            return _problem(
                pod,
                "RuntimeHealthy" if container["name"] == "engine" else "ModelCached",
                "ImagePullFailed",
                f"{container['image']}: {_cut(waiting.get('message', ''))}",
                "mend the image's name, or add spec.podTemplate.imagePullSecrets",
                count=container.get("restartCount", 0) + 1,
            )
    return None


_IMAGE_REASONS: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
    }
)


def _configuration(pod: Object) -> Problem | None:
    """A Secret or key that the pod wants and that is not there."""
    for container in container_statuses(pod):
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") == "CreateContainerConfigError":
            return _problem(
                pod,
                "ModelCached",
                "AuthFailed",
                f"{_token_of(pod, container['name'])}: {_cut(waiting.get('message', ''))}",
                "create the Secret that spec.model.authSecretRef names; Berth goes on by itself",
            )
    return None


def _token_of(pod: Object, container: str) -> str:
    """The Secret's key that a container takes its token from; kubelet does not always name it."""
    spec = pod["spec"]
    for one in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        if one["name"] != container:
            continue
        for variable in one.get("env", []):
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                return f"Secret {reference['name']}, key {reference['key']}"
    return f"container {container}"


def _ended(pod: Object) -> Problem | None:
    """A container that ended badly, with the typed cause that it left, or the log's tail."""
    for container in container_statuses(pod):
        ended = termination(container)
        if ended is None:
            continue
        where = "RuntimeHealthy" if container["name"] == "engine" else "ModelCached"
        return Problem(
            condition=where,
            failure=_cause(container["name"], ended),
            pod=pod["metadata"]["name"],
            exit_code=ended.get("exitCode"),
            count=container.get("restartCount", 0) or 1,
            node=pod["spec"].get("nodeName"),
        )
    return None


def _cause(container: str, ended: Any) -> Failure:
    message = ended.get("message", "")
    try:
        return Failure.model_validate_json(message)
    except ValidationError:
        pass
    if ended.get("reason") == "OOMKilled" or ended.get("exitCode") == _OOM_EXIT:
        return Failure(
            reason="OutOfMemory",
            message=f"container {container} was killed: it took more host memory than its limit",
            fix="raise spec.resources.memory",
        )
    for pattern, reason, fix in _ENDINGS:
        if re.search(pattern, message):
            return Failure(reason=reason, message=_cut(message.strip()), fix=fix)
    return Failure(
        reason="CrashLoop",
        message=f"container {container} ended with code {ended.get('exitCode')}: {_cut(message)}",
        fix="see the container's log",
    )


# Endings of containers that cannot leave a typed cause: pattern, reason, fix.
_ENDINGS: Final = (
    (r"No space left on device", "NoSpace", "free disk on the node, or use a larger one"),
    (r"no config\.json", "NotFound", "put the model's files under /models of the image"),
)


# In this order, because the earlier ones are causes of the later ones.
_CHECKS: Final[tuple[Callable[[Object], Problem | None], ...]] = (
    _rejected,  # the pod is gone for good
    _unscheduled,  # nothing has run
    _image,  # nothing of this container has run
    _configuration,  # a Secret is missing
    _ended,  # it ran, and ended badly
)


def _problem(
    pod: Object, where: str, reason: str, message: str, fix: str, *, count: int = 1
) -> Problem:
    return Problem(
        condition=where,
        failure=Failure(reason=reason, message=message, fix=fix),
        pod=pod["metadata"]["name"],
        count=count,
        node=pod["spec"].get("nodeName"),
    )


def _cut(message: str) -> str:
    return message if len(message) <= _MESSAGE_CHARS else message[: _MESSAGE_CHARS - 1] + "…"

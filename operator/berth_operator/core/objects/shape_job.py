"""The shape Job: reads config.json and the weights' headers where the credentials are.

It always ends well; why a shape could not be read is in its termination message, so Kubernetes
never retries what only a person can mend, and Berth tries again at its own pace: a new Job whose
name counts the attempts.
"""

from typing import Any, Final

from berth_api import names
from berth_api.server import FetchConfig
from berth_operator.core.objects import model_files
from berth_operator.core.objects.jobs import job
from berth_operator.core.objects.pods import CONTROL_USER, container_security, env, pod_spec
from berth_operator.core.resolved import Resolved
from berth_operator.settings import AcceleratorProfile, Settings

# A hub that does not answer for this long is unreachable.
DEADLINE_SECONDS: Final = 900


def prefix(resolved: Resolved) -> str:
    """What the names of all attempts for the present source begin with."""
    return f"{names.shape_job(resolved.name, resolved.source_hash)}-"


def build(
    resolved: Resolved,
    settings: Settings,
    profile: AcceleratorProfile | None,
    attempt: int,
    *,
    image_volumes: bool,
) -> dict[str, Any]:
    limits = {"backoffLimit": 0, "activeDeadlineSeconds": DEADLINE_SECONDS}
    pod = _pod(resolved, settings, profile, image_volumes=image_volumes)
    return job(resolved, f"{prefix(resolved)}{attempt}", names.ROLE_SHAPE, limits, pod)


def _pod(
    resolved: Resolved,
    settings: Settings,
    profile: AcceleratorProfile | None,
    *,
    image_volumes: bool,
) -> dict[str, Any]:
    files = model_files.heads(resolved, settings, image_volumes=image_volumes)
    mounts = [model_files.tmp_mount()] + ([files.mount] if files else [])
    copies = files.init if files else ()
    server = [model_files.server_volume()] if copies else []
    return pod_spec(resolved, settings, profile, CONTROL_USER) | {
        "restartPolicy": "Never",
        "initContainers": list(copies),
        "containers": [_reader(resolved, settings, files, mounts)],
        "volumes": [model_files.tmp_volume(), *server, *(files.volumes if files else ())],
    }


def _reader(
    resolved: Resolved,
    settings: Settings,
    files: model_files.Files | None,
    mounts: list[dict[str, Any]],
) -> dict[str, Any]:
    config = FetchConfig(
        source=resolved.spec.model.source,
        directory=files.directory if files else "",
        token_secret=model_files.token_name(resolved),
    )
    values = model_files.hub_env(settings) | {
        names.ENV_FETCH_CONFIG: config.wire(),
        "HOME": "/tmp",  # noqa: S108 -- an emptyDir of the pod's own
    }
    return {
        "name": "shape",
        "image": settings.control_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python3", "-m", "berth_server.shape"],
        "env": env(resolved, values, *model_files.token_env(resolved.spec.model.auth_secret_ref)),
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"memory": "1Gi"},
        },
    }

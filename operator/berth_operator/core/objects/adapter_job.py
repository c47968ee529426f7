"""The Job that reads LoRA adapters before they are planned: their configurations and headers.

Apart from the shape Job, so that an adapter more reads no model again: its commit stays what it is.
A container's last words are short, so several containers share the adapters between them.
"""

from collections.abc import Sequence
from typing import Any, Final

from berth_api import names
from berth_api.server import AdaptersConfig
from berth_operator.core.digest import digest
from berth_operator.core.objects import adapter_files, model_files, shape_job
from berth_operator.core.objects.jobs import job
from berth_operator.core.objects.pods import CONTROL_USER, pod_spec
from berth_operator.core.resolved import Resolved
from berth_operator.settings import AcceleratorProfile, Settings

# With their modules in common so many fit the 3 KiB that each of four containers has.
ADAPTERS_EACH: Final = 16
_HASH_DIGITS: Final = 6  # as a shape Job's


def prefix(resolved: Resolved, sources: Sequence[str]) -> str:
    """What the names of all attempts to read `sources` begin with."""
    found = digest([resolved.source_hash, *sources])[:_HASH_DIGITS]
    return f"{names.shape_job(resolved.name, found)}-"


def shares(sources: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
    """Each container's name and what it reads."""
    starts = range(0, len(sources), ADAPTERS_EACH)
    return [
        (f"adapters-{number}", sources[start : start + ADAPTERS_EACH])
        for number, start in enumerate(starts)
    ]


def build(
    resolved: Resolved,
    settings: Settings,
    profile: AcceleratorProfile | None,
    attempt: int,
    sources: Sequence[str],
) -> dict[str, Any]:
    limits = {"backoffLimit": 0, "activeDeadlineSeconds": shape_job.DEADLINE_SECONDS}
    pod = _pod(resolved, settings, profile, sources)
    return job(resolved, f"{prefix(resolved, sources)}{attempt}", names.ROLE_SHAPE, limits, pod)


def _pod(
    resolved: Resolved,
    settings: Settings,
    profile: AcceleratorProfile | None,
    sources: Sequence[str],
) -> dict[str, Any]:
    wanted, claims = adapter_files.heads(resolved, sources)
    by_source = {one.source: one for one in wanted}
    return pod_spec(resolved, settings, profile, CONTROL_USER) | {
        "restartPolicy": "Never",
        "containers": [
            adapter_files.reader(
                resolved,
                settings,
                name,
                "berth_server.adapter_shape",
                AdaptersConfig(adapters=[by_source[source] for source in share]),
            )
            | {
                "volumeMounts": [model_files.tmp_mount(), *claims.mounts],
                "resources": {
                    "requests": {"cpu": "50m", "memory": "128Mi"},
                    "limits": {"memory": "1Gi"},
                },
            }
            for name, share in shares(sources)
        ],
        "volumes": [model_files.tmp_volume(), *claims.volumes],
    }

"""How LoRA adapters get into a pod: a claim is mounted, what a hub has is fetched into folders.

They have an init container of their own, whatever the source of the model. It sees the same token
as the model's fetcher; the engine sees files alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from berth_api import names
from berth_api.adapters import AdapterReport
from berth_api.server import AdaptersConfig, FetchConfig
from berth_api.source import ClaimSource, HubSource, parse
from berth_operator.core.objects import model_files
from berth_operator.core.objects.pods import container_security, env
from berth_operator.core.resolved import Resolved
from berth_operator.settings import Settings

VOLUME: Final = "adapters"
CONTAINER: Final = "adapters"


def whole(
    resolved: Resolved, settings: Settings, adapters: Mapping[str, AdapterReport]
) -> model_files.Several:
    """All files for a runtime pod; `adapters` are by name."""
    sources = [report.source for report in adapters.values()]
    claims = _claims(sources)
    hub = [report for report in adapters.values() if _of_hub(report.source)]
    if not hub:
        return claims
    return model_files.Several(
        volumes=(*claims.volumes, _volume(resolved)),
        mounts=(*claims.mounts, _mount(read_only=True)),
        init=(_fetcher(resolved, settings, hub),),
    )


def folders(adapters: Mapping[str, AdapterReport]) -> dict[str, str]:
    """Where `whole` puts each."""
    sources = [report.source for report in adapters.values()]
    return {
        name: folder(report.source, sources, report.commit) for name, report in adapters.items()
    }


def folder(source: str, sources: Sequence[str], commit: str = "") -> str:
    """Of one of `sources`: on a claim its own mount, else where the hub's files are fetched to."""
    found = parse(source)
    if isinstance(found, HubSource):
        return f"{names.DIR_ADAPTERS}/{found.repository.replace('/', '--')}/{commit}"
    return f"{names.DIR_CLAIMS}/{sources.index(source)}"


def heads(resolved: Resolved, sources: Sequence[str]) -> tuple[list[FetchConfig], Any]:
    """What the Job that reads adapters is to read, and the claims it needs for that."""
    token = model_files.token_name(resolved)
    wanted = [
        FetchConfig(
            source=source,
            directory="" if _of_hub(source) else folder(source, sources),
            token_secret=token,
        )
        for source in sources
    ]
    return wanted, _claims(sources)


def _of_hub(source: str) -> bool:
    return isinstance(parse(source), HubSource)


def _claims(sources: Sequence[str]) -> model_files.Several:
    """One volume for each claim, and one mount for each folder of it."""
    found = {text: source for text in sources if isinstance(source := parse(text), ClaimSource)}
    claims = list(dict.fromkeys(source.claim for source in found.values()))
    return model_files.Several(
        volumes=tuple(
            {
                "name": _claim_volume(place),
                "persistentVolumeClaim": {"claimName": claim, "readOnly": True},
            }
            for place, claim in enumerate(claims)
        ),
        mounts=tuple(
            {
                "name": _claim_volume(claims.index(source.claim)),
                "mountPath": folder(text, sources),
                "readOnly": True,
            }
            | ({"subPath": source.folder} if source.folder else {})
            for text, source in found.items()
        ),
    )


def _claim_volume(place: int) -> str:
    return f"{VOLUME}-claim-{place}"


def _volume(resolved: Resolved) -> dict[str, Any]:
    return model_files.hub_volume(resolved) | {"name": VOLUME}


def _mount(*, read_only: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"name": VOLUME, "mountPath": names.DIR_ADAPTERS}
    return found | ({"readOnly": True} if read_only else {})


def _fetcher(
    resolved: Resolved, settings: Settings, hub: Sequence[AdapterReport]
) -> dict[str, Any]:
    token = model_files.token_name(resolved)
    config = AdaptersConfig(
        adapters=[
            FetchConfig(
                source=source,
                commit=commit,
                directory=folder(source, (), commit),
                token_secret=token,
            )
            for source, commit in dict.fromkeys((one.source, one.commit) for one in hub)
        ],
        status_port=names.PORT_SERVER_STATUS,
        expected_bytes=sum(report.fileBytes for report in hub) or None,
    )
    return reader(resolved, settings, CONTAINER, "berth_server.adapter_fetch", config) | {
        "ports": [{"name": "fetch-status", "containerPort": names.PORT_SERVER_STATUS}],
        "volumeMounts": [_mount(read_only=False), model_files.tmp_mount()],
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"memory": "2Gi"},
        },
    }


def reader(
    resolved: Resolved, settings: Settings, name: str, module: str, config: AdaptersConfig
) -> dict[str, Any]:
    """A container of the control image that is told of adapters."""
    values = model_files.hub_env(settings) | {
        names.ENV_ADAPTERS_CONFIG: config.wire(),
        "HOME": "/tmp",  # noqa: S108 -- an emptyDir of the pod's own
    }
    token = model_files.token_env(resolved.spec.model.auth_secret_ref)
    return {
        "name": name,
        "image": settings.control_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python3", "-m", module],
        "env": env(resolved, values, *token),
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }

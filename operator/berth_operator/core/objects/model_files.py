"""How a model's files, and berth_server, get into a pod, for each kind of source.

Init containers run one after the other, and the kubelet takes up to a second to notice that one has
ended: as few as possible stand between a request and the engine's start.

The fetcher is the only container that sees the hub's token. An image without any program in it
can still be a source: where the cluster mounts images as volumes, as a volume; else a static
busybox that an earlier init container put into a shared folder copies the files out of it.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

from berth_api import names
from berth_api.server import CompiledConfig, FetchConfig
from berth_api.source import ClaimSource, HubSource, OciSource
from berth_api.spec import Cache, SecretKeyRef
from berth_operator.core.objects.pods import container_security, env
from berth_operator.core.resolved import Resolved
from berth_operator.settings import Settings

VOLUME_MODEL: Final = "model"
VOLUME_SERVER: Final = "server"
# Of a cache claim; the only one of its folders that engines write to.
_COMPILED_FOLDER: Final = "berth-compiled"
_BUSYBOX: Final = f"{names.DIR_SERVER}/bin/busybox"
# As much of each weights file as the shape Job may need; headers are far smaller.
_HEAD_BYTES: Final = 32 * 2**20
# Where images keep a model: KServe's modelcar convention first, then the image's root.
_FIND_IN_IMAGE: Final = (
    "set -eu; b={busybox}; from=; "
    "for f in /models/config.json /models/*/config.json /model/config.json /config.json; do "
    'if [ -z "$from" ] && [ -f "$f" ]; then from=$($b dirname "$f"); fi; done; '
    'if [ -z "$from" ]; then echo "no config.json under /models, /model or / of the image" '
    ">&2; exit 2; fi; "
)
# Puts berth_server and busybox into the shared folder, for containers of other images.
_INSTALL: Final = (
    f"set -e; b={names.BUSYBOX_IN_IMAGE}; "
    f"$b cp -r {names.DIR_SERVER_IN_IMAGE}/. {names.DIR_SERVER}/; "
    f"$b mkdir -p {names.DIR_SERVER}/bin; $b cp $b {_BUSYBOX}"
)
_FETCH: Final = "exec python3 -m berth_server.fetch"
_COPY_ALL: Final = (
    'if [ "$from" = / ]; then for f in /*; do if [ -f "$f" ]; then $b cp "$f" {to}/; fi; done; '
    'else $b cp -rL "$from"/. {to}/; fi'
)
_COPY_HEADS: Final = (
    'for f in "$from"/*; do [ -f "$f" ] || continue; case "$f" in '
    '*.safetensors) $b head -c {head} "$f" > {to}/$($b basename "$f");; '
    '*.json|*.bin) if [ $($b stat -L -c %s "$f") -lt {head} ]; then $b cp "$f" {to}/; fi;; '
    "esac; done"
)


@dataclass(frozen=True)
class Files:
    """Volumes, init containers and the mount through which a container sees the files."""

    directory: str
    volumes: tuple[dict[str, Any], ...]
    mount: dict[str, Any]
    init: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Several:
    """Files in several places."""

    volumes: tuple[dict[str, Any], ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()
    init: tuple[dict[str, Any], ...] = ()


def whole(
    resolved: Resolved, settings: Settings, commit: str, file_bytes: int, *, image_volumes: bool
) -> Files:
    """All files, and berth_server, for a runtime pod."""
    match resolved.source:
        case HubSource(repository=repository):
            folder = f"{repository.replace('/', '--')}/{commit}"
            directory = f"{names.DIR_MODEL}/{folder}"
            config = FetchConfig(
                source=resolved.spec.model.source,
                commit=commit,
                directory=directory,
                status_port=names.PORT_SERVER_STATUS,
                expected_bytes=file_bytes or None,
                token_secret=token_name(resolved),
            )
            return Files(
                directory=directory,
                volumes=(hub_volume(resolved),),
                mount=_mount(read_only=True),
                init=(fetcher(resolved, settings, config),),
            )
        case OciSource(reference=reference) if image_volumes:
            return _installed(settings, _image_volume(settings, reference))
        case OciSource(reference=reference):
            script = _FIND_IN_IMAGE + _COPY_ALL
            return _copied(settings, reference, script, names.DIR_MODEL)
        case ClaimSource(claim=claim, folder=folder):
            return _installed(settings, _claim(claim, folder))


def heads(resolved: Resolved, settings: Settings, *, image_volumes: bool) -> Files | None:
    """config.json and the weights' headers, for the shape Job; None: it reads the hub itself."""
    match resolved.source:
        case HubSource():
            return None
        case OciSource(reference=reference) if image_volumes:
            return _image_volume(settings, reference)
        case OciSource(reference=reference):
            script = _FIND_IN_IMAGE + _COPY_HEADS
            return _copied(settings, reference, script, names.DIR_SHAPE)
        case ClaimSource(claim=claim, folder=folder):
            return _claim(claim, folder)


def token_env(reference: SecretKeyRef | None) -> list[dict[str, Any]]:
    if reference is None:
        return []
    return [{"name": names.ENV_HF_TOKEN, "valueFrom": {"secretKeyRef": reference.wire()}}]


def token_name(resolved: Resolved) -> str | None:
    """How messages call the token's Secret: namespace/name[key]."""
    reference = resolved.spec.model.auth_secret_ref
    if reference is None:
        return None
    return f"{resolved.namespace}/{reference.name}[{reference.key}]"


def hub_env(settings: Settings) -> dict[str, str]:
    return {"HF_ENDPOINT": settings.hub_endpoint} if settings.hub_endpoint else {}


def _installed(settings: Settings, files: Files) -> Files:
    return replace(files, init=(installer(settings),))


def installer(settings: Settings) -> dict[str, Any]:
    return {
        "name": "install",
        "image": settings.control_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": [names.BUSYBOX_IN_IMAGE, "sh", "-c"],
        "args": [_INSTALL],
        "securityContext": container_security(),
        "volumeMounts": [server_mount()],
        "resources": _SMALL,
    }


_SMALL: Final = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}


def engine_environment() -> dict[str, str]:
    """Of every container that runs engines: where they write, and that they fetch nothing."""
    return {
        "HOME": names.DIR_RUN,
        "USER": "berth",  # arbitrary user ids have no passwd entry
        "XDG_CACHE_HOME": f"{names.DIR_RUN}/cache",
        "PYTHONPATH": names.DIR_SERVER,
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
    }


def compiled(cache: Cache | None, image: str) -> CompiledConfig | None:
    """None where nothing is kept of what engines compile."""
    if cache is None or not cache.keep_compiled:
        return None
    return CompiledConfig(folder=names.DIR_COMPILED, image=image)


def compiled_mounts(cache: Cache | None) -> list[dict[str, Any]]:
    """Of the model's volume, in the containers that run engines."""
    if cache is None or not cache.keep_compiled:
        return []
    place = {"mountPath": names.DIR_COMPILED, "subPath": _COMPILED_FOLDER}
    return [{"name": VOLUME_MODEL} | place]


def server_mount(*, read_only: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {"name": VOLUME_SERVER, "mountPath": names.DIR_SERVER}
    return found | ({"readOnly": True} if read_only else {})


def server_volume() -> dict[str, Any]:
    return {"name": VOLUME_SERVER, "emptyDir": {}}


def hub_volume(resolved: Resolved) -> dict[str, Any]:
    cache = resolved.spec.model.cache
    if cache is None:
        return {"name": VOLUME_MODEL, "emptyDir": {}}
    return {"name": VOLUME_MODEL, "persistentVolumeClaim": {"claimName": cache.claim_name}}


def fetcher(resolved: Resolved, settings: Settings, config: FetchConfig) -> dict[str, Any]:
    """The container that alone sees the hub's token."""
    values = hub_env(settings) | {
        names.ENV_FETCH_CONFIG: config.wire(),
        "HOME": "/tmp",  # noqa: S108 -- an emptyDir of the pod's own
    }
    return {
        "name": "fetch",
        "image": settings.control_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": [names.BUSYBOX_IN_IMAGE, "sh", "-c"],
        "args": [f"{_INSTALL}; {_FETCH}"],
        "env": env(resolved, values, *token_env(resolved.spec.model.auth_secret_ref)),
        "ports": [{"name": "fetch-status", "containerPort": names.PORT_SERVER_STATUS}],
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [server_mount(), _mount(read_only=False), tmp_mount()],
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"memory": "2Gi"},
        },
    }


def _image_volume(settings: Settings, reference: str) -> Files:
    volume = {
        "name": VOLUME_MODEL,
        "image": {"reference": reference, "pullPolicy": settings.image_pull_policy},
    }
    return Files(names.DIR_MODEL, (volume,), _mount(read_only=True))


def _copied(settings: Settings, reference: str, script: str, to: str) -> Files:
    mount = {"name": VOLUME_MODEL, "mountPath": to}
    copier = {
        "name": "copy",
        "image": reference,
        "imagePullPolicy": settings.image_pull_policy,
        "command": [_BUSYBOX, "sh", "-c"],
        "args": [script.format(busybox=_BUSYBOX, to=to, head=_HEAD_BYTES)],
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [server_mount(read_only=True), mount],
        "resources": _SMALL,
    }
    volume = {"name": VOLUME_MODEL, "emptyDir": {}}
    return Files(to, (volume,), mount | {"readOnly": True}, (installer(settings), copier))


def copier_into(reference: str, settings: Settings, to: str, *, by: str) -> dict[str, Any]:
    """A container of the image that copies its model into a claim's folder; whole or not there.

    `by` is the model: of two that come from one image each has a place of its own aside, and the
    first to end has its folder renamed.
    """
    aside = f"{to}.{by}.part"
    script = (
        f"{_FIND_IN_IMAGE}if [ -d {{to}} ]; then exit 0; fi; $b rm -rf {aside}; "
        f"$b mkdir -p {aside}; {_COPY_ALL.replace('{to}', aside)}; "
        f"$b mv -T {aside} {{to}} || $b rm -rf {aside}; [ -d {{to}} ]"
    )
    return {
        "name": "fetch",
        "image": reference,
        "imagePullPolicy": settings.image_pull_policy,
        "command": [_BUSYBOX, "sh", "-c"],
        "args": [script.format(busybox=_BUSYBOX, to=to)],
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [server_mount(read_only=True), _mount(read_only=False)],
        "resources": _SMALL,
    }


def _claim(claim: str, folder: str) -> Files:
    volume = {
        "name": VOLUME_MODEL,
        "persistentVolumeClaim": {"claimName": claim, "readOnly": True},
    }
    mount = _mount(read_only=True) | ({"subPath": folder} if folder else {})
    return Files(names.DIR_MODEL, (volume,), mount)


def _mount(*, read_only: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"name": VOLUME_MODEL, "mountPath": names.DIR_MODEL}
    return found | ({"readOnly": True} if read_only else {})


def tmp_mount() -> dict[str, Any]:
    return {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 -- an emptyDir of the pod's own


def tmp_volume() -> dict[str, Any]:
    return {"name": "tmp", "emptyDir": {}}

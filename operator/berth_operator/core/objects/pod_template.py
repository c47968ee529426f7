"""The runtime pod's template: rendered once per revision, then stored and re-applied as it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from berth_api import names
from berth_api.adapters import AdapterReport
from berth_api.quantity import mebibytes
from berth_api.server import EngineAdapters, EngineConfig, ServerConfig, queue_limit
from berth_api.shape import ShapeReport
from berth_api.source import HubSource
from berth_api.spec import Cache
from berth_api.status import Plan
from berth_operator.core.objects import adapter_files, model_files
from berth_operator.core.objects.pods import container_security, env, pod_spec
from berth_operator.core.resolved import Resolved, labels
from berth_operator.settings import AcceleratorProfile, Device, EngineProfile, Settings

# EndpointSlices reach every gateway well within this; then SIGTERM.
PRE_STOP_SECONDS: Final = 3
# The engine's own teardown: 5 s for its worker and 5 s for its core, seen with vLLM 0.32.
TEARDOWN_SECONDS: Final = 15
STALL_SECONDS: Final = 120
# A start may take this long, plus what slow storage needs for the weights.
_START_SECONDS: Final = 1800
_SLOW_STORAGE_BYTES_PER_SECOND: Final = 50 * 2**20
# What a start is expected to take, for estimates only: imports, profiling and, on a GPU, compiling
# and graph capture; then the weights at the speed of a local disk.
_EXPECTED_START_SECONDS: Final = {Device.CUDA: 90, Device.ROCM: 90, Device.CPU: 25}
_LOCAL_DISK_BYTES_PER_SECOND: Final = 500 * 2**20
SHM_BYTES: Final = {Device.CUDA: 2 * 2**30, Device.ROCM: 2 * 2**30, Device.CPU: 256 * 2**20}


@dataclass(frozen=True)
class Build:
    """What a template is rendered from; the revision's hash covers what of it matters."""

    resolved: Resolved
    settings: Settings
    engine: EngineProfile
    accelerator: AcceleratorProfile
    plan: Plan
    shape: ShapeReport
    revision: str
    image_volumes: bool
    adapters: Mapping[str, AdapterReport] = field(default_factory=dict)  # by name


def build(given: Build) -> dict[str, Any]:
    files = model_files.whole(
        given.resolved,
        given.settings,
        given.shape.commit,
        given.shape.fileBytes,
        image_volumes=given.image_volumes,
    )
    adapters = adapter_files.whole(given.resolved, given.settings, given.adapters)
    return {
        "metadata": {
            "labels": labels(given.resolved, names.ROLE_ENGINE, given.revision)
            | {names.LABEL_ROUTE: names.ROUTE_OPEN},
            "annotations": dict(given.resolved.spec.pod_template.annotations),
        },
        "spec": pod_spec(
            given.resolved, given.settings, given.accelerator, given.engine.run_as_user
        )
        | {
            "terminationGracePeriodSeconds": PRE_STOP_SECONDS
            + given.resolved.spec.rollout.drain_timeout_seconds
            + TEARDOWN_SECONDS,
            "initContainers": [*files.init, *adapters.init],
            "containers": [_engine(given, files, adapters)],
            "volumes": [*_volumes(given), *files.volumes, *adapters.volumes],
        },
    }


def _engine(
    given: Build, files: model_files.Files, adapters: model_files.Several
) -> dict[str, Any]:
    return {
        "name": "engine",
        "image": given.plan.image,
        "imagePullPolicy": given.settings.image_pull_policy,
        "command": ["python3", "-m", "berth_server"],
        "env": env(given.resolved, _environment(given, files.directory)),
        "ports": [
            {"name": names.PORT_NAME_ENGINE, "containerPort": names.PORT_ENGINE},
            {"name": names.PORT_NAME_STATUS, "containerPort": names.PORT_SERVER_STATUS},
        ],
        **supervision(given.engine.device),
        "resources": _resources(given),
        "volumeMounts": [
            model_files.server_mount(read_only=True),
            {"name": "run", "mountPath": names.DIR_RUN},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 -- NCCL and torch share here
            {"name": "engine-key", "mountPath": names.DIR_ENGINE_KEY, "readOnly": True},
            model_files.tmp_mount(),
            files.mount,
            *model_files.compiled_mounts(_cache(given)),
            *adapters.mounts,
        ],
    }


def _environment(given: Build, model_dir: str) -> dict[str, str]:
    config = server_config(given, model_dir).wire()
    return model_files.engine_environment() | {names.ENV_SERVER_CONFIG: config}


def server_config(given: Build, model_dir: str) -> ServerConfig:
    plan = given.plan
    return ServerConfig(
        namespace=given.resolved.namespace,
        model=given.resolved.name,
        revision=given.revision,
        engines=[engine_config(given.resolved, given.engine, plan, model_dir, _adapters(given))],
        status_port=names.PORT_SERVER_STATUS,
        engine_key_file=f"{names.DIR_ENGINE_KEY}/{names.ENGINE_KEY_FIELD}",
        max_queued_requests=queue_limit(plan.max_num_seqs),
        drain_timeout_seconds=given.resolved.spec.rollout.drain_timeout_seconds,
        stall_timeout_seconds=STALL_SECONDS,
        start_timeout_seconds=start_timeout_seconds(plan),
        expected_start_seconds=expected_start_seconds(plan),
        compiled=model_files.compiled(_cache(given), plan.image),
    )


def _cache(given: Build) -> Cache | None:
    """The claim that the model's volume is of; only a hub's files have one beside them."""
    resolved = given.resolved
    return resolved.spec.model.cache if isinstance(resolved.source, HubSource) else None


def _adapters(given: Build) -> EngineAdapters | None:
    planned = given.plan.adapter_slots
    if planned is None:
        return None
    return EngineAdapters(
        slots=planned.count,
        max_rank=planned.max_rank,
        modules=planned.modules,
        folders=adapter_files.folders(given.adapters),
    )


def start_timeout_seconds(plan: Plan) -> int:
    """From exec to the first generated token, on slow storage."""
    weights = plan.weights_bytes * max(1, plan.tensor_parallel_size)
    return _START_SECONDS + weights // _SLOW_STORAGE_BYTES_PER_SECOND


def expected_start_seconds(plan: Plan) -> int:
    """From the pod's containers' start to the first token, with the image and files there."""
    weights = plan.weights_bytes * max(1, plan.tensor_parallel_size)
    return _EXPECTED_START_SECONDS[Device(plan.device)] + weights // _LOCAL_DISK_BYTES_PER_SECOND


def engine_config(
    resolved: Resolved,
    engine: EngineProfile,
    plan: Plan,
    model_dir: str,
    adapters: EngineAdapters | None = None,
) -> EngineConfig:
    on_cpu = engine.device is Device.CPU
    return EngineConfig(
        name=resolved.name,
        command=engine.command,
        device=engine.device.value,
        port=names.PORT_ENGINE,
        model_dir=model_dir,
        dtype=plan.dtype,
        kv_cache_dtype=plan.kv_cache_dtype,
        tensor_parallel_size=plan.tensor_parallel_size,
        gpu_memory_fraction=plan.gpu_memory_fraction,
        # On a GPU the engine takes what its fraction leaves; on CPU that would be 92 % of the pod.
        kv_cache_bytes=plan.kv_cache_bytes if on_cpu else None,
        max_model_len=plan.max_model_len,
        max_num_seqs=plan.max_num_seqs,
        max_num_batched_tokens=plan.max_num_batched_tokens,
        mm_encoder_tp_mode=plan.mm_encoder_tp_mode,
        enforce_eager=engine.enforce_eager,
        extra_args=list(resolved.spec.runtime.extra_args),
        env=dict(engine.env),
        allow_unsupported=engine.allow_unsupported or None,
        adapters=adapters,
    )


def _resources(given: Build) -> dict[str, Any]:
    plan, profile = given.plan, given.accelerator
    memory = mebibytes(plan.memory_bytes)
    limits: dict[str, str] = {"memory": memory}
    if profile.resource and plan.gpus_per_replica:
        limits[profile.resource] = str(plan.gpus_per_replica)
    return {"requests": {"cpu": f"{plan.millicpu}m", "memory": memory}, "limits": limits}


def supervision(device: Device) -> dict[str, Any]:
    """How a kubelet watches and ends berth_server, whatever engines it runs."""
    return {
        # Every second, for clients may be waiting; it costs the wrapper next to nothing.
        "readinessProbe": _probe(names.PATH_READY, period=1, timeout=2, failures=3),
        # Lenient: a busy engine is slow to answer, and the wrapper ends a stalled one itself.
        "livenessProbe": _probe(names.PATH_LIVE, period=20, timeout=10, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        # NVIDIA's container hook writes below the root, so only the CPU's can be read-only.
        "securityContext": container_security(read_only_root=device is Device.CPU),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _probe(path: str, *, period: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": names.PORT_NAME_STATUS},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _volumes(given: Build) -> list[dict[str, Any]]:
    shm = mebibytes(SHM_BYTES[given.engine.device])
    secret = {
        "secretName": names.engine_key_secret(given.resolved.name),
        "defaultMode": 0o440,
    }
    return [
        model_files.server_volume(),
        {"name": "run", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": shm}},
        {"name": "engine-key", "secret": secret},
        model_files.tmp_volume(),
    ]

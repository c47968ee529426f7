"""An engine's configuration, spelled in the flags and the environment of vLLM 0.32. Pure.

Nothing is decided here: every value comes from the operator. What the user may not pass is in
`berth_api.engine_flags`.
"""

import json
from dataclasses import dataclass
from typing import Final, Protocol

from berth_api.engine_flags import refused
from berth_api.server import EngineAdapters, EngineConfig
from berth_server import binding, variables
from berth_server.binding import Cpus
from berth_server.errors import ConfigurationError

MIDDLEWARE: Final = "berth_server.admission.Admission"

_ENVIRONMENT: Final = {
    # The files are on disk: a hub that cannot be reached must not delay a start.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    # No telemetry out of a user's cluster.
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # A media URL that the gateway allowed must not redirect to one that it would not.
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
    # The pump reads lines as they are written.
    "PYTHONUNBUFFERED": "1",
}
_CPU_ENVIRONMENT: Final = {
    # numpy's and scipy's thread pools serve nobody here and forbid a fork.
    "OPENBLAS_NUM_THREADS": "1",
    variables.FORK: "1",
}
# Variables that would overrule a flag or lock the gateway out, whoever has set them: the user's
# podTemplate.env, the image, or the engine profile.
UNSET: Final = (
    "VLLM_CPU_KVCACHE_SPACE",  # beats --kv-cache-memory-bytes without a word (platforms/cpu.py)
    "VLLM_API_KEY",  # a second key on /v1, which the gateway does not know
    "VLLM_PORT",  # a Service named vllm would set it to a URL
    "HF_TOKEN",  # the engine serves offline
    "VLLM_LORA_RESOLVER_CACHE_DIR",  # adapters that nobody has planned for
    "VLLM_LORA_RESOLVER_HF_REPO_LIST",
)


@dataclass(frozen=True)
class Command:
    """What is executed: the argument list, and the environment's differences to the wrapper's.

    `unset` wins over `environment`.
    """

    argv: list[str]
    environment: dict[str, str]
    unset: tuple[str, ...] = UNSET

    def applied_to(self, inherited: dict[str, str]) -> dict[str, str]:
        """The engine's whole environment, from the wrapper's own."""
        whole = inherited | self.environment
        return {name: value for name, value in whole.items() if name not in self.unset}


class Admits(Protocol):
    """How the engine's middleware admits: a dedicated pod's ServerConfig, or a `Door`."""

    @property
    def engine_key_file(self) -> str: ...
    @property
    def max_queued_requests(self) -> int: ...


@dataclass(frozen=True)
class Door:
    """Of one engine of a pool."""

    engine_key_file: str
    max_queued_requests: int


def command(engine: EngineConfig, server: Admits, model_dir: str, cpus: Cpus) -> Command:
    """How to start `engine` on the files in `model_dir`, the folder that holds config.json.

    `cpus` are those that the pod may use.

    Raises ConfigurationError if the extra arguments hold a flag that Berth manages, or if on CPU
    there are more ranks than CPUs.
    """
    if bad := refused(engine.extra_args):
        listed = "; ".join(f"{flag} is managed by Berth: {fix}" for flag, fix in bad)
        raise ConfigurationError(f"spec.runtime.extraArgs: {listed}")
    return Command(
        argv=[
            *(*engine.command, *_model(engine, model_dir), *_adapter_flags(engine.adapters)),
            *(*_flags(engine), *engine.extra_args),
        ],
        environment=_environment(engine, server, cpus),
    )


def _model(engine: EngineConfig, model_dir: str) -> list[str]:
    """`vllm serve` takes the model in its place, the module entry points by a flag."""
    return [model_dir] if engine.command[-1] == "serve" else ["--model", model_dir]


def _flags(engine: EngineConfig) -> list[str]:
    given: dict[str, str | int | None] = {
        "--served-model-name": engine.name,
        "--host": "0.0.0.0",
        "--port": engine.port,
        "--middleware": MIDDLEWARE,
        "--load-format": "safetensors",
        "--dtype": engine.dtype,
        "--kv-cache-dtype": engine.kv_cache_dtype,
        "--tensor-parallel-size": engine.tensor_parallel_size,
        "--pipeline-parallel-size": _unless(engine.pipeline_parallel_size, 1),
        "--mm-encoder-tp-mode": engine.mm_encoder_tp_mode,
        "--block-size": engine.block_size,
        "--max-model-len": engine.max_model_len,
        "--max-num-seqs": engine.max_num_seqs,
        "--max-num-batched-tokens": engine.max_num_batched_tokens,
        "--gpu-memory-utilization": engine.gpu_memory_fraction,
        "--kv-cache-memory-bytes": engine.kv_cache_bytes,
    }
    pairs = [[flag, str(value)] for flag, value in given.items() if value is not None]
    switches = {
        "--disable-uvicorn-access-log": True,
        "--enforce-eager": engine.enforce_eager,
        "--enable-expert-parallel": engine.expert_parallel,
    }
    on = [flag for flag, wanted in switches.items() if wanted]
    return [part for pair in pairs for part in pair] + on


def _adapter_flags(adapters: EngineAdapters | None) -> list[str]:
    """All adapters stay in host memory once they were loaded; files are slower than requests.

    The last flag takes all words until the next one, so that none of a user's may follow it.
    """
    if adapters is None:
        return []
    given = {
        "--max-loras": adapters.slots,
        "--max-lora-rank": adapters.max_rank,
        "--max-cpu-loras": len(adapters.folders),
    }
    pairs = [part for flag, value in given.items() for part in (flag, str(value))]
    return ["--enable-lora", *pairs, "--lora-target-modules", *adapters.modules]


def _unless(value: int, default: int) -> int | None:
    """A stored revision's flags stay what they were before there was a choice."""
    return None if value == default else value


def _environment(engine: EngineConfig, server: Admits, cpus: Cpus) -> dict[str, str]:
    ours = {
        variables.ENGINE_KEY_FILE: server.engine_key_file,
        variables.MAX_IN_FLIGHT: str(server.max_queued_requests),
    }
    if engine.adapters is not None:
        # The engine asks its resolvers only with this; `admission` shuts the paths that it opens.
        ours["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
        ours[variables.ADAPTERS] = json.dumps(engine.adapters.folders)
    ranks = engine.tensor_parallel_size * engine.pipeline_parallel_size
    return shared_environment(engine.device, engine.env, cpus, ranks) | ours


def shared_environment(
    device: str, profile: dict[str, str], cpus: Cpus, ranks: int = 1
) -> dict[str, str]:
    """What all engines of an engine profile with as many ranks have in common.

    Raises ConfigurationError if on CPU there are more ranks than CPUs.
    """
    return _ENVIRONMENT | _for_device(device, ranks, cpus) | profile


def _for_device(device: str, ranks: int, cpus: Cpus) -> dict[str, str]:
    """On CPU there is nobody else to place the ranks."""
    if device != "cpu":
        return {}
    if ranks > cpus.count:
        raise ConfigurationError(
            f"{ranks} ranks need a CPU each, and the pod may use {cpus.count}: "
            f"set spec.parallelism.tensor to {cpus.count} or less, or raise spec.resources.cpu"
        )
    return _CPU_ENVIRONMENT | binding.environment(cpus, ranks)

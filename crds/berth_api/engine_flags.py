"""Which of vLLM's flags Berth sets itself, and what a user who wants one should write instead.

The operator validates `spec.runtime.extraArgs` with `refused`, and the server checks once more
before it starts the engine. vLLM's parser (vllm/utils/argparse_utils.py, 0.32) takes underscores
for dashes, `--flag=value`, `--flag.key value` and unambiguous abbreviations, so all of these are
recognised. Whether a flag exists is for the engine to say.
"""

from typing import Final

_NETWORK: Final = "remove it: Berth sets the engine's address, and the gateway is the way in"
_IDENTITY: Final = "set spec.model.name or spec.model.aliases"
_MODEL: Final = "set spec.model.source"
_KEYS: Final = "remove it: Berth gives each engine its own key and the gateway checks the users'"
_TLS: Final = "remove it: TLS ends at the ingress; pods speak HTTP inside the cluster"
_UNTRUSTED: Final = "remove it: it lets a model or a request run code or read files in the pod"
_ONE_POD: Final = "remove it: one engine is one pod; set spec.replicas for more"
_TENSOR: Final = "set spec.parallelism.tensor"
_MEMORY: Final = "set spec.memory.gpuMemoryFraction; Berth plans the KV cache from it"
_DRAIN: Final = "set spec.rollout.drainTimeoutSeconds; alone this flag hangs or answers 500"
_QUEUE: Final = "remove it: Berth bounds the queue before the engine answers with a status"
_ADAPTERS: Final = "set spec.adapters; Berth plans their memory and lists them to clients"
_WATCHED: Final = "remove it: Berth reads the engine's log and metrics"

MANAGED: Final[dict[str, str]] = {
    # Where it listens.
    "--host": _NETWORK,
    "--port": _NETWORK,
    "--uds": _NETWORK,
    "--root-path": _NETWORK,
    "--middleware": _NETWORK,
    "--grpc": _NETWORK,
    "--grpc-port": _NETWORK,
    "--headless": _NETWORK,
    "--config": "put the flags into spec.runtime.extraArgs: a file would hide them from Berth",
    # Who may ask.
    "--api-key": _KEYS,
    "--allow-credentials": _KEYS,
    "--ssl-*": _TLS,
    "--enable-ssl-refresh": _TLS,
    # What it serves.
    "--model": _MODEL,
    "--served-model-name": _IDENTITY,
    "--revision": _MODEL,
    "--code-revision": _MODEL,
    "--download-dir": "set spec.model.cache",
    "--hf-token": "set spec.model.authSecretRef; the engine itself serves offline",
    "--load-format": "remove it: Berth loads safetensors only; other formats can run code",
    # Untrusted input (vLLM docs, usage/security.md).
    "--trust-remote-code": _UNTRUSTED,
    "--enable-prompt-embeds": _UNTRUSTED,
    "--enable-mm-embeds": _UNTRUSTED,
    "--allowed-local-media-path": _UNTRUSTED,
    "--trust-request-chat-template": _UNTRUSTED,
    "--trust-request-mm-kwargs": _UNTRUSTED,
    # How it is split.
    "--tensor-parallel-size": _TENSOR,
    "-tp": _TENSOR,
    "--pipeline-parallel-size": "set spec.parallelism.pipeline",
    "-pp": "set spec.parallelism.pipeline",
    "--data-parallel-*": _ONE_POD,
    "-dp*": _ONE_POD,
    "--decode-context-parallel-size": _ONE_POD,
    "-dcp": _ONE_POD,
    "--prefill-context-parallel-size": _ONE_POD,
    "-pcp": _ONE_POD,
    "--nnodes": _ONE_POD,
    "-n": _ONE_POD,
    "--node-rank": _ONE_POD,
    "-r": _ONE_POD,
    "--master-addr": _ONE_POD,
    "--master-port": _ONE_POD,
    "--distributed-executor-backend": _ONE_POD,
    "--api-server-count": "remove it: limits and counts are kept by one API process",
    "-asc": "remove it: limits and counts are kept by one API process",
    # Memory and shape, which the plan holds.
    "--gpu-memory-utilization": _MEMORY,
    "--device-memory-utilization": _MEMORY,
    "--kv-cache-memory-bytes": _MEMORY,
    "--num-gpu-blocks-override": _MEMORY,
    "--block-size": "remove it: Berth plans the KV cache in the engine's own blocks",
    "--max-model-len": "set spec.runtime.maxModelLen",
    "--max-num-seqs": "set spec.runtime.maxNumSeqs",
    "--max-num-batched-tokens": "set spec.runtime.maxNumBatchedTokens",
    "--dtype": "set spec.runtime.dtype",
    "--kv-cache-dtype": "set spec.runtime.kvCacheDtype",
    # Life cycle, which the server watches.
    "--shutdown-timeout": _DRAIN,
    "--max-num-queued-reqs": _QUEUE,
    "--max-num-queued-tokens": _QUEUE,
    "--disable-log-stats": _WATCHED,
    "--log-config-file": _WATCHED,
    "--logging-config": _WATCHED,
}

# Beside spec.adapters only: who set them by hand before there was such a field may go on.
OF_ADAPTERS: Final[dict[str, str]] = {
    "--enable-lora": _ADAPTERS,
    "--lora-*": _ADAPTERS,
    "--max-loras": _ADAPTERS,
    "--max-lora-rank": _ADAPTERS,
    "--max-cpu-loras": _ADAPTERS,
    "--fully-sharded-loras": _ADAPTERS,
    "--default-mm-loras": _ADAPTERS,
    "--enable-tower-connector-lora": _ADAPTERS,
}

# Flags of their own that happen to be the beginning of a managed one.
_NOT_ABBREVIATIONS: Final = frozenset({"-dc"})


def refused(extra_args: list[str], *, adapted: bool = False) -> list[tuple[str, str]]:
    """The flags among `extra_args` that Berth manages, as written, each with what to do instead.

    `adapted`: of a model with spec.adapters.
    """
    managed = MANAGED | OF_ADAPTERS if adapted else MANAGED
    found = ((arg.partition("=")[0], _fix(arg, managed)) for arg in extra_args)
    return [(flag, fix) for flag, fix in found if fix]


def _fix(argument: str, managed: dict[str, str]) -> str:
    """The fix of the managed flag that vLLM's parser would read from `argument`, or nothing."""
    name = _name(argument)
    if len(name.strip("-")) == 0 or not name.startswith("-") or name in _NOT_ABBREVIATIONS:
        return ""
    return next((fix for flag, fix in managed.items() if _means(name, flag)), "")


def _name(argument: str) -> str:
    name = argument.partition("=")[0]
    if not name.startswith("--"):
        return name
    name = "--" + name[2:].partition(".")[0].replace("_", "-")
    return "--" + name.removeprefix("--no-") if name.startswith("--no-") else name


def _means(name: str, flag: str) -> bool:
    """Whether vLLM reads `name` as `flag`: itself, of its family, abbreviated, or `-n4`."""
    if flag.endswith("*"):
        return name.startswith(flag[:-1]) or flag.startswith(name)
    attached = len(flag) == len("-n") and name.startswith(flag)
    return attached or flag.startswith(name)

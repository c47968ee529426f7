"""What the API server checks beyond types, and what it tells a user who breaks a rule.

Every refusal names the field, the value or the limit, and the fix. Rules are data in CEL
(https://kubernetes.io/docs/reference/using-api/cel/); `berth_api.schema` writes them out.
"""

from typing import Any, Final

from berth_api import names

# Beside a pattern or a range: how a valid value is spelt. The schema writer puts it, the field's
# path and the refused value into one message; it never reaches the API server itself.
MUST: Final = "x-berth-must"
VALIDATIONS: Final = "x-kubernetes-validations"


def rule(
    expression: str, message: str, *, field: str | None = None, shown: str | None = None
) -> dict[str, str]:
    """One CEL rule; `field` is the path it is reported at, `shown` the message with values."""
    optional = {"fieldPath": field, "messageExpression": shown}
    given = {key: value for key, value in optional.items() if value is not None}
    return {"rule": expression, "message": message} | given


def validations(*given: dict[str, str]) -> dict[str, Any]:
    return {VALIDATIONS: list(given)}


def must(text: str) -> dict[str, Any]:
    """The end of the sentence "spec.field <value> must …"."""
    return {MUST: text}


def unserved(field: str, expression: str, what: str, fix: str) -> dict[str, str]:
    return rule(expression, f"{what} is not served yet; {fix}", field=field)


NAME: Final = (
    rule(
        f"size(self.metadata.name) <= {names.MAX_NAME_LENGTH}",
        f"metadata.name must be at most {names.MAX_NAME_LENGTH} characters: "
        "the names of Pods and Services are made from it; "
        "give clients a longer name with spec.model.name",
    ),
    rule(
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name must be lower-case letters, digits and '-', and begin with a letter: "
        "a Service is named after it; give clients another name, for example qwen2.5, "
        "with spec.model.name",
    ),
)

SOURCE: Final = (
    rule(
        "self.source.startsWith('hf://') || !has(self.authSecretRef)",
        "spec.model.authSecretRef is for hf:// sources only; for oci:// use "
        "spec.podTemplate.imagePullSecrets, for pvc:// leave it out",
        field=".authSecretRef",
    ),
    rule(
        "!self.source.contains('..')",
        "spec.model.source must not contain '..'; name the folder from the claim's root",
        field=".source",
    ),
)

IMAGE: Final = (
    rule(
        "self.contains('@sha256:') || (self.matches('.+:[^/]+$') && !self.endsWith(':latest'))",
        "spec.runtime.image needs a version tag or a digest, not latest: "
        "pods of one revision must run one engine",
        shown="'spec.runtime.image \"' + self + '\" needs a version tag or a digest, not latest: "
        "pods of one revision must run one engine'",
    ),
)

REPLICA_BOUNDS: Final = (
    rule(
        "self.minReplicas <= self.maxReplicas",
        "spec.scaling.minReplicas must be at most spec.scaling.maxReplicas (1 if left out); "
        "lower the one or raise the other",
        field=".minReplicas",
    ),
)

# Fields whose names and units are settled but which this version does not act on: the rule that
# holds while the field is left alone, and what a user is told otherwise.
UNSERVED: Final = (
    unserved(
        ".scaling",
        "!has(self.scaling) || !has(self.scaling.mode) || self.scaling.mode != 'Auto'",
        "spec.scaling.mode Auto",
        "use Fixed or External with spec.replicas",
    ),
    *(
        unserved(f".{name}", f"!has(self.{name})", f"spec.{name}", "leave it out")
        for name in ("keepAlive", "pool", "priority", "evictable", "queue")
    ),
    unserved(
        ".adapters",
        "!has(self.adapters) || size(self.adapters) == 0",
        "spec.adapters",
        "leave it out",
    ),
    unserved(
        ".accelerators",
        "!has(self.accelerators) || size(self.accelerators) <= 1",
        "spec.accelerators with more than one entry",
        "keep the first",
    ),
    unserved(
        ".parallelism",
        "!has(self.parallelism) || !has(self.parallelism.pipeline) || "
        "self.parallelism.pipeline == 'auto' || self.parallelism.pipeline == 1",
        "spec.parallelism.pipeline other than 1",
        "leave it out",
    ),
    unserved(
        ".memory",
        "!has(self.memory) || !has(self.memory.sharing) || self.memory.sharing == 'Exclusive'",
        "spec.memory.sharing other than Exclusive",
        "leave it out",
    ),
)

_BERTH_SETS = "Berth sets it; leave it out"
_PUBLIC = "the gateway faces clients, not the engine; leave it out"
_UNSAFE = "it lets a model or a request run code or read files in the pod; leave it out"

# Engine flags that spec.runtime.extraArgs may not hold: what to do instead (vLLM 0.32's names).
RESERVED_FLAGS: Final[dict[str, str]] = {
    "--model": "use spec.model.source",
    "--served-model-name": "use spec.model.name",
    "--revision": "use spec.model.source with @<revision>",
    "--hf-token": "use spec.model.authSecretRef",
    "--dtype": "use spec.runtime.dtype",
    "--kv-cache-dtype": "use spec.runtime.kvCacheDtype",
    "--max-model-len": "use spec.runtime.maxModelLen",
    "--max-num-seqs": "use spec.runtime.maxNumSeqs",
    "--max-num-batched-tokens": "use spec.runtime.maxNumBatchedTokens",
    "--tensor-parallel-size": "use spec.parallelism.tensor",
    "-tp": "use spec.parallelism.tensor",
    "--pipeline-parallel-size": "use spec.parallelism.pipeline",
    "-pp": "use spec.parallelism.pipeline",
    "--data-parallel-size": "use spec.replicas",
    "-dp": "use spec.replicas",
    "--gpu-memory-utilization": "use spec.memory.gpuMemoryFraction",
    "--kv-cache-memory-bytes": "use spec.memory.gpuMemoryFraction",
    "--download-dir": "use spec.model.cache",
    "--config": "write each flag here",
    "--host": _BERTH_SETS,
    "--port": _BERTH_SETS,
    "--uds": _BERTH_SETS,
    "--headless": _BERTH_SETS,
    "--api-key": _BERTH_SETS,
    "--middleware": _BERTH_SETS,
    "--shutdown-timeout": "use spec.rollout.drainTimeoutSeconds",
    "--root-path": _PUBLIC,
    "--ssl-keyfile": _PUBLIC,
    "--ssl-certfile": _PUBLIC,
    "--ssl-ca-certs": _PUBLIC,
    "--allow-credentials": _PUBLIC,
    "--trust-remote-code": _UNSAFE,
    "--allowed-local-media-path": _UNSAFE,
    "--enable-prompt-embeds": _UNSAFE,
}


def _reserved(flag: str, fix: str) -> dict[str, str]:
    """On one argument. vLLM takes `_` for `-`, and argparse any beginning of a long flag."""
    found = "self.find('^--[A-Za-z0-9_-]+').replace('_', '-')"
    long = f"!self.startsWith('--') || !'{flag}'.startsWith({found})"
    short = f"!self.matches('^{flag}(=|$)')"
    return rule(
        long if flag.startswith("--") else short,
        f"spec.runtime.extraArgs must not hold {flag}: {fix}",
    )


EXTRA_ARG: Final = tuple(_reserved(flag, fix) for flag, fix in RESERVED_FLAGS.items())

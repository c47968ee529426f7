"""What the API server checks beyond types, and what it tells a user who breaks a rule.

Every refusal names the field, the value or the limit, and the fix. Rules are data in CEL
(https://kubernetes.io/docs/reference/using-api/cel/); `berth_api.schema` writes them out.
"""

from typing import Any, Final

from berth_api import names
from berth_api.engine_flags import MANAGED

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
        f"self.metadata.name.matches('^{names.NAME_PATTERN}$')",
        "metadata.name must be lower-case letters, digits and '-', and begin with a letter: "
        "a Service is named after it; give clients another name, for example qwen2.5, "
        "with spec.model.name",
    ),
)

POOL_NAME: Final = (
    rule(
        f"size(self.metadata.name) <= {names.MAX_NAME_LENGTH}",
        f"metadata.name must be at most {names.MAX_NAME_LENGTH} characters: "
        "the names of Pods and Secrets are made from it",
    ),
    rule(
        f"self.metadata.name.matches('^{names.NAME_PATTERN}$')",
        "metadata.name must be lower-case letters, digits and '-', and begin with a letter",
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

ADAPTER: Final = (
    rule(
        "!self.source.startsWith('oci://')",
        "spec.adapters[].source must be hf://<organisation>/<adapter> or "
        "pvc://<claim>[/<folder>]; put what an image holds on a claim",
        field=".source",
    ),
    rule(
        "!self.source.contains('..')",
        "spec.adapters[].source must not contain '..'; name the folder from the claim's root",
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

# Without the values: the API server will not have a message of what an integer is as a string, for
# it takes that to be of any length. `berth plan` shows them.
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


def _pooled(field: str, expression: str, message: str) -> dict[str, str]:
    return rule(f"!has(self.pool) || {expression}", message, field=field)


# What a model of a pool leaves to the pool, and what only such a model may say.
POOLED: Final = (
    _pooled(
        ".accelerators",
        "!has(self.accelerators) || size(self.accelerators) == 0",
        "spec.accelerators is said by the pool of spec.pool; leave out one of the two",
    ),
    _pooled(
        ".model",
        "!has(self.model.cache)",
        "spec.model.cache is said by the pool of spec.pool; leave out one of the two",
    ),
    _pooled(
        ".scaling",
        "!has(self.scaling) || ((!has(self.scaling.mode) || self.scaling.mode != 'External') && "
        "(!has(self.scaling.minReplicas) || self.scaling.minReplicas == 0))",
        "spec.scaling must not be External or have minReplicas in a pool, which loads a model when "
        'it is asked for; leave it out, and set spec.keepAlive to "-1" for a model that stays',
    ),
    *(
        rule(
            f"has(self.pool) || !has(self.{name})",
            f"spec.{name} is for the models of a pool; set spec.pool, or leave it out",
            field=f".{name}",
        )
        for name in ("priority", "evictable")
    ),
)

ADAPTED: Final = (
    rule(
        "!has(self.defaults) || !has(self.defaults.adapter) || (has(self.adapters) && "
        "self.adapters.exists(one, one.name == self.defaults.adapter))",
        "spec.defaults.adapter must be the name of one of spec.adapters; add that adapter, or "
        "leave the field out",
        field=".defaults.adapter",
    ),
    _pooled(
        ".adapters",
        "!has(self.adapters) || size(self.adapters) == 0",
        "spec.adapters is not served in a pool yet; leave out one of the two",
    ),
)


def _managed(flag: str, fix: str) -> dict[str, str]:
    """On one argument: a plain way to write `flag`. `engine_flags.refused` finds the others too."""
    name, family = flag.rstrip("*"), flag.endswith("*")
    if flag.startswith("--"):
        found = "self.find('^--[A-Za-z0-9_-]+').replace('_', '-')"
        member = f" && !{found}.startsWith('{name}')" if family else ""
        expression = f"!self.startsWith('--') || (!'{name}'.startsWith({found}){member})"
    else:
        attached = family or len(name) == len("-n")
        expression = f"!self.matches('^{name}{'' if attached else '(=|$)'}')"
    return rule(expression, f"spec.runtime.extraArgs must not hold {flag}: {fix}")


EXTRA_ARG: Final = tuple(_managed(flag, fix) for flag, fix in MANAGED.items())

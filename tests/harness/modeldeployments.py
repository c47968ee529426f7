"""ModelDeployments: three valid ones by hand, what differs from them, and a strategy for the rest."""

import copy
from typing import Any

from hypothesis import strategies as st

Object = dict[str, Any]

MINIMAL: Object = {
    "apiVersion": "berth.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "qwen3"},
    "spec": {"model": {"source": "hf://Qwen/Qwen3-0.6B"}},
}

# Every field that this version acts on where no pool does.
FULL: Object = MINIMAL | {
    "metadata": {"name": "qwen3-32b"},
    "spec": {
        "model": {
            "source": "hf://Qwen/Qwen3-32B@refs/pr/1",
            "name": "qwen3:32b",
            "aliases": ["gpt-4o-mini", "Qwen/Qwen3-32B"],
            "authSecretRef": {"name": "hub", "key": "token"},
            "cache": {"claimName": "models", "keepCompiled": False},
        },
        "runtime": {
            "engine": "vLLM",
            "engineProfile": "vllm",
            "image": "registry.example/vllm@sha256:" + "0" * 64,
            "dtype": "bfloat16",
            "kvCacheDtype": "fp8",
            "maxModelLen": 32768,
            "minConcurrency": 2,
            "maxNumSeqs": "auto",
            "maxNumBatchedTokens": 8192,
            "extraArgs": ["--enable-prefix-caching", "--reasoning-parser", "qwen3", "-O3"],
        },
        "accelerators": [{"profile": "nvidia", "gpusPerReplica": 2}],
        "parallelism": {"tensor": 2, "pipeline": 1},
        "memory": {"gpuMemoryFraction": "0.90", "sharing": "Exclusive"},
        "resources": {"cpu": "8", "memory": "64Gi"},
        "replicas": 2,
        "scaling": {
            "mode": "External",
            "minReplicas": 1,
            "maxReplicas": 4,
            "targetQueueDepth": 32,
            "scaleDownDelaySeconds": 120,
            "headroom": 3,
        },
        "keepAlive": "10m",
        "queue": {"maxPending": 64, "maxWaitSeconds": 300},
        "routing": {"policy": "PrefixAware"},
        "rollout": {
            "strategy": "Recreate",
            "holdRequests": True,
            "revisionHistoryLimit": 3,
            "drainTimeoutSeconds": 60,
        },
        "podTemplate": {
            "nodeSelector": {"zone": "a"},
            "tolerations": [
                {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"},
                {"operator": "Exists", "tolerationSeconds": 60},
            ],
            "runtimeClassName": "nvidia",
            "imagePullSecrets": [{"name": "registry"}],
            "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
            "priorityClassName": "serving",
            "annotations": {"team": "search"},
        },
        "defaults": {
            "system": "You are terse.",
            "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi"}],
            "parameters": {
                "maxTokens": 256,
                "temperature": "0.7",
                "topK": 40,
                "topP": "0.9",
                "minP": "0.05",
                "repetitionPenalty": "1.1",
                "presencePenalty": "-0.5",
                "frequencyPenalty": "0.5",
                "seed": 42,
                "stop": ["</s>"],
            },
            "adapter": "sql",
        },
        "adapters": [
            {"name": "sql", "source": "hf://org/sql@main"},
            {"name": "House/Style:1", "source": "pvc://adapters/house/style"},
        ],
        "paused": True,
    },
}

# A model of a pool says nothing of accelerators and caches, and more of its stay.
POOLED: Object = MINIMAL | {
    "spec": {
        "model": {"source": "hf://Qwen/Qwen3-0.6B"},
        "keepAlive": "-1",
        "pool": "small",
        "priority": -5,
        "evictable": False,
        "replicas": 1,
        "paused": False,
    },
}


def changed(path: str, value: Any) -> Object:
    """MINIMAL with one field, say `spec.scaling.mode`, set."""
    body: Any = copy.deepcopy(MINIMAL)
    *parents, last = path.split(".")
    place = body
    for name in parents:
        place = place.setdefault(name, {})
    place[last] = value
    return body


SOURCES = (
    "hf://gpt2",
    "hf://Qwen/Qwen3-0.6B@c1899de289a04d12100db370d81485cdf75e47ca",
    "oci://registry.example:5000/models/smollm2:1.0",
    "pvc://models/qwen/qwen3",
)
_words = st.from_regex(r"[a-z]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
_quantities = st.builds(
    "{}{}".format, st.integers(1, 999), st.sampled_from(("", "m", "Mi", "Gi", "G"))
)


def _auto_or(highest: int) -> st.SearchStrategy[int | str]:
    return st.integers(1, highest) | st.just("auto")


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Object]:
    return st.fixed_dictionaries({}, optional=fields)


_models = st.fixed_dictionaries(
    {"source": st.sampled_from(SOURCES)},
    optional={"name": _words, "aliases": st.lists(_words, max_size=3)},
)
_alone = st.fixed_dictionaries(
    {"model": _models},
    optional={
        "runtime": _some(
            dtype=st.sampled_from(("auto", "bfloat16", "float32")),
            maxModelLen=_auto_or(16_777_216),
            minConcurrency=st.integers(1, 65_536),
            maxNumSeqs=_auto_or(65_536),
            extraArgs=st.lists(st.just("--enable-prefix-caching"), max_size=2),
        ),
        "accelerators": st.lists(
            st.fixed_dictionaries({"profile": _words}, optional={"gpusPerReplica": _auto_or(1024)}),
            max_size=1,
        ),
        "parallelism": _some(tensor=_auto_or(1024), pipeline=st.just(1)),
        "memory": _some(gpuMemoryFraction=st.sampled_from(("auto", "0.5", ".001", "1", "1.0"))),
        "resources": _some(cpu=_quantities, memory=_quantities),
        "replicas": st.integers(0, 1000),
        "scaling": _some(
            mode=st.sampled_from(("Fixed", "External", "Auto")),
            minReplicas=st.integers(0, 1),
            maxReplicas=st.integers(1, 1000),
            targetQueueDepth=_auto_or(100_000),
            scaleDownDelaySeconds=st.integers(0, 86_400),
            headroom=st.integers(0, 10),
        ),
        "keepAlive": st.sampled_from(("0", "300", "5m", "1h30m", "-1", "-1m")),
        "queue": _some(maxPending=st.integers(0, 100_000), maxWaitSeconds=st.integers(1, 3600)),
        "routing": _some(policy=st.sampled_from(("LeastInFlight", "PrefixAware"))),
        "rollout": _some(drainTimeoutSeconds=st.integers(1, 3600), holdRequests=st.booleans()),
        "podTemplate": _some(
            nodeSelector=st.dictionaries(_words, _words, max_size=2),
            tolerations=st.lists(
                _some(key=_words, tolerationSeconds=st.integers(0, 60)), max_size=2
            ),
        ),
        "defaults": _some(
            system=_words,
            messages=st.lists(
                st.fixed_dictionaries(
                    {"role": st.sampled_from(("system", "user", "assistant")), "content": _words}
                ),
                max_size=2,
            ),
            parameters=_some(
                maxTokens=st.integers(1, 16_777_216),
                temperature=st.sampled_from(("0", "0.8", "1.5")),
                topP=st.sampled_from(("0.000001", "0.9", "1.0")),
                topK=st.integers(0, 1000),
                stop=st.lists(_words, max_size=2),
            ),
        ),
        "adapters": st.lists(
            st.fixed_dictionaries(
                {"name": _words, "source": st.sampled_from(("hf://a/b", "pvc://c/d"))}
            ),
            max_size=3,
            unique_by=lambda one: one["name"],
        ),
        "paused": st.booleans(),
    },
)


_stays = st.fixed_dictionaries(
    {"pool": _words},
    optional={"priority": st.integers(-1_000_000, 1_000_000), "evictable": st.booleans()},
)


def _pooled(spec: Object, stay: Object) -> Object:
    """Without what a pool says instead."""
    said = ("accelerators", "scaling", "adapters")
    left = {name: field for name, field in spec.items() if name not in said}
    return left | stay


_specs = _alone | st.builds(_pooled, _alone, _stays)


def modeldeployments() -> st.SearchStrategy[Object]:
    return st.builds(
        lambda name, spec: MINIMAL | {"metadata": {"name": name}, "spec": spec}, _words, _specs
    )

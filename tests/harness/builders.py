"""Small true-to-life values for tests: a ModelDeployment, settings, shapes and pods as JSON."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from berth_api import names
from berth_api.adapters import AdapterReport, together
from berth_api.server import AdaptersConfig
from berth_operator import settings
from berth_operator.core.observed import Observed, Pod
from berth_operator.core.planner.context import Context

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

SMOLLM2_CONFIG: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}
LLAMA_8B_CONFIG: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}
SMOLLM2_BYTES = 269_030_016
SMOLLM2_REPORT: Mapping[str, Any] = {
    "commit": "12fd25f77366fa6b3b4b768ec3050bf629380bac",
    "config": SMOLLM2_CONFIG,
    "tensorBytes": {"BF16": SMOLLM2_BYTES},
    "tensorCount": 272,
    "fileBytes": 271_500_000,
}


def configured(**changes: Any) -> settings.Settings:
    """A cluster with a CPU profile and a declared pool of two 80 GiB GPUs a node."""
    return settings.parse(
        {
            "namespace": "berth-system",
            "controlImage": "example.test/berth-control:1",
            "url": "http://berth.berth-system.svc/v1",
            "engineProfiles": [
                {
                    "name": "vllm-cpu",
                    "image": "example.test/berth-runtime-cpu:1",
                    "command": ["vllm", "serve"],
                    "device": "cpu",
                    "dtype": "float32",
                },
                {
                    "name": "vllm",
                    "image": "example.test/vllm-openai:1",
                    "command": ["vllm", "serve"],
                    "device": "cuda",
                },
            ],
            "acceleratorProfiles": [
                {"name": "cpu", "engineProfile": "vllm-cpu", "memory": "6Gi", "cpu": "1"},
                {
                    "name": "h100",
                    "engineProfile": "vllm",
                    "resource": "nvidia.com/gpu",
                    "memory": "80Gi",
                    "gpusPerNode": 2,
                },
            ],
        }
        | changes
    )


def context(**changes: Any) -> Context:
    return Context(configured(**changes), b"0123456789abcdef0123456789abcdef")


def model_deployment(
    source: str = "hf://HuggingFaceTB/SmolLM2-135M-Instruct", **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {
            "name": "smollm2",
            "namespace": "team-a",
            "uid": "0c0f6f3c-0000-4000-8000-000000000001",
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"model": {"source": source}} | spec,
    }


def observed(cr: Mapping[str, Any] | None = None, **known: Any) -> Observed:
    return Observed(cr=cr or model_deployment(), now=known.pop("now", NOW), **known)


def shape_pod(
    job: Mapping[str, Any],
    report: Mapping[str, Any] | str = SMOLLM2_REPORT,
    finished_at: datetime = NOW,
) -> Pod:
    """The ended pod of a shape Job, with its answer."""
    message = report if isinstance(report, str) else json.dumps(report)
    return Pod(
        pod_object(
            f"{job['metadata']['name']}-x",
            names.ROLE_SHAPE,
            owner=job["metadata"]["uid"],
            containers=[ended("shape", 0, message, finished_at)],
        )
    )


SMOLLM2_MODULES: Mapping[str, tuple[int, int]] = {
    "down_proj": (1536, 576),
    "q_proj": (576, 576),
    "v_proj": (576, 192),
}


def adapter(source: str = "hf://berth/sql", **told: Any) -> AdapterReport:
    """Of SmolLM2, as the Job that reads adapters tells of one."""
    known = {"commit": "a" * 40, "rank": 16, "fileBytes": 5_000_000, "modules": SMOLLM2_MODULES}
    return AdapterReport.model_validate({"source": source} | known | told)


def adapters_pod(
    job: Mapping[str, Any], reports: Iterable[AdapterReport], finished_at: datetime = NOW
) -> Pod:
    """The ended pod of a Job that reads adapters, whose containers answer what they were asked."""
    known = {one.source: one for one in reports}
    ends = []
    for container in job["spec"]["template"]["spec"]["containers"]:
        asked = next(v for v in container["env"] if v["name"] == names.ENV_ADAPTERS_CONFIG)
        wanted = AdaptersConfig.model_validate_json(asked["value"]).adapters
        told = together(known[one.source] for one in wanted)
        ends.append(ended(container["name"], 0, told.model_dump_json(), finished_at))
    return Pod(
        pod_object(
            f"{job['metadata']['name']}-x",
            names.ROLE_SHAPE,
            owner=job["metadata"]["uid"],
            containers=ends,
        )
    )


def engine_pod(revision: str, *, ready: bool = False, **fields: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return pod_object(
        fields.pop("name", "smollm2-x"),
        names.ROLE_ENGINE,
        revision=revision,
        conditions=[*conditions, *fields.pop("conditions", [])],
        **fields,
    )


def pod_object(
    name: str,
    role: str,
    *,
    owner: str = "",
    revision: str = "",
    containers: list[Any] | None = None,
    init: list[Any] | None = None,
    **status: Any,
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": {
                names.LABEL_ROLE: role,
                names.LABEL_REVISION: revision,
                names.LABEL_ROUTE: names.ROUTE_OPEN,
            },
            "ownerReferences": [{"uid": owner}],
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"nodeName": "node-1"},
        "status": {
            "containerStatuses": containers or [],
            "initContainerStatuses": init or [],
            **status,
        },
    }


def ended(
    container: str, code: int, message: str = "", at: datetime = NOW, **extra: Any
) -> dict[str, Any]:
    """A container status of one that has terminated."""
    return {
        "name": container,
        "image": "example.test/image:1",
        "restartCount": extra.pop("restarts", 0),
        "ready": False,
        "state": {
            "terminated": {
                "exitCode": code,
                "message": message,
                "finishedAt": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                **extra,
            }
        },
    }


def waiting(container: str, reason: str, message: str = "", **extra: Any) -> dict[str, Any]:
    return {
        "name": container,
        "image": "example.test/image:1",
        "restartCount": 0,
        "ready": False,
        "state": {"waiting": {"reason": reason, "message": message}},
        **extra,
    }

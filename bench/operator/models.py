"""The ModelDeployments of a measurement: small models on one card each, whose shape is known."""

from typing import Any, Final

from berth_api import names

NAMESPACE: Final = "models"
SOURCE: Final = "hf://berth/bench"
PATH: Final = f"/apis/{names.API_VERSION}/namespaces/{NAMESPACE}/{names.PLURAL}"
ALL_DEPLOYMENTS: Final = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
ALL_PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"

_LLAMA_8B: Final = {
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
_BYTES: Final = 16_060_522_240

SHAPES: Final = {
    SOURCE: {
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "config": _LLAMA_8B,
        "tensorBytes": {"BF16": _BYTES},
        "tensorCount": 291,
        "fileBytes": _BYTES + 40_000,
    }
}


def name(number: int) -> str:
    return f"model-{number:05d}"


def body(number: int) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name(number), "namespace": NAMESPACE},
        "spec": {"model": {"source": SOURCE}, "runtime": {"maxModelLen": 8192}},
    }

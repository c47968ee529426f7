"""Plans as values: one of a GPU and one of the CPU, with round numbers."""

from typing import Any

from berth_api.status import Plan

GIB = 2**30


def gpu_plan(**changes: Any) -> Plan:
    """Of a card of 80 GiB, of which 92 % are the engine's."""
    fields: dict[str, Any] = {
        "accelerator": "h100",
        "engine_profile": "vllm",
        "image": "example.test/vllm-openai:1",
        "device": "cuda",
        "tensor_parallel_size": 1,
        "gpus_per_replica": 1,
        "gpu_memory_fraction": "0.92",
        "dtype": "bfloat16",
        "kv_cache_dtype": "auto",
        "usable_bytes": int(73.6 * GIB),
        "weights_bytes": 15 * GIB,
        "activation_bytes": 5 * GIB,
        "graph_bytes": GIB,
        "overhead_bytes": GIB,
        "kv_bytes_per_token": 131_072,
        "kv_cache_bytes": 51 * GIB,
        "kv_cache_tokens": 417_792,
        "max_model_len": 131_072,
        "max_num_seqs": 256,
        "max_num_batched_tokens": 8192,
        "memory_bytes": 24 * GIB,
        "millicpu": 4000,
    }
    return Plan(**{**fields, **changes})


def cpu_plan(**changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "accelerator": "cpu",
        "device": "cpu",
        "gpus_per_replica": 0,
        "gpu_memory_fraction": None,
        "usable_bytes": 4 * GIB,
        "weights_bytes": GIB // 2,
        "activation_bytes": GIB // 4,
        "graph_bytes": 0,
        "overhead_bytes": 2 * GIB,
        "kv_cache_bytes": GIB,
        "memory_bytes": 4 * GIB,
    }
    return gpu_plan(**{**fields, **changes})

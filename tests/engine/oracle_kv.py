"""Runs inside the engine's Python: what the engine itself allocates for a model, loading nothing.

Reads a list of cases {config, tensorParallel, dtype, available, maxModelLen, batchedTokens, and
perhaps kvDtype, blockTokens, amx, avx512Bf16, tensors, onlyLongest}; answers one object of facts for each, or
{"error": why}.
The model is the engine's own, built on PyTorch's meta device; the other ranks of a tensor-parallel
group are pretended, since rank 0 asks them nothing while it is built.
"""

import contextlib
import gc
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

import torch
from vllm.config import set_current_vllm_config
from vllm.distributed import parallel_state
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.platforms import current_platform
from vllm.usage.usage_lib import UsageContext
from vllm.utils.torch_utils import set_default_torch_dtype
from vllm.v1.attention.backends.utils import resolve_kv_cache_layout
from vllm.v1.core import kv_cache_utils
from vllm.v1.core.single_type_kv_cache_manager import register_all_kvcache_specs
from vllm.v1.worker.gpu.attn_utils import get_kv_cache_spec

# What CPU attention's backend supports (vllm/v1/attention/backends/cpu_attn.py).
LAYOUTS = [["LBHNC"]]
# Far beyond any context.
MOST_TOKENS = 2**31


def facts(case: dict, folder: Path) -> dict:
    (folder / "config.json").write_text(json.dumps(case["config"]))
    with pretended_cpu(case):
        config = engine_config(case, folder)
        pretend_ranks(case["tensorParallel"])
        if case.get("onlyLongest"):
            return longest_allowed(config)
        model = build(config)
    return (
        weights(model)
        | cache(config, case)
        | longest_allowed(config)
        | {"tensors": tensors(model, case)}
    )


@contextlib.contextmanager
def pretended_cpu(case: dict):
    """FP8 layers are refused on a CPU without AMX, which says nothing of their sizes.

    And whatever CPU this is: one with AVX512-BF16 holds states in float32 (vllm/platforms/cpu.py,
    "Accelerated GDN", 0.32), which says nothing of a GPU's. So it is one where the case says so.
    """
    bf16 = case.get("avx512Bf16", False)
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch("torch.cpu._is_avx512_bf16_supported", return_value=bf16))
        if case.get("amx", False):
            stack.enter_context(mock.patch("torch.cpu._is_amx_tile_supported", return_value=True))
            stack.enter_context(mock.patch("vllm._custom_ops._supports_cpu_fp8_w8a16", new=True))
        yield


def engine_config(case: dict, folder: Path):
    arguments = EngineArgs(
        model=str(folder),
        skip_tokenizer_init=True,
        load_format="dummy",
        tensor_parallel_size=case["tensorParallel"],
        dtype=case["dtype"],
        kv_cache_dtype=case.get("kvDtype", "auto"),
        block_size=case.get("blockTokens"),
        max_model_len=case["maxModelLen"],
        max_num_batched_tokens=case["batchedTokens"],
        enforce_eager=True,
        limit_mm_per_prompt=case.get("limitMmPerPrompt"),
    )
    return arguments.create_engine_config(UsageContext.OPENAI_API_SERVER)


def longest_allowed(config) -> dict:
    """The longest context that the engine's own check lets a user ask for."""
    low, high = 1, MOST_TOKENS
    while low < high:
        middle = (low + high + 1) // 2
        try:
            config.model_config.get_and_verify_max_len(middle)
            low = middle
        except ValueError:
            high = middle - 1
    return {"longestAllowed": low}


def pretend_ranks(count: int) -> None:
    group = parallel_state.get_tp_group()
    group.world_size = count
    group.ranks = list(range(count))


def build(config) -> torch.nn.Module:
    dtype = config.model_config.dtype
    with set_current_vllm_config(config), set_default_torch_dtype(dtype), torch.device("meta"):
        model = initialize_model(config)
        current_platform.update_block_size_for_backend(config)
        return model


def weights(model: torch.nn.Module) -> dict:
    """Parameters once each: tied ones are the same object. Tables: of rotary positions."""
    unique = {id(parameter): parameter for parameter in model.parameters()}
    tables = {
        id(table): table
        for name, table in model.named_buffers()
        if name.endswith("cos_sin_cache") and "vis" not in name
    }
    return {
        "weightsBytes": sum(map(size, unique.values())),
        "tableBytes": sum(map(size, tables.values())),
    }


def size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def tensors(model: torch.nn.Module, case: dict) -> list:
    """All of them, where a difference is to be looked at."""
    if not case.get("tensors"):
        return []
    named = [*model.named_parameters(), *model.named_buffers()]
    return [[name, str(one.dtype).removeprefix("torch."), list(one.shape)] for name, one in named]


def cache(config, case: dict) -> dict:
    register_all_kvcache_specs(config)
    specs = get_kv_cache_spec(config)
    resolve_kv_cache_layout(config, LAYOUTS, list(specs.values()))
    found = kv_cache_utils.get_kv_cache_configs(config, [specs], [case["available"]])
    scheduler = kv_cache_utils.generate_scheduler_kv_cache_config(found)
    tokens, concurrency = kv_cache_utils.get_kv_cache_capacity(config, scheduler)
    groups = found[0].kv_cache_groups
    needed = kv_cache_utils._max_memory_usage_bytes_from_groups(config, groups)
    return {
        "blocks": scheduler.num_blocks,
        "bytesPerBlock": kv_cache_utils._pool_bytes_per_block(config, groups),
        "capacityTokens": tokens,
        "concurrency": concurrency,
        "inFlightTokens": config.max_in_flight_tokens,
        "blockTokens": config.cache_config.block_size,
        "groups": [
            [type(group.kv_cache_spec).__name__, len(group.layer_names)]
            for group in scheduler.kv_cache_groups
        ],
        "dtype": str(config.model_config.dtype).removeprefix("torch."),
        "neededBytes": needed,
        # The longest that two thirds of that hold, not counting the block the engine keeps.
        "longest": kv_cache_utils._estimate_max_model_len_from_groups(
            config, groups, needed * 2 // 3
        ),
    }


def answer(case: dict) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return facts(case, Path(folder))
        except Exception as error:  # the case's own fault is its answer
            if case.get("raise"):
                raise
            return {"error": f"{type(error).__name__}: {error}"}
        finally:
            pretend_ranks(1)
            gc.collect()


# The runtime image for machines without a GPU has no torchvision, which classes for pictures
# import and only use on one: anything may be imported from this one, for the engine's checks too,
# which run in a process of their own.
TORCHVISION = """
import sys
from importlib.machinery import ModuleSpec
from unittest.mock import MagicMock


class Anything:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name.startswith("torchvision.") else None

    def create_module(self, spec):
        module = MagicMock(name=spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, Anything())
"""

TORCHVISION_VERSION = "0.28.0"


def stand_in_for_torchvision(folder: str) -> None:
    package = Path(folder) / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(TORCHVISION)
    described = Path(folder) / f"torchvision-{TORCHVISION_VERSION}.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Name: torchvision\nVersion: {TORCHVISION_VERSION}\n")
    sys.path.insert(0, folder)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, before] if before else [folder])


def main() -> None:
    cases = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        if importlib.util.find_spec("torchvision") is None:
            stand_in_for_torchvision(folder)
        alone(folder)
        answers = [answer(case) for case in cases]
    print(json.dumps(answers))


def alone(folder: str) -> None:
    """A process group of this process only; its store is a file, so that no port is needed."""
    from vllm.config import VllmConfig

    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with set_current_vllm_config(VllmConfig()):
        parallel_state.init_distributed_environment(
            1, 0, f"file://{folder}/store", 0, backend="gloo"
        )
        parallel_state.initialize_model_parallel(1)


if __name__ == "__main__":
    main()

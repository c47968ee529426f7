"""Runs inside the engine's Python: the bytes of the slots that the engine makes for LoRA adapters.

Reads a list of cases {config, tensorParallel, dtype, slots, width, modules}; answers {bytes} for
each. As in `oracle_kv`, the model is the engine's own on PyTorch's meta device, and ranks are
pretended.
"""

import contextlib
import json
import sys
import tempfile
from pathlib import Path

import oracle_kv
import torch
from vllm.config import set_current_vllm_config
from vllm.engine.arg_utils import EngineArgs
from vllm.lora.model_manager import LoRAModelManager
from vllm.usage.usage_lib import UsageContext


def slots(case: dict, folder: Path) -> int:
    (folder / "config.json").write_text(json.dumps(case["config"]))
    arguments = EngineArgs(
        model=str(folder),
        skip_tokenizer_init=True,
        load_format="dummy",
        tensor_parallel_size=case["tensorParallel"],
        dtype=case["dtype"],
        max_model_len=2048,
        max_num_batched_tokens=2048,
        enforce_eager=True,
        enable_lora=True,
        max_loras=case["slots"],
        max_lora_rank=case["width"],
        lora_target_modules=case["modules"],
    )
    config = arguments.create_engine_config(UsageContext.OPENAI_API_SERVER)
    oracle_kv.pretend_ranks(case["tensorParallel"])
    model = oracle_kv.build(config)
    with set_current_vllm_config(config):
        manager = LoRAModelManager(
            model, 8, 2048, 1024, config.lora_config, torch.device("cpu"), config
        )
    return sum(
        oracle_kv.size(tensor)
        for module in manager.modules.values()
        for tensor in (*module.lora_a_stacked, *module.lora_b_stacked)
    )


def answer(case: dict) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return {"bytes": slots(case, Path(folder))}
        except Exception as error:  # noqa: BLE001 -- the case's own fault is its answer
            return {"error": f"{type(error).__name__}: {error}"}
        finally:
            oracle_kv.pretend_ranks(1)


def main() -> None:
    cases = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        oracle_kv.alone(folder)
        found = [answer(case) for case in cases]
    print(json.dumps(found))


if __name__ == "__main__":
    main()

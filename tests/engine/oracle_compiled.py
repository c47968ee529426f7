"""Runs inside the engine's Python: two starts of one engine that compiles, as in two pods.

Reads `{"config": {...}}` of a model, which gets weights by chance. Each start is a process of its
own on an empty cache, with what `berth_server.compiled` has kept of earlier ones. Answers for each
{"seconds": until the first token, "brought": kernels, "added": kernels, "said": token ids}.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from berth_api.server import CompiledConfig, EngineConfig
from berth_server import compiled


def start(folder: Path) -> dict:
    engine = EngineConfig(
        name="m",
        command=["vllm", "serve"],
        device="cpu",
        port=8000,
        model_dir=str(folder / "model"),
        dtype="float32",
        max_model_len=256,
        max_num_seqs=4,
    )
    config = CompiledConfig(folder=str(folder / "claim"), image="example.test/vllm:1")
    brought = compiled.of(config, "cpu", dict(os.environ)).bring(engine)
    before = kernels()
    began = time.monotonic()
    said = first_tokens(engine)
    seconds = time.monotonic() - began
    added = kernels() - before
    brought.keep()
    return {"seconds": seconds, "brought": len(before), "added": len(added), "said": said}


def first_tokens(engine: EngineConfig) -> list[int]:
    from vllm import LLM, SamplingParams

    model = LLM(
        engine.model_dir,
        skip_tokenizer_init=True,
        load_format="dummy",
        dtype=engine.dtype,
        max_model_len=engine.max_model_len,
        max_num_seqs=engine.max_num_seqs,
        kv_cache_memory_bytes=2**26,
        seed=7,
    )
    wanted = SamplingParams(max_tokens=4, temperature=0, detokenize=False)
    answer = model.generate({"prompt_token_ids": [5, 6, 7]}, wanted)
    return list(answer[0].outputs[0].token_ids)


def kernels() -> set[str]:
    """What a compiler has made; indexes are written anew by each start."""
    return {str(path) for path in compiled.cache_root(os.environ).rglob("*.so")}


def main(given: dict) -> list[dict]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model").mkdir()
        (folder / "model" / "config.json").write_text(json.dumps(given["config"]))
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        answers = []
        for _ in range(2):
            shutil.rmtree(folder / "cache", ignore_errors=True)
            (folder / "cache").mkdir()
            command = [sys.executable, __file__, str(folder)]
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            answers.append(json.loads(out.strip().splitlines()[-1]))
        return answers


if __name__ == "__main__":
    answer = start(Path(sys.argv[1])) if sys.argv[1:] else main(json.load(sys.stdin))
    print(json.dumps(answer))

"""What the engine itself says of the models in `tests/models`, asked once for all tests."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import published
import pytest

ORACLE = Path(__file__).parent / "engine" / "oracle_kv.py"
RANKS = (1, 2)
AVAILABLE_BYTES = 60 * 2**30
# Longer than the windows of some, shorter than those of others; models made for less get less.
MAX_MODEL_LEN = 6000
BATCHED_TOKENS = 2048
SMALL_BLOCK_TOKENS = 64
FP8_CACHE = (("llama-3.1-8b", 4), ("gemma-3-27b", 4), ("qwen3-next-80b-a3b", 2))
# Left out of the question about the cache, which they do not touch: CPUs have no such kernels.
_NO_KERNEL = frozenset({"mxfp4", "fp8"})


@dataclass(frozen=True)
class Facts:
    """By model and number of ranks; of what the engine refuses, {"error": why}."""

    cache: dict
    fp8: dict  # of models whose FP8 layers can only be built as if there were AMX
    fp8_cache: dict  # with keys and values in FP8, and blocks of SMALL_BLOCK_TOKENS


def case(name: str, ranks: int) -> dict:
    config = published.load(name).config
    if method(name) in _NO_KERNEL:
        config = {key: value for key, value in config.items() if key != "quantization_config"}
    return _case(name, ranks, config)


def method(name: str) -> str:
    return published.load(name).config.get("quantization_config", {}).get("quant_method", "")


def _case(name: str, ranks: int, config: dict) -> dict:
    return {
        "config": config,
        "tensorParallel": ranks,
        "dtype": "float32" if name.endswith("-fp32") else "auto",
        "available": AVAILABLE_BYTES,
        "maxModelLen": min(MAX_MODEL_LEN, published.shape(name).max_position),
        "batchedTokens": BATCHED_TOKENS,
    }


def _fp8(name: str, ranks: int) -> dict:
    return _case(name, ranks, published.load(name).config) | {"amx": True}


def _fp8_cache(name: str, ranks: int) -> dict:
    return case(name, ranks) | {"kvDtype": "fp8", "blockTokens": SMALL_BLOCK_TOKENS}


def ask(engine_python: Callable[..., list]) -> Facts:
    pairs = [(name, ranks) for name in published.NAMES for ranks in RANKS]
    eights = [pair for pair in pairs if method(pair[0]) == "fp8"]
    asked = {
        "cache": {pair: case(*pair) for pair in pairs},
        "fp8": {pair: _fp8(*pair) for pair in eights},
        "fp8_cache": {pair: _fp8_cache(*pair) for pair in FP8_CACHE},
    }
    answers = iter(engine_python(ORACLE, [one for of in asked.values() for one in of.values()]))
    return Facts(**{what: {pair: next(answers) for pair in of} for what, of in asked.items()})


@pytest.fixture(scope="session")
def engine_facts(engine_python) -> Facts:
    return _asked(engine_python)


@functools.cache
def _asked(engine_python: Callable[..., list]) -> Facts:
    return ask(engine_python)

"""What the engine itself says of the models in `tests/models`, asked once for all tests."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import published
import pytest

ORACLE = Path(__file__).parents[1] / "engine" / "oracle_kv.py"
RANKS = (1, 2)
AVAILABLE_BYTES = 60 * 2**30
# Longer than the windows of some, shorter than those of others; models made for less get less.
MAX_MODEL_LEN = 6000
BATCHED_TOKENS = 2048
SMALL_BLOCK_TOKENS = 64
FP8_CACHE = (
    ("llama-3.1-8b", 4, "auto"),
    ("gemma-3-27b", 4, "auto"),
    ("qwen3-next-80b-a3b", 2, "auto"),
    ("qwen3-next-80b-a3b", 2, "float32"),
)
_LINEAR = {"rope_type": "linear", "factor": 2.5}
_YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
_WIDE = {"type": "longrope", "short_factor": [1.0] * 64, "long_factor": [1.0] * 64}
_TURNS = {"rope_theta": 10_000.0}
# Other keys of Llama 3.1 8B, or of Gemma 3 27B's decoder, and the longest context that the engine
# then lets a user ask for.
LLAMA_SHORT = 32_768
CONTEXTS: dict[str, tuple[dict, int]] = {
    "no scaling": ({"rope_scaling": None}, LLAMA_SHORT),
    "linear": ({"rope_scaling": _LINEAR}, 81_920),
    "linear, told as parameters": ({"rope_parameters": _LINEAR | _TURNS}, 81_920),
    "both": ({"rope_scaling": _LINEAR, "rope_parameters": _YARN | _TURNS}, 81_920),
    "dynamic": ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, 65_536),
    "default with a factor": ({"rope_scaling": {"rope_type": "default", "factor": 2}}, 65_536),
    "of no kind": ({"rope_scaling": {"factor": 2.0}}, 65_536),
    "mrope": (
        {"rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24], "factor": 2.0}},
        65_536,
    ),
    "no factor": ({"rope_scaling": {"rope_type": "linear", "factor": None}}, LLAMA_SHORT),
    "half": ({"rope_scaling": _LINEAR | {"factor": 0.5}}, 16_384),
    "yarn": ({"rope_scaling": _YARN}, LLAMA_SHORT),
    "yarn of less": (
        {"rope_scaling": _YARN | {"original_max_position_embeddings": 8192}},
        LLAMA_SHORT,
    ),
    "longrope": (
        {"rope_scaling": _WIDE, "original_max_position_embeddings": 4096},
        LLAMA_SHORT,
    ),
    "llama3": (
        {
            "rope_scaling": {
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
            }
        },
        LLAMA_SHORT,
    ),
    "a smaller length of its own": ({"model_max_length": 4096}, 4096),
    "a larger length of its own": ({"model_max_length": 999_999}, 999_999),
    "its own, stretched": ({"model_max_length": 4096, "rope_scaling": _LINEAR}, 10_240),
    "its own, not shrunk": (
        {"model_max_length": 4096, "rope_scaling": _LINEAR | {"factor": 0.5}},
        4096,
    ),
    "a longer one of another name": ({"seq_len": 200_600}, LLAMA_SHORT),
} | {
    f"the least, {name}": ({name: 2000}, 2000)
    for name in (
        "n_positions", "max_seq_len", "seq_length", "max_target_positions", "max_sequence_length",
        "max_seq_length", "seq_len",
    )
}  # fmt: skip
# Models with states, and a Qwen3.5 of a few layers: its family alone says the states' dtype itself.
STATES = tuple(
    name for name in published.NAMES if any(one.state for one in published.shape(name).cache)
)
STATE_DTYPES = (None, "bfloat16", "float16", "float32")
_QWEN3_5 = {
    "architectures": ["Qwen3_5ForCausalLM"], "model_type": "qwen3_5_text", "hidden_size": 1024,
    "intermediate_size": 3584, "num_hidden_layers": 8, "num_attention_heads": 8,
    "num_key_value_heads": 2, "head_dim": 256, "vocab_size": 248_320,
    "max_position_embeddings": 262_144, "torch_dtype": "bfloat16", "full_attention_interval": 4,
    "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_num_key_heads": 16,
    "linear_num_value_heads": 16, "linear_value_head_dim": 128, "hidden_act": "silu",
    "rms_norm_eps": 1e-06, "tie_word_embeddings": True,
    "rope_parameters": {
        "rope_type": "default", "rope_theta": 10_000_000, "partial_rotary_factor": 0.25,
    },
}  # fmt: skip
# Left out of the question about the cache, which they do not touch: CPUs have no such kernels.
_NO_KERNEL = frozenset({"mxfp4", "fp8"})


@dataclass(frozen=True)
class Facts:
    """By model and number of ranks; of what the engine refuses, {"error": why}."""

    cache: dict
    fp8: dict  # of models whose FP8 layers can only be built as if there were AMX
    fp8_cache: dict  # with keys and values in FP8, and blocks of SMALL_BLOCK_TOKENS
    contexts: dict  # by name, of CONTEXTS; by nothing else


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


def _fp8_cache(name: str, ranks: int, dtype: str) -> dict:
    blocks = {"kvDtype": "fp8", "blockTokens": SMALL_BLOCK_TOKENS}
    return case(name, ranks) | blocks | {"dtype": dtype}


def context_config(name: str) -> dict:
    """Llama 3.1 8B's, made for LLAMA_SHORT tokens, with the keys of CONTEXTS[name]."""
    plain = {"rope_scaling": None, "max_position_embeddings": LLAMA_SHORT}
    changed = published.load("llama-3.1-8b").config | plain | CONTEXTS[name][0]
    return {key: value for key, value in changed.items() if value is not None}


def _context(name: str) -> dict:
    asked = {"tensorParallel": 1, "dtype": "auto", "maxModelLen": None, "onlyLongest": True}
    return {"config": context_config(name), "batchedTokens": BATCHED_TOKENS} | asked


def ask(engine_python: Callable[..., list]) -> Facts:
    pairs = [(name, ranks) for name in published.NAMES for ranks in RANKS]
    eights = [pair for pair in pairs if method(pair[0]) == "fp8"]
    asked = {
        "cache": {pair: case(*pair) for pair in pairs},
        "fp8": {pair: _fp8(*pair) for pair in eights},
        "fp8_cache": {of: _fp8_cache(*of) for of in FP8_CACHE},
        "contexts": {name: _context(name) for name in CONTEXTS},
    }
    answers = iter(engine_python(ORACLE, [one for of in asked.values() for one in of.values()]))
    return Facts(**{what: {pair: next(answers) for pair in of} for what, of in asked.items()})


def qwen3_5(state_dtype: str | None) -> dict:
    return _QWEN3_5 | ({"mamba_ssm_dtype": state_dtype} if state_dtype else {})


def ask_cpus(engine_python: Callable[..., list]) -> dict:
    """As two CPUs, one with AVX512-BF16 and one without: by (of what, ranks), and by that."""
    cases = {(name, ranks): case(name, ranks) for name in STATES for ranks in RANKS}
    plain = {"tensorParallel": 1, "dtype": "auto", "available": AVAILABLE_BYTES}
    plain |= {"maxModelLen": MAX_MODEL_LEN, "batchedTokens": BATCHED_TOKENS}
    cases |= {(said, 1): plain | {"config": qwen3_5(said)} for said in STATE_DTYPES}
    both = [(of, has) for of in cases for has in (True, False)]
    answers = engine_python(ORACLE, [cases[of] | {"avx512Bf16": has} for of, has in both])
    return dict(zip(both, answers, strict=True))


@pytest.fixture(scope="session")
def cpu_facts(engine_python) -> dict:
    """Apart from the others: these are few."""
    return ask_cpus(engine_python)


@pytest.fixture(scope="session")
def engine_facts(engine_python) -> Facts:
    return _asked(engine_python)


@functools.cache
def _asked(engine_python: Callable[..., list]) -> Facts:
    return ask(engine_python)

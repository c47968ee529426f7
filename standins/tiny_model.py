"""A model of a few hundred KB, built from nothing: zeros in the shapes of a small Llama."""

import hashlib
import json
import math
import random
import struct

LAYERS, HIDDEN, INTERMEDIATE, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY = 2, 64, 128, 4, 2, 16, 256
# vLLM's attention on CPU has no kernel for less (v1/attention/backends/cpu_attn.py, 0.32).
WORDED_HEAD_DIM = 32
# What a usual LoRA changes.
ADAPTED = ("q_proj", "v_proj", "gate_proj", "down_proj")
_DTYPE = "BF16"
_DTYPE_BYTES = 2

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "hidden_size": HIDDEN,
    "intermediate_size": INTERMEDIATE,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HEAD_DIM,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}


def shapes(head_dim: int = HEAD_DIM) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (VOCABULARY, HIDDEN),
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        found |= {
            f"{prefix}self_attn.q_proj.weight": (HEADS * head_dim, HIDDEN),
            f"{prefix}self_attn.k_proj.weight": (KV_HEADS * head_dim, HIDDEN),
            f"{prefix}self_attn.v_proj.weight": (KV_HEADS * head_dim, HIDDEN),
            f"{prefix}self_attn.o_proj.weight": (HIDDEN, HEADS * head_dim),
            f"{prefix}mlp.gate_proj.weight": (INTERMEDIATE, HIDDEN),
            f"{prefix}mlp.up_proj.weight": (INTERMEDIATE, HIDDEN),
            f"{prefix}mlp.down_proj.weight": (HIDDEN, INTERMEDIATE),
            f"{prefix}input_layernorm.weight": (HIDDEN,),
            f"{prefix}post_attention_layernorm.weight": (HIDDEN,),
        }
    return found


def safetensors(tensors: dict[str, tuple[int, ...]]) -> bytes:
    """One file of zeros: https://huggingface.co/docs/safetensors."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        start, end = end, end + _bytes(shape)
        header[name] = {"dtype": _DTYPE, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(end)


def _bytes(shape: tuple[int, ...]) -> int:
    count = _DTYPE_BYTES
    for side in shape:
        count *= side
    return count


def total_bytes() -> int:
    """Of all tensors."""
    return sum(map(_bytes, shapes().values()))


def files() -> dict[str, bytes]:
    """A whole repository with one weights file."""
    return {
        "config.json": json.dumps(CONFIG, indent=2).encode(),
        "generation_config.json": b'{"bos_token_id": 0, "eos_token_id": 0}',
        "tokenizer.json": b'{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}}',
        "tokenizer_config.json": b'{"tokenizer_class": "PreTrainedTokenizerFast"}',
        "README.md": b"# Tiny\n",
        "model.safetensors": safetensors(shapes()),
    }


def large() -> dict[str, bytes]:
    """The same with 48 MiB of weights: several of the real client's chunks of 10 MiB."""
    padded = shapes() | {"model.padding.weight": (48 * 2**20 // _DTYPE_BYTES,)}
    return files() | {"model.safetensors": safetensors(padded)}


def worded() -> dict[str, bytes]:
    """The same with random weights and a word for each token: what it says is its own."""
    words = {"<unk>": 0} | {f"w{token}": token for token in range(1, VOCABULARY)}
    tokenizer = {
        "version": "1.0",
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"},
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "added_tokens": [],
    }
    tensors = shapes(WORDED_HEAD_DIM)
    zeros = safetensors(tensors)
    header = zeros[: len(zeros) - sum(map(_bytes, tensors.values()))]
    dice = random.Random(0)
    values = [_values(name, shape, dice) for name, shape in tensors.items()]
    return files() | {
        "tokenizer.json": json.dumps(tokenizer).encode(),
        "config.json": json.dumps(CONFIG | {"head_dim": WORDED_HEAD_DIM}).encode(),
        "model.safetensors": header + b"".join(values),
    }


def _values(name: str, shape: tuple[int, ...], dice: random.Random) -> bytes:
    """A norm's are ones; a matrix keeps its input's size. BF16 is a float32's upper half."""
    if "norm" in name:
        return struct.pack("<f", 1.0)[2:] * shape[0]
    width = 1 / math.sqrt(shape[-1])
    return b"".join(struct.pack("<f", dice.gauss(0, width))[2:] for _ in range(math.prod(shape)))


def adapter(rank: int = 8, seed: int = 1, modules: tuple[str, ...] = ADAPTED) -> dict[str, bytes]:
    """A LoRA of `worded`, as PEFT saves one; what it makes the model say is its own."""
    tensors: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes(WORDED_HEAD_DIM).items():
        module = name.removesuffix(".weight")
        if module.rpartition(".")[2] in modules:
            prefix = f"base_model.model.{module}"
            tensors[f"{prefix}.lora_A.weight"] = (rank, shape[1])
            tensors[f"{prefix}.lora_B.weight"] = (shape[0], rank)
    zeros = safetensors(tensors)
    header = zeros[: len(zeros) - sum(map(_bytes, tensors.values()))]
    dice = random.Random(seed)
    values = [_values(name, shape, dice) for name, shape in tensors.items()]
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": "berth/tiny",
        "r": rank,
        "lora_alpha": 4 * rank,
        "target_modules": list(modules),
        "bias": "none",
    }
    return {
        "adapter_config.json": json.dumps(config).encode(),
        "adapter_model.safetensors": header + b"".join(values),
    }


def sharded() -> dict[str, bytes]:
    """The same in two shards with an index, and a copy in another precision beside them."""
    tensors = list(shapes().items())
    half = len(tensors) // 2
    parts = {
        "model-00001-of-00002.safetensors": dict(tensors[:half]),
        "model-00002-of-00002.safetensors": dict(tensors[half:]),
    }
    index = {
        "metadata": {"total_size": total_bytes()},
        "weight_map": {name: file for file, part in parts.items() for name in part},
    }
    found = files() | {file: safetensors(part) for file, part in parts.items()}
    found["model.fp16.safetensors"] = found.pop("model.safetensors")
    return found | {"model.safetensors.index.json": json.dumps(index).encode()}


def commit(contents: dict[str, bytes]) -> str:
    """Forty hexadecimal digits that change with the contents, as a git commit's would."""
    digest = hashlib.sha1(usedforsecurity=False)
    for name, content in sorted(contents.items()):
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()

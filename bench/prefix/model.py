"""A Llama of 25 million random weights: prompts that are worth caching, on one core, in a second.

A word is a token, w1 to w1023, so the lengths of prompts are exact and an answer that is sent back
is the same tokens. With real weights of a useful size each miss would take many seconds.
"""

import json
import random
import struct
from pathlib import Path
from typing import Final

from standins import tiny_model

LAYERS: Final = 8
HIDDEN: Final = 512
INTERMEDIATE: Final = 1536
HEADS: Final = 8
KV_HEADS: Final = 2
HEAD_DIM: Final = 64
VOCABULARY: Final = 1024
# Keys and values of one token in float32.
KV_TOKEN_BYTES: Final = 2 * LAYERS * KV_HEADS * HEAD_DIM * 4
SEED: Final = 1

_TEMPLATE: Final = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
# BF16 of plus or minus 0.031 to 0.063, about 1 / sqrt(HIDDEN): sign and exponent in the upper byte,
# seven bits of mantissa in the lower.
_UPPER: Final = bytes(0x3D if byte % 2 else 0xBD for byte in range(256))
_LOWER: Final = bytes(byte % 128 for byte in range(256))
_ONE: Final = b"\x80\x3f"


def write(folder: Path) -> None:
    """A folder that vLLM serves."""
    config = tiny_model.CONFIG | {
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 8192,
    }
    tokenizer = {
        "version": "1.0",
        "model": {"type": "WordLevel", "vocab": _words(), "unk_token": "<unk>"},
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "added_tokens": [],
    }
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": _TEMPLATE}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    (folder / "model.safetensors").write_bytes(_safetensors())


def _words() -> dict[str, int]:
    return {"<unk>": 0} | {f"w{token}": token for token in range(1, VOCABULARY)}


def _shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (VOCABULARY, HIDDEN),
    }
    for layer in range(LAYERS):
        found |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in _LAYER.items()}
    return found


_LAYER: Final[dict[str, tuple[int, ...]]] = {
    "self_attn.q_proj": (HEADS * HEAD_DIM, HIDDEN),
    "self_attn.k_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
    "self_attn.v_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HEADS * HEAD_DIM),
    "mlp.gate_proj": (INTERMEDIATE, HIDDEN),
    "mlp.up_proj": (INTERMEDIATE, HIDDEN),
    "mlp.down_proj": (HIDDEN, INTERMEDIATE),
    "input_layernorm": (HIDDEN,),
    "post_attention_layernorm": (HIDDEN,),
}


def _safetensors() -> bytes:
    """https://huggingface.co/docs/safetensors: a length, a header, the tensors one by one."""
    dice = random.Random(SEED)  # noqa: S311 -- the same weights each time
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    tensors = bytearray()
    for name, shape in _shapes().items():
        start = len(tensors)
        tensors += _values(name, shape, dice)
        offsets = [start, len(tensors)]
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": offsets}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(tensors)


def _values(name: str, shape: tuple[int, ...], dice: random.Random) -> bytes:
    if "norm" in name:
        return _ONE * shape[0]
    rows, columns = shape
    raw = bytearray(2 * rows * columns)
    raw[0::2] = dice.randbytes(rows * columns).translate(_LOWER)
    raw[1::2] = dice.randbytes(rows * columns).translate(_UPPER)
    return bytes(raw)

"""Models and accelerators for tests of the planner: public sizes, nothing measured."""

from dataclasses import replace
from typing import Any

import builders

from berth_api.spec import Spec
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.model.shape import CacheKind, CacheLayers, ModelShape, Part

GIB = 2**30
# What the engine sees of a card that is sold as 80 GB (the calibration rows' own figure).
H100_BYTES = int(79.18 * GIB)


def decoder(**sizes: Any) -> ModelShape:
    """A plain decoder with grouped-query attention; `weights` are bytes by dtype."""
    weights, head_dim = sizes.pop("weights"), sizes.pop("head_dim")
    full = CacheLayers(CacheKind.FULL, sizes["layers"], sizes["kv_heads"], head_dim, head_dim)
    return ModelShape(
        **{
            "architecture": "LlamaForCausalLM",
            "known": True,
            "dtype": "bfloat16",
            "rotary_dim": head_dim,
            "rotary_rows": sizes["max_position"],
            "cache": (full,),
            "parts": {Part.LINEAR: weights},
        }
        | sizes
    )


LLAMA_8B = decoder(
    layers=32,
    hidden=4096,
    intermediate=14336,
    heads=32,
    kv_heads=8,
    head_dim=128,
    vocabulary=128256,
    max_position=131072,
    weights={"BF16": 16_060_522_496},
)
QWEN3_32B = decoder(
    layers=64,
    hidden=5120,
    intermediate=25600,
    heads=64,
    kv_heads=8,
    head_dim=128,
    vocabulary=151936,
    max_position=40960,
    weights={"BF16": 65_524_246_528},
)
LLAMA_70B_FP8 = decoder(
    layers=80,
    hidden=8192,
    intermediate=28672,
    heads=64,
    kv_heads=8,
    head_dim=128,
    vocabulary=128256,
    max_position=131072,
    weights={"F8_E4M3": 68_450_000_000, "BF16": 4_203_000_000},
)
SMOLLM2 = decoder(
    layers=30,
    hidden=576,
    intermediate=1536,
    heads=9,
    kv_heads=3,
    head_dim=64,
    vocabulary=49152,
    max_position=8192,
    tied=True,
    weights={"BF16": builders.SMOLLM2_BYTES},
)


def spec(**fields: object) -> Spec:
    return Spec.model_validate({"model": {"source": "hf://a/b"}} | fields)


def gpu(memory_bytes: int = H100_BYTES, cards: int = 2, **more: Any) -> Offer:
    """`cards` of that memory on each node."""
    settings = builders.configured()
    profile, engine = settings.accelerator_profiles[1], settings.engine_profiles[1]
    return Offer(profile, engine, memory_bytes, cards, **more)


def cpu(memory_bytes: int = 6 * GIB) -> Offer:
    settings = builders.configured()
    return Offer(settings.accelerator_profiles[0], settings.engine_profiles[0], memory_bytes, 0)


def named(offer: Offer, name: str) -> Offer:
    return replace(offer, profile=offer.profile.model_copy(update={"name": name}))

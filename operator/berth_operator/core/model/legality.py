"""Into how many ranks may a model be split? The engine's own conditions, before any pod exists.

Each rule is a pure function that yields a sentence per condition that does not hold. They follow
what vLLM 0.32 does on a CUDA device, not what is customary: it pads vocabularies and MXFP4 experts,
repeats KV heads, and refines FP8 blocks of experts, so those are legal here too. The paths beside
the rules are below vllm/. tests/engine/test_legality.py asks the engine the same questions.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gcd
from typing import Final

from berth_api.spec import MAX_GPUS
from berth_operator.core.model.shape import CacheKind, Experts, ModelShape, Quantization
from berth_operator.core.model.weights import padded_vocabulary

Rule = Callable[[ModelShape, int], Iterator[str]]

# Elements; the smallest that model_executor/layers/fused_moe/oracle/fp8.py
# refine_fp8_moe_block_shape cuts a block of an expert into.
SMALLEST_REFINED_BLOCK: Final = 32
# Elements; the smallest to which model_executor/layers/quantization/moe_wna16.py create_weights
# halves a group of an expert.
SMALLEST_HALVED_GROUP: Final = 32
# Elements; the tile of the hidden size that the Marlin kernel of experts takes, and never pads
# (model_executor/layers/quantization/utils/marlin_utils.py check_moe_marlin_supports_config).
MARLIN_EXPERT_TILE: Final = 128

# model_executor/layers/quantization/__init__.py QUANTIZATION_METHODS less
# DEPRECATED_QUANTIZATION_METHODS, and "auto-round", which quantization/inc claims.
QUANTIZATION_METHODS: Final = frozenset(
    {
        *("awq", "auto_awq", "awq_marlin", "gptq", "auto_gptq", "gptq_marlin", "moe_wna16"),
        *("fp8", "deepseek_v4_fp8", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel"),
        *("modelopt", "modelopt_fp4", "modelopt_mxfp8", "modelopt_mixed"),
        *("mxfp4", "gpt_oss_mxfp4", "mxfp8", "nvfp4_per_token"),
        *("compressed-tensors", "quark", "torchao", "inc", "auto-round", "humming", "online"),
        *("experts_int8", "int8_per_channel_weight_only"),
    }
)
# Whose linear layers share a scale along groups of their inputs.
GROUPED: Final = frozenset({"awq", "gptq", "compressed-tensors"})
# Bits of a weight; quantization/auto_awq.py and auto_gptq.py TYPE_MAP.
WEIGHT_BITS: Final = {"awq": (4,), "gptq": (4, 8)}

# model_executor/models/: their attention computes `kv_heads // tp_size`, which must not be 0.
KV_HEADS_NOT_REPEATED: Final = frozenset(
    {"GptOssForCausalLM", "HrmTextForCausalLM", "Param2MoEForCausalLM"}
)
# model_executor/models/: "Tensor parallel size ... is greater than the number of experts".
NO_MORE_RANKS_THAN_EXPERTS: Final = frozenset(
    {
        *("Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM", "Qwen3NextForCausalLM"),
        *("Qwen3VLMoeForConditionalGeneration", "Qwen3OmniMoeForConditionalGeneration"),
        *("Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration"),
        *("Ernie4_5_MoeForCausalLM", "Ernie4_5_VLMoeForConditionalGeneration"),
        *("Cohere2MoeForCausalLM", "ExaoneMoeForCausalLM", "ExaoneMoEForCausalLM"),
        *("HYV3ForCausalLM", "InternS1ProForConditionalGeneration", "K2HorizonForCausalLM"),
        *("InternS2MobiusForConditionalGeneration", "LagunaForCausalLM", "Lfm2MoeForCausalLM"),
        *("MiMoV2FlashForCausalLM", "MiMoV2ForCausalLM", "MiMoV2OmniForCausalLM"),
        *("MiniMaxM2ForCausalLM", "Step3TextForCausalLM", "Step3VLForConditionalGeneration"),
        *("Step3p5ForCausalLM", "Step3p7ForConditionalGeneration"),
    }
)
# model_executor/models/: classes with `supports_encoder_tp_data`. Of others, config/model.py turns
# --mm-encoder-tp-mode data back into weights.
VISION_DATA_PARALLEL: Final = frozenset(
    {
        *("Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration"),
        *("Qwen3VLForConditionalGeneration", "Qwen3VLMoeForConditionalGeneration"),
        *("Qwen3_5ForConditionalGeneration", "Qwen3_5MoeForConditionalGeneration"),
        *("InternVLChatModel", "InternS1ProForConditionalGeneration", "H2OVLChatModel", "NVLM_D"),
        *("InternS2MobiusForConditionalGeneration", "InternS2PreviewForConditionalGeneration"),
        *("KimiVLForConditionalGeneration", "KimiK25ForConditionalGeneration"),
        *("Llama4ForConditionalGeneration", "MiniCPMO", "MiniCPMV"),
        *("MiniCPMV4_6ForConditionalGeneration", "MiniCPMV4_7ForConditionalGeneration"),
        *("Glm4vForConditionalGeneration", "Glm4vMoeForConditionalGeneration"),
        *(
            "GlmOcrForConditionalGeneration",
            "DotsOCRForCausalLM",
            "QianfanOCRForConditionalGeneration",
        ),
        *("CohereCompassForConditionalGeneration", "Eagle2_5_VLForConditionalGeneration"),
        *("Cosmos3ForConditionalGeneration", "Cosmos3EdgeForConditionalGeneration"),
        *("Exaone4_5_ForConditionalGeneration", "IsaacForConditionalGeneration"),
        *("OpenCUAForConditionalGeneration", "StepVLForConditionalGeneration"),
        *("Step3VLForConditionalGeneration", "Step3p7ForConditionalGeneration"),
    }
)

_ATTENTION: Final = frozenset({CacheKind.FULL, CacheKind.SLIDING, CacheKind.CHUNKED})


@dataclass(frozen=True)
class _Linear:
    """One linear layer's part on one rank, in elements."""

    name: str
    inputs: int
    outputs: tuple[int, ...]  # more than one are stored as one matrix
    splits_inputs: bool = False  # else its outputs


def illegal(shape: ModelShape, tensor_parallel: int, *, fp8_units: bool = True) -> tuple[str, ...]:
    """Why the engine would refuse this size, one sentence per condition; empty when it would not.

    `fp8_units` is whether the card computes in FP8 (NVIDIA: compute capability 8.9 and later).
    """
    rules = RULES if fp8_units else RULES + RULES_WITHOUT_FP8_UNITS
    return tuple(dict.fromkeys(why for rule in rules for why in rule(shape, tensor_parallel)))


def legal_sizes(shape: ModelShape, limit: int, *, fp8_units: bool = True) -> tuple[int, ...]:
    """The sizes up to `limit` that the engine takes, smallest first.

    None is larger than the attention heads, which it divides, nor than a spec may ask for.
    """
    sizes = range(1, min(limit, shape.heads, MAX_GPUS) + 1)
    return tuple(size for size in sizes if not illegal(shape, size, fp8_units=fp8_units))


def vision_data_parallel(shape: ModelShape, tensor_parallel: int) -> bool:
    """Whether the engine needs --mm-encoder-tp-mode data: it cannot split the vision tower.

    Then every rank holds the whole tower and takes its share of the pictures. Never so of an
    engine class that ignores the flag: such a size is illegal.
    """
    tower = shape.vision
    if tower is None or shape.architecture not in VISION_DATA_PARALLEL:
        return False
    return bool(tower.heads % tensor_parallel or tower.intermediate % tensor_parallel)


def _undivided(ranks: int, count: int, what: str) -> Iterator[str]:
    if count % ranks:
        yield f"{ranks} does not divide {count} {what}"


def _heads(shape: ModelShape, ranks: int) -> Iterator[str]:
    """config/model.py verify_with_parallel_config."""
    yield from _undivided(ranks, shape.heads, "attention heads")


def _kv_heads(shape: ModelShape, ranks: int) -> Iterator[str]:
    """model_executor/layers/linear.py QKVParallelLinear: split, or repeated evenly."""
    repeats = shape.architecture not in KV_HEADS_NOT_REPEATED
    for count in sorted(_kv_head_counts(shape)):
        if ranks < count or not repeats:
            yield from _undivided(ranks, count, "KV heads")
        elif ranks % count:
            yield f"{ranks} is no multiple of {count} KV heads, which cannot be repeated evenly"


def _kv_head_counts(shape: ModelShape) -> frozenset[int]:
    """Latent attention has none: every rank keeps the same vector."""
    return frozenset(layers.kv_heads for layers in shape.cache if layers.kind in _ATTENTION)


def _vocabulary(shape: ModelShape, ranks: int) -> Iterator[str]:
    """model_executor/layers/vocab_parallel_embedding.py VocabParallelEmbedding."""
    padded = padded_vocabulary(shape)
    yield from _undivided(
        ranks, padded, f"rows of the vocabulary ({shape.vocabulary}, padded to {padded})"
    )


def _intermediate(shape: ModelShape, ranks: int) -> Iterator[str]:
    """model_executor/layers/linear.py MergedColumnParallelLinear and RowParallelLinear."""
    if shape.dense:
        yield from _undivided(ranks, shape.intermediate, "intermediate elements")


def _experts(shape: ModelShape, ranks: int) -> Iterator[str]:
    """model_executor/layers/fused_moe/config.py FusedMoEConfig, and the models' own checks."""
    experts = shape.experts
    if experts is None:
        return
    yield from _undivided(ranks, experts.intermediate, "intermediate elements of an expert")
    yield from _undivided(
        ranks, experts.shared_intermediate, "intermediate elements of the shared experts"
    )
    if ranks > experts.count and shape.architecture in NO_MORE_RANKS_THAN_EXPERTS:
        yield f"{ranks} is more than {experts.count} experts"


def _state_space(shape: ModelShape, ranks: int) -> Iterator[str]:
    """model_executor/layers/mamba/: mamba_mixer2.py, mamba_utils.py and gdn/."""
    for count in shape.state_heads:
        yield from _undivided(ranks, count, "state-space heads")
    if shape.state_groups > 1:
        yield from _undivided(ranks, shape.state_groups, "state-space groups")


def _quantization(shape: ModelShape, _ranks: int) -> Iterator[str]:
    """config/model.py _verify_quantization."""
    quantization = shape.quantization
    if quantization is None:
        return
    if quantization.method not in QUANTIZATION_METHODS:
        yield f"the engine does not know the quantisation {quantization.method}"
    bits = WEIGHT_BITS.get(quantization.method, (quantization.bits,))
    if quantization.bits not in bits:
        yield f"the engine has no {quantization.method} of {quantization.bits} bits"


def _groups(shape: ModelShape, ranks: int) -> Iterator[str]:
    """model_executor/kernels/linear/mixed_precision/marlin.py can_implement: none crosses ranks.

    Machete, Hopper's kernel, would take a GPTQ group that does; but auto_gptq.py create_weights
    then gives a rank fewer scales than its inputs have, and those of other inputs.
    """
    group = _group(shape)
    if not group:
        return
    for layer in _linears(shape, ranks):
        if layer.inputs % group:
            yield (
                f"groups of {group} do not divide the {layer.inputs} inputs"
                f" that a rank has of the {layer.name}"
            )


def _group(shape: ModelShape) -> int:
    """0 without groups."""
    quantization = shape.quantization
    if quantization is None or quantization.block or quantization.method not in GROUPED:
        return 0
    return quantization.group or 0


def _blocks(shape: ModelShape, ranks: int) -> Iterator[str]:
    """quantization/utils/fp8_utils.py validate_fp8_block_shape."""
    quantization = shape.quantization
    if quantization is None or quantization.block is None:
        return
    outputs, inputs = quantization.block
    for layer in _linears(shape, ranks):
        if layer.splits_inputs and ranks > 1 and layer.inputs % inputs:
            yield (
                f"blocks of {inputs} do not divide the {layer.inputs} inputs"
                f" that a rank has of the {layer.name}"
            )
        for size in _checked_outputs(layer, quantization, ranks):
            if size % outputs:
                yield (
                    f"blocks of {outputs} do not divide the {size} outputs"
                    f" that a rank has of the {layer.name}"
                )


def _checked_outputs(layer: _Linear, quantization: Quantization, ranks: int) -> tuple[int, ...]:
    """layers/linear.py _maybe_allow_fp8_block_shape_mismatch lets merged layers off, of fp8 only.

    Of a merged layer that is not split, the last part may end within a block.
    """
    merged = len(layer.outputs) > 1
    if layer.splits_inputs or (merged and quantization.method == "fp8"):
        return ()
    if ranks > 1:
        return layer.outputs
    return layer.outputs[:-1]


def _expert_groups(shape: ModelShape, ranks: int) -> Iterator[str]:
    """quantization/auto_awq.py, auto_gptq.py, moe_wna16.py and compressed_tensors_moe_wna16.py."""
    group, experts = _group(shape), shape.experts
    if not group or experts is None or experts.intermediate % ranks:
        return
    size = experts.intermediate // ranks
    if _halves_groups(shape, group, size):
        group = _halved(group, shape.hidden, size)
    if size % group:
        yield f"groups of {group} do not divide the {size} elements that a rank has of an expert"
    if shape.hidden % group:
        yield f"groups of {group} do not divide the hidden size of {shape.hidden}"


def _halves_groups(shape: ModelShape, group: int, size: int) -> bool:
    """Whether the kernel is the one that halves groups until they fit."""
    halving = shape.quantization is not None and shape.quantization.method in WEIGHT_BITS
    return halving and bool(shape.hidden % MARLIN_EXPERT_TILE or size % group)


def _halved(group: int, hidden: int, size: int) -> int:
    while (size % group or hidden % group) and group // 2 >= SMALLEST_HALVED_GROUP:
        group //= 2
    return group


def _expert_rows(shape: ModelShape, _ranks: int) -> Iterator[str]:
    """Only Marlin's kernel takes experts without groups (quantization/moe_wna16.py)."""
    quantization = shape.quantization
    if quantization is None or shape.experts is None or quantization.method not in WEIGHT_BITS:
        return
    if not _group(shape) and shape.hidden % MARLIN_EXPERT_TILE:
        yield (
            f"{MARLIN_EXPERT_TILE} does not divide the hidden size of {shape.hidden},"
            f" which {quantization.method} experts without groups need"
        )


def _expert_blocks(shape: ModelShape, ranks: int) -> Iterator[str]:
    """fused_moe/oracle/fp8.py refine_fp8_moe_block_shape, then validate_fp8_block_shape_moe."""
    for size, block in _unaligned_expert(shape, ranks):
        if not (_refines(shape) and gcd(*block, size, shape.hidden) >= SMALLEST_REFINED_BLOCK):
            yield (
                f"blocks of {block[0]} by {block[1]} do not divide the {size} elements"
                " that a rank has of an expert"
            )


def _expert_blocks_unrefined(shape: ModelShape, ranks: int) -> Iterator[str]:
    """Only Triton's kernel takes refined blocks (fused_moe/experts/triton_moe.py), on FP8 units."""
    for size, block in _unaligned_expert(shape, ranks):
        if _refines(shape):
            yield (
                f"a card without FP8 units takes no smaller blocks than {block[0]} by {block[1]},"
                f" which do not divide the {size} elements that a rank has of an expert"
            )


def _refines(shape: ModelShape) -> bool:
    """compressed_tensors_moe_w8a8_fp8.py does not."""
    return shape.quantization is not None and shape.quantization.method == "fp8"


def _unaligned_expert(shape: ModelShape, ranks: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """The elements of an expert on a rank, and the block, where the block does not divide them."""
    quantization, experts = shape.quantization, shape.experts
    if quantization is None or experts is None or quantization.block is None:
        return
    outputs, inputs = quantization.block
    if experts.intermediate % ranks:
        return
    size = experts.intermediate // ranks
    if size % outputs or (ranks > 1 and size % inputs):
        yield size, quantization.block


def _vision(shape: ModelShape, ranks: int) -> Iterator[str]:
    """A tower is repeated where the engine can do so, else it must split like the decoder."""
    tower = shape.vision
    if tower is None or shape.architecture in VISION_DATA_PARALLEL:
        return
    yield from _undivided(ranks, tower.heads, "heads of the vision tower")
    yield from _undivided(ranks, tower.intermediate, "intermediate elements of the vision tower")


def _linears(shape: ModelShape, ranks: int) -> Iterator[_Linear]:
    """The linear layers that are quantised and split, where they split evenly at all."""
    if not shape.heads % ranks:
        yield from _latent_attention(shape, ranks)
        yield from _attention(shape, ranks)
    dense = shape.intermediate if shape.dense else 0
    yield from _feed_forward(shape.hidden, dense, ranks, "dense layers")
    shared = _shared(shape.experts)
    yield from _feed_forward(shape.hidden, shared, ranks, "shared experts")


def _attention(shape: ModelShape, ranks: int) -> Iterator[_Linear]:
    heads = shape.heads // ranks
    sizes = {(c.kv_heads, c.key_dim, c.value_dim) for c in shape.cache if c.kind in _ATTENTION}
    for kv_heads, key_dim, value_dim in sorted(sizes):
        kept = max(1, kv_heads // ranks)
        outputs = (heads * key_dim, kept * key_dim, kept * value_dim)
        yield _Linear("query, key and value projection", shape.hidden, outputs)
        yield _Linear("attention's output projection", heads * value_dim, (shape.hidden,), True)


def _latent_attention(shape: ModelShape, ranks: int) -> Iterator[_Linear]:
    """model_executor/models/deepseek_v2.py DeepseekV2MLAAttention; the first step is not split."""
    heads = shape.heads // ranks
    plain_dim = shape.query_dim - shape.rotary_dim
    for layers in shape.cache:
        if layers.kind is CacheKind.LATENT:
            latent = layers.key_dim - shape.rotary_dim
            yield _Linear("query projection", shape.hidden, (heads * shape.query_dim,))
            outputs = (heads * (plain_dim + shape.value_dim),)
            yield _Linear("projection from the latent vector", latent, outputs)
            inputs = heads * shape.value_dim
            yield _Linear("attention's output projection", inputs, (shape.hidden,), True)


def _feed_forward(hidden: int, intermediate: int, ranks: int, where: str) -> Iterator[_Linear]:
    if intermediate and not intermediate % ranks:
        size = intermediate // ranks
        yield _Linear(f"{where}' gate and up projection", hidden, (size, size))
        yield _Linear(f"{where}' down projection", size, (hidden,), True)


def _shared(experts: Experts | None) -> int:
    return experts.shared_intermediate if experts else 0


RULES: Final[tuple[Rule, ...]] = (
    _heads,
    _kv_heads,
    _vocabulary,
    _intermediate,
    _experts,
    _state_space,
    _vision,
    _quantization,
    _groups,
    _blocks,
    _expert_groups,
    _expert_rows,
    _expert_blocks,
)
RULES_WITHOUT_FP8_UNITS: Final[tuple[Rule, ...]] = (_expert_blocks_unrefined,)

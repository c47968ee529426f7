"""Legality on hand-made shapes. tests/engine/test_legality.py compares it with the engine."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_operator.core.model import legality
from berth_operator.core.model.legality import illegal, legal_sizes, vision_data_parallel
from berth_operator.core.model.shape import (
    CacheKind,
    CacheLayers,
    Experts,
    ModelShape,
    Quantization,
    Vision,
)

LIMIT = 16


def attention(kv_heads=8, head_dim=128, kind=CacheKind.FULL):
    return CacheLayers(kind, 32, kv_heads=kv_heads, key_dim=head_dim, value_dim=head_dim)


# Llama-3.1-8B.
LLAMA = ModelShape(
    architecture="LlamaForCausalLM",
    known=True,
    layers=32,
    hidden=4096,
    intermediate=14336,
    heads=32,
    kv_heads=8,
    vocabulary=128256,
    max_position=131072,
    dtype="bfloat16",
    cache=(attention(),),
)
# Qwen2.5-0.5B.
SMALL = replace(
    LLAMA,
    architecture="Qwen2ForCausalLM",
    hidden=896,
    intermediate=4864,
    heads=14,
    kv_heads=2,
    vocabulary=151936,
    cache=(attention(2, 64),),
)
# Qwen3-30B-A3B.
MIXTURE = replace(
    LLAMA,
    architecture="Qwen3MoeForCausalLM",
    hidden=2048,
    intermediate=6144,
    dense=False,
    kv_heads=4,
    cache=(attention(4),),
    experts=Experts(count=128, per_token=8, intermediate=768),
)
# DeepSeek-V3.
LATENT = replace(
    LLAMA,
    architecture="DeepseekV3ForCausalLM",
    hidden=7168,
    intermediate=18432,
    heads=128,
    kv_heads=128,
    vocabulary=129280,
    cache=(CacheLayers(CacheKind.LATENT, 61, key_dim=576),),
    rotary_dim=64,
    query_dim=192,
    value_dim=128,
    experts=Experts(count=256, per_token=8, intermediate=2048, shared_intermediate=2048),
)
GPT_OSS = replace(
    LLAMA,
    architecture="GptOssForCausalLM",
    hidden=2880,
    intermediate=2880,
    dense=False,
    heads=64,
    vocabulary=201088,
    cache=(attention(head_dim=64), attention(head_dim=64, kind=CacheKind.SLIDING)),
    experts=Experts(count=128, per_token=4, intermediate=2880),
    quantization=Quantization("mxfp4", 4, group=32),
)
# Qwen2.5-VL-72B.
PICTURES = replace(
    LLAMA,
    architecture="Qwen2_5_VLForConditionalGeneration",
    hidden=8192,
    intermediate=29568,
    heads=64,
    vocabulary=152064,
    vision=Vision(heads=16, layers=32, hidden=1280, intermediate=3420),
)

FP8_BLOCKS = Quantization("fp8", 8, block=(128, 128))
AWQ = Quantization("awq", 4, group=128)


def quantized(shape, quantization):
    return replace(shape, quantization=quantization)


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        (LLAMA, (1, 2, 4, 8, 16)),
        (SMALL, (1, 2)),
        (MIXTURE, (1, 2, 4, 8, 16)),
        (LATENT, (1, 2, 4, 8, 16)),
        (GPT_OSS, (1, 2, 4, 8)),
        (PICTURES, (1, 2, 4, 8, 16)),
        (quantized(LLAMA, FP8_BLOCKS), (1, 2, 4, 8, 16)),
        (quantized(LATENT, FP8_BLOCKS), (1, 2, 4, 8, 16)),
        # 29568 is 231 groups of 128: the well-known refusal of Qwen2.5-72B-AWQ on two cards.
        (quantized(PICTURES, AWQ), (1,)),
        (quantized(SMALL, AWQ), (1,)),
    ],
)
def test_known_models_split_into_known_sizes(shape, sizes):
    assert legal_sizes(shape, LIMIT) == sizes


def test_a_reason_names_the_numbers():
    assert illegal(LLAMA, 3) == (
        "3 does not divide 32 attention heads",
        "3 does not divide 8 KV heads",
        "3 does not divide 14336 intermediate elements",
    )


def test_kv_heads_are_repeated_evenly_or_not_at_all():
    shape = replace(LLAMA, heads=24, kv_heads=4, vocabulary=49152, intermediate=12288)
    four = replace(shape, cache=(attention(4),))
    assert illegal(four, 6) == ("6 is no multiple of 4 KV heads, which cannot be repeated evenly",)
    assert not illegal(four, 8)
    assert not illegal(replace(shape, cache=(attention(1),)), 6)


def test_an_engine_class_that_does_not_repeat_kv_heads_says_so():
    assert illegal(GPT_OSS, 16) == ("16 does not divide 8 KV heads",)


def test_each_kind_of_layer_has_its_own_kv_heads():
    mixed = replace(LLAMA, cache=(attention(8), attention(6, kind=CacheKind.SLIDING)))
    assert illegal(mixed, 4) == ("4 does not divide 6 KV heads",)


def test_latent_attention_has_no_kv_heads_to_split():
    assert not illegal(replace(LATENT, kv_heads=3), 16)


def test_the_vocabulary_is_padded_before_it_is_split():
    assert not illegal(replace(LLAMA, vocabulary=32001), 2)
    wide = replace(LLAMA, heads=35, cache=(attention(35),), intermediate=35, vocabulary=32001)
    assert illegal(wide, 5) == (
        "5 does not divide 32064 rows of the vocabulary (32001, padded to 32064)",
    )


def test_a_mixture_without_dense_layers_has_no_dense_size_to_split():
    assert not illegal(replace(MIXTURE, intermediate=6143), 2)
    assert illegal(replace(MIXTURE, intermediate=6143, dense=True), 2) == (
        "2 does not divide 6143 intermediate elements",
    )


def test_experts_and_shared_experts_are_split():
    experts = Experts(count=16, per_token=2, intermediate=770, shared_intermediate=771)
    assert illegal(replace(MIXTURE, experts=experts), 4) == (
        "4 does not divide 770 intermediate elements of an expert",
        "4 does not divide 771 intermediate elements of the shared experts",
    )


def test_some_engine_classes_want_an_expert_for_each_rank():
    few = Experts(count=8, per_token=2, intermediate=768)
    assert illegal(replace(MIXTURE, experts=few), 16) == ("16 is more than 8 experts",)
    assert not illegal(replace(MIXTURE, architecture="MixtralForCausalLM", experts=few), 16)


def test_state_space_heads_and_groups_are_split_but_one_group_is_repeated():
    state = replace(LLAMA, state_heads=(6, 24))
    assert illegal(state, 4) == ("4 does not divide 6 state-space heads",)
    assert illegal(replace(LLAMA, state_groups=2), 4) == ("4 does not divide 2 state-space groups",)
    assert not illegal(replace(LLAMA, state_groups=1), 4)


def test_a_group_of_inputs_stays_on_one_rank():
    grouped = quantized(replace(LLAMA, intermediate=11008), AWQ)
    [why] = illegal(grouped, 4)
    assert why == (
        "groups of 128 do not divide the 2752 inputs that a rank has of the"
        " dense layers' down projection"
    )
    assert not illegal(quantized(grouped, replace(AWQ, group=64)), 4)


def test_a_whole_row_is_no_group():
    assert not illegal(quantized(replace(LLAMA, intermediate=11008), Quantization("gptq", 4)), 4)


@pytest.mark.parametrize(
    ("method", "bits", "reason"),
    [
        ("bitsandbytes", 4, "the engine does not know the quantisation bitsandbytes"),
        ("awq", 8, "the engine has no awq of 8 bits"),
    ],
)
def test_what_the_engine_cannot_read_is_illegal_at_every_size(method, bits, reason):
    shape = quantized(LLAMA, Quantization(method, bits))
    assert illegal(shape, 1) == (reason,)
    assert legal_sizes(shape, LIMIT) == ()


def test_experts_get_smaller_groups_where_the_engine_halves_them():
    assert not illegal(quantized(MIXTURE, AWQ), 8)
    assert illegal(quantized(MIXTURE, AWQ), 16) == (
        "groups of 32 do not divide the 48 elements that a rank has of an expert",
    )
    fixed = quantized(MIXTURE, Quantization("compressed-tensors", 4, group=128))
    assert illegal(fixed, 4) == (
        "groups of 128 do not divide the 192 elements that a rank has of an expert",
    )


def test_experts_without_groups_need_a_whole_tile_of_the_hidden_size():
    row = quantized(replace(MIXTURE, hidden=2112), Quantization("gptq", 4))
    assert illegal(row, 1) == (
        "128 does not divide the hidden size of 2112, which gptq experts without groups need",
    )


def test_a_block_of_inputs_stays_on_one_rank():
    blocked = quantized(replace(LLAMA, intermediate=11008), FP8_BLOCKS)
    [why] = illegal(blocked, 4)
    assert why == (
        "blocks of 128 do not divide the 2752 inputs that a rank has of the"
        " dense layers' down projection"
    )


def test_blocks_of_outputs_count_in_compressed_tensors_and_in_layers_of_one_part():
    few = replace(LLAMA, kv_heads=1, cache=(attention(1, 64),), heads=64)
    assert not illegal(quantized(few, FP8_BLOCKS), 2)
    strict = Quantization("compressed-tensors", 8, block=(128, 128))
    [why] = illegal(quantized(few, strict), 2)  # once for keys and values
    assert why == (
        "blocks of 128 do not divide the 64 outputs that a rank has of the"
        " query, key and value projection"
    )
    odd = replace(LATENT, heads=12)
    assert illegal(quantized(odd, FP8_BLOCKS), 4) == (
        "blocks of 128 do not divide the 576 outputs that a rank has of the query projection",
    )


def test_blocks_of_experts_are_refined_where_the_card_can():
    blocked = quantized(MIXTURE, FP8_BLOCKS)
    assert legal_sizes(blocked, LIMIT) == (1, 2, 4, 8)
    assert legal_sizes(blocked, LIMIT, fp8_units=False) == (1, 2)
    assert illegal(blocked, 16) == (
        "blocks of 128 by 128 do not divide the 48 elements that a rank has of an expert",
    )
    [why] = illegal(blocked, 4, fp8_units=False)
    assert why == (
        "a card without FP8 units takes no smaller blocks than 128 by 128,"
        " which do not divide the 192 elements that a rank has of an expert"
    )


def test_mxfp4_experts_are_padded():
    assert GPT_OSS.experts.intermediate // 8 % GPT_OSS.quantization.group
    assert not illegal(GPT_OSS, 8)


def test_a_vision_tower_that_does_not_split_is_repeated_where_the_engine_can():
    assert [size for size in (1, 2, 4, 8, 16) if vision_data_parallel(PICTURES, size)] == [8, 16]
    assert not illegal(PICTURES, 8)
    assert not vision_data_parallel(LLAMA, 8)


def test_a_vision_tower_that_can_only_split_must_split():
    stuck = replace(PICTURES, architecture="Gemma3ForConditionalGeneration")
    assert not vision_data_parallel(stuck, 8)
    assert illegal(stuck, 8) == (
        "8 does not divide 3420 intermediate elements of the vision tower",
    )


shapes = st.builds(
    replace,
    st.sampled_from((LLAMA, SMALL, MIXTURE, LATENT, GPT_OSS, PICTURES)),
    heads=st.integers(1, 128),
    hidden=st.integers(1, 16384),
    intermediate=st.integers(1, 65536),
    vocabulary=st.integers(1, 300_000),
    dense=st.booleans(),
    quantization=st.sampled_from((None, AWQ, FP8_BLOCKS, Quantization("gptq", 4))),
)


@given(shapes)
def test_one_rank_is_illegal_only_for_its_quantisation(shape):
    assert not illegal(replace(shape, quantization=None), 1)


@given(shapes, st.integers(1, 64))
def test_a_card_without_fp8_units_never_takes_more(shape, limit):
    without = legal_sizes(shape, limit, fp8_units=False)
    assert set(without) <= set(legal_sizes(shape, limit))


@given(shapes, st.integers(1, 32))
def test_a_quantised_shape_is_never_legal_where_the_plain_one_is_not(shape, size):
    if illegal(replace(shape, quantization=None), size):
        assert illegal(shape, size)


@given(shapes, st.integers(1, 64))
def test_legal_sizes_are_those_without_a_reason_and_divide_the_heads(shape, limit):
    sizes = legal_sizes(shape, limit)
    assert list(sizes) == [size for size in range(1, limit + 1) if not illegal(shape, size)]
    assert all(shape.heads % size == 0 for size in sizes)


def test_no_size_beyond_what_a_spec_may_ask_for_is_tried():
    shape = replace(
        LLAMA, heads=2**20, vocabulary=2**20, intermediate=2**20, cache=(attention(2**20),)
    )
    assert legal_sizes(shape, 2**40) == tuple(2**power for power in range(11))


def test_no_size_beyond_the_heads_is_tried(monkeypatch):
    tried = []
    monkeypatch.setattr(legality, "illegal", lambda _, size, **_more: tried.append(size))
    legal_sizes(LLAMA, 10**6)
    assert tried == list(range(1, 33))


def test_every_rule_is_in_a_table_once():
    rules = legality.RULES + legality.RULES_WITHOUT_FP8_UNITS
    assert len(rules) == len(set(rules))

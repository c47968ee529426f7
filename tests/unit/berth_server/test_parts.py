import published
import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_operator.core.model.shape import Part
from berth_server import parts

KNOWN = parts.Facts(layers=4, heads=8, kv_heads=2)


def split(name, dtype="BF16", shape=(4, 4), known=KNOWN):
    size = 2
    for dimension in shape:
        size *= dimension
    return list(parts.split(parts.Tensor(name, dtype, shape, size), known))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.embed_tokens.weight", "embedding"),
        ("transformer.wte.weight", "embedding"),
        ("backbone.embeddings.weight", "embedding"),
        ("lm_head.weight", "head"),
        ("model.layers.0.self_attn.q_proj.weight", "linear"),
        ("model.layers.0.self_attn.q_proj.bias", "linear"),
        ("model.layers.0.self_attn.k_proj.weight", "keyValue"),
        ("model.layers.0.self_attn.v_proj.bias", "keyValue"),
        ("model.layers.0.self_attn.k_proj.qweight", "keyValue"),
        ("model.layers.0.self_attn.v_proj.weight_scale_inv", "keyValue"),
        ("model.layers.0.self_attn.k_norm.weight", "replicated"),
        ("model.layers.0.self_attn.o_proj.weight", "linear"),
        ("model.layers.0.self_attn.o_proj.bias", "replicated"),
        ("model.layers.0.self_attn.sinks", "linear"),
        ("model.layers.0.self_attn.kv_a_proj_with_mqa.weight", "replicated"),
        ("model.layers.0.self_attn.q_a_proj.weight", "replicated"),
        ("model.layers.0.self_attn.kv_b_proj.weight", "linear"),
        ("model.layers.0.input_layernorm.weight", "replicated"),
        ("transformer.h.0.ln_1.bias", "replicated"),
        ("model.layers.0.mlp.gate_proj.weight", "linear"),
        ("model.layers.0.mlp.down_proj.bias", "replicated"),
        ("model.layers.0.mlp.up_proj.bias", "linear"),
        ("model.layers.0.mlp.gate.weight", "replicated"),
        ("model.layers.0.mlp.shared_expert_gate.weight", "replicated"),
        ("model.layers.0.mlp.shared_experts.up_proj.weight", "linear"),
        ("model.layers.0.mlp.experts.3.up_proj.weight", "experts"),
        ("model.layers.0.mlp.experts.gate_up_proj_bias", "experts"),
        ("model.layers.0.mlp.experts.down_proj_bias", "replicated"),
        ("model.layers.0.block_sparse_moe.experts.1.w2.weight", "experts"),
        ("model.layers.0.mixer.norm.weight", "linear"),
        ("model.layers.0.mamba.dt_layernorm.weight", "replicated"),
        ("model.layers.0.mamba.D", "linear"),
        ("transformer.wpe.weight", "replicated"),
        ("transformer.h.0.attn.bias", "unused"),
        ("transformer.h.0.attn.c_proj.bias", "replicated"),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", "unused"),
        ("model.layers.4.mlp.up_proj.weight", "unused"),
        ("mtp.layers.0.mlp.up_proj.weight", "unused"),
        ("visual.blocks.9.attn.qkv.weight", "vision"),
        ("visual.blocks.9.attn.proj.bias", "replicated"),
        ("vision_tower.encoder.layers.9.mlp.fc1.bias", "vision"),
        ("vision_tower.encoder.layers.9.layer_norm1.weight", "replicated"),
        ("multi_modal_projector.linear_1.weight", "vision"),
    ],
)
def test_a_name_says_where_a_tensor_goes(name, part):
    assert {found for found, _, _ in split(name)} == {part}


def test_a_layers_number_without_end_is_no_layers_number():
    assert split(f"model.layers.{'9' * 5000}.x")[0][0] == "linear"
    assert split("model.layers.999999.x")[0][0] == "unused"


def test_a_scalar_is_on_every_rank():
    assert split("model.layers.0.mlp.something", shape=(1,))[0][0] == "replicated"


def test_parts_are_those_that_the_operator_knows():
    every = {part for name in published.NAMES for part in published.report(name).parts}
    assert every == {part.value for part in Part}


def test_a_fused_matrix_is_parted_by_heads():
    found = split("model.layers.0.self_attn.qkv_proj.weight", shape=(12, 6))
    assert found == [("linear", "BF16", 96), ("keyValue", "BF16", 48)]


def test_a_fused_matrix_of_which_no_heads_are_known_is_split():
    found = split("h.0.attn.c_attn.weight", known=parts.Facts())
    assert sum(size for _, _, size in found) == 32
    assert found[0] == ("linear", "BF16", 32)


def test_groups_of_a_state_stand_apart():
    known = parts.Facts(layers=1, state_groups=1, state_size=2, state_heads=4)
    found = split("model.layers.0.mixer.in_proj.weight", shape=(16, 2), known=known)
    assert found == [("linear", "BF16", 48), ("stateGroups", "BF16", 16)]


def test_a_recurrence_is_held_in_float32():
    found = split("model.layers.0.linear_attn.A_log", shape=(8,))
    assert found == [("linear", "kept:F32", 32)]


def test_scales_are_held_as_they_are():
    ((_, dtype, size),) = split("model.layers.0.mlp.up_proj.weight_scale_inv", "F32")
    assert (dtype, size) == ("kept:F32", 32)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"num_hidden_layers": 3, "num_attention_heads": 4}, (3, 4, 4)),
        ({"n_layer": 3, "n_head": 4, "multi_query": True}, (3, 4, 1)),
        ({"text_config": {"num_hidden_layers": 2, "num_key_value_heads": 1}}, (2, 0, 1)),
        ({"num_hidden_layers": 10**30, "num_attention_heads": "x"}, (0, 0, 0)),
        ({"num_hidden_layers": True, "num_attention_heads": -1}, (0, 0, 0)),
    ],
)
def test_facts_are_read_from_sound_numbers_only(config, expected):
    found = parts.facts(config)
    assert (found.layers, found.heads, found.kv_heads) == expected


SIZES = st.tuples(st.integers(1, 64), st.integers(1, 64))
NAMES = st.sampled_from(
    ["qkv_proj.weight", "in_proj.weight", "k_proj.weight", "x.weight", "mixer.conv1d.weight"]
)
FACTS = st.builds(parts.Facts, *[st.integers(0, 64)] * 6)


@given(NAMES, SIZES, FACTS)
def test_no_byte_is_lost_or_counted_twice(name, shape, known):
    tensor = parts.Tensor(f"model.layers.0.{name}", "BF16", shape, 2 * shape[0] * shape[1])
    found = list(parts.split(tensor, known))
    assert all(size >= 0 for _, _, size in found)
    assert sum(size for _, _, size in found) == tensor.size_bytes

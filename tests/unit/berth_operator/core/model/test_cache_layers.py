import published
import pytest

from berth_operator.core.model import cache_layers
from berth_operator.core.model.section import Section, Unreadable
from berth_operator.core.model.shape import CacheKind, StateTensor

PLAIN = {
    "num_hidden_layers": 12, "hidden_size": 64, "num_attention_heads": 8, "num_key_value_heads": 2,
}  # fmt: skip


def layers(family="llama", **said):
    found = cache_layers.layers(Section(PLAIN | said, {}), family)
    return {one.kind: one.layers for one in found}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-3.1-8b", {"full attention": 32}),
        ("mistral-7b-v0.1", {"sliding window": 32}),
        ("qwen2.5-7b", {"full attention": 28}),
        ("gemma-2-9b", {"sliding window": 21, "full attention": 21}),
        ("gemma-3-27b", {"sliding window": 52, "full attention": 10}),
        ("gpt-oss-120b", {"sliding window": 18, "full attention": 18}),
        ("llama-4-scout", {"chunked attention": 36, "full attention": 12}),
        ("deepseek-v3", {"latent attention": 61}),
        ("qwen3-next-80b-a3b", {"state space": 36, "full attention": 12}),
        ("nemotron-h-8b", {"full attention": 4, "state space": 24}),
        ("jamba-mini", {"full attention": 4, "state space": 28}),
        ("falcon-h1-0.5b", {"full attention": 36, "state space": 36}),
        ("lfm2-1.2b", {"state space": 10, "full attention": 6}),
    ],
)
def test_published_models_keep_what_the_engine_says(name, expected):
    found = {one.kind.value: one.layers for one in published.shape(name).cache}
    assert found == expected


@pytest.mark.parametrize(
    ("family", "said", "expected"),
    [
        ("llama", {}, {CacheKind.FULL: 12}),
        ("llama", {"sliding_window": 8}, {CacheKind.SLIDING: 12}),
        ("qwen2", {"sliding_window": 8, "use_sliding_window": False}, {CacheKind.FULL: 12}),
        ("qwen2", {"sliding_window": 8, "max_window_layers": 12}, {CacheKind.FULL: 12}),
        (
            "novel",
            {"sliding_window": 8, "max_window_layers": 4},
            {CacheKind.FULL: 4, CacheKind.SLIDING: 8},
        ),
        (
            "novel",
            {"sliding_window": 8, "layer_types": {"sliding_attention": 9, "full_attention": 3}},
            {CacheKind.FULL: 3, CacheKind.SLIDING: 9},
        ),
        (
            "cohere2",
            {"sliding_window": 8, "sliding_window_pattern": 3},
            {CacheKind.FULL: 4, CacheKind.SLIDING: 8},
        ),
        (
            "gemma3n_text",
            {"sliding_window": 8, "num_kv_shared_layers": 2},
            {CacheKind.FULL: 2, CacheKind.SLIDING: 8},
        ),
    ],
)
def test_layers_are_of_the_kinds_that_a_configuration_gives(family, said, expected):
    assert layers(family, **said) == expected


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3n_text", "falcon_h1"])
def test_more_layers_than_any_model_has_are_refused(family):
    said = {"num_hidden_layers": 2**20, "sliding_window": 8, "max_window_layers": 1}
    with pytest.raises(Unreadable, match=r"num_hidden_layers is '1048576', .* 4,096") as why:
        layers(family, **said)
    assert "num_hidden_layers" in why.value.fix


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("layer_types", {"full_attention": 13}),
        ("layer_types", {"full_attention": 12, "sliding_attention": 1}),
        ("layers_block_type", ["attention"] * 13),
        ("hybrid_override_pattern", "*" * 13),
    ],
)
def test_more_kinds_than_layers_are_refused(name, kinds):
    with pytest.raises(Unreadable, match=f"{name} names 13 .* num_hidden_layers is 12") as why:
        layers(sliding_window=8, **{name: kinds})
    assert name in why.value.fix


def test_kinds_that_keep_nothing_do_not_count():
    assert layers(hybrid_override_pattern="*" * 12 + "-" * 12) == {CacheKind.FULL: 12}
    assert layers(layer_types={"full_attention": 12, "mlp": 12}) == {CacheKind.FULL: 12}


@pytest.mark.parametrize("shared", [12, 100])
def test_layers_cannot_all_share_the_cache_of_others(shared):
    with pytest.raises(Unreadable, match=f"num_kv_shared_layers is {shared}, of 12") as why:
        layers("gemma3n_text", sliding_window=8, num_kv_shared_layers=shared)
    assert "at most 11" in why.value.fix
    assert sum(layers("gemma3n_text", sliding_window=8, num_kv_shared_layers=11).values()) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("conv_L_cache", {}),
        ("conv_kernel", {"mamba_num_heads": 4, "mamba_head_dim": 4, "ssm_state_size": 4}),
        ("mamba_d_conv", {"mamba_expand": 2, "mamba_d_state": 4}),
        (
            "linear_conv_kernel_dim",
            dict.fromkeys(
                [
                    "linear_num_key_heads", "linear_key_head_dim",
                    "linear_num_value_heads", "linear_value_head_dim",
                ],
                4,
            ),
        ),
    ],
)  # fmt: skip
def test_a_convolution_that_spans_one_token_is_refused(name, said):
    kinds = {"layer_types": {"full_attention": 2, "linear_attention": 10}}
    assert layers("lfm2", **kinds, **said, **{name: 2})[CacheKind.STATE] == 10
    with pytest.raises(Unreadable, match=f"{name} is 1,") as why:
        layers("lfm2", **kinds, **said, **{name: 1})
    assert name in why.value.fix


def test_windows_on_some_layers_are_refused_where_the_engine_refuses_them():
    with pytest.raises(Unreadable, match="max_window_layers"):
        layers("qwen2", sliding_window=8, max_window_layers=4)


def test_layers_that_keep_nothing_are_no_decoder():
    with pytest.raises(Unreadable, match="no layer that attends"):
        layers(hybrid_override_pattern="---")


def test_a_state_of_which_no_size_is_said_is_refused():
    with pytest.raises(Unreadable, match="no size"):
        layers(layer_types=["mamba"] * 12)


def test_cohere_sees_one_token_more():
    found = published.shape("command-r7b").cache
    assert {one.window for one in found if one.kind is CacheKind.SLIDING} == {4097}


def test_falcons_older_layout_has_one_key_and_value():
    (found,) = published.shape("falcon-7b").cache
    assert (found.kv_heads, found.key_dim) == (1, 64)


def test_a_delta_nets_state_is_its_convolution_and_its_memory():
    found = next(c for c in published.shape("qwen3-next-80b-a3b").cache if c.state)
    memory = StateTensor(32 * 128 * 128, 0, cpu_element_bytes=4)
    assert found.state == (StateTensor(8192 * 3, 0), memory)
    assert found.state_blocks == 2


def test_mamba2_repeats_groups_and_holds_one_block_more():
    found = next(c for c in published.shape("nemotron-h-8b").cache if c.state)
    assert found.state == (
        StateTensor(8192 * 3, 0),
        StateTensor(2 * 8 * 128 * 3, 0, pieces=8),
        StateTensor(8192 * 128, 4, cpu_element_bytes=4),
    )
    assert found.state_blocks == 3


DELTA_NET = {
    "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_num_value_heads": 4,
    "linear_value_head_dim": 8, "linear_conv_kernel_dim": 4,
}  # fmt: skip


@pytest.mark.parametrize(
    ("family", "said", "expected"),
    [
        ("qwen3_next", {}, (0, 4)),
        ("qwen3_5_text", {}, (0, 4)),
        ("qwen3_5_text", {"mamba_ssm_dtype": "float32"}, (4, 4)),
        ("qwen3_5_text", {"mamba_ssm_dtype": "bfloat16"}, (2, 2)),
        ("qwen3_next", {"mamba_ssm_dtype": "bfloat16"}, (2, 4)),
    ],
)
def test_a_recurrence_is_float32_on_a_cpu_unless_16_bits_are_said_where_the_engine_reads_it(
    family, said, expected
):
    found = cache_layers.layers(Section(PLAIN | DELTA_NET | said, {}), family)
    _, memory = next(one.state for one in found if one.state)
    assert (memory.element_bytes, memory.cpu_element_bytes) == expected


def test_a_convolution_is_of_the_served_dtype_on_a_cpu_too():
    found = next(c for c in published.shape("lfm2-1.2b").cache if c.state)
    assert [one.cpu_element_bytes for one in found.state] == [0]

from dataclasses import replace

import published
import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_operator.core.model import kv_cache
from berth_operator.core.model.shape import CacheKind, CacheLayers

LLAMA = published.shape("llama-3.1-8b")
GIB = 2**30


HYBRIDS = [one for one in published.NAMES if any(c.state for c in published.shape(one).cache)]
# Whose recurrence is of the dtype that is served, unless a CPU holds it in more.
HELD_IN_MORE = ("falcon-h1-0.5b", "granite-4.0-h-tiny", "jamba-mini", "qwen3-next-80b-a3b")


def layout(name, dtype="bfloat16", ranks=1, block_tokens=16, **device):
    return kv_cache.layout(published.shape(name), dtype, ranks, block_tokens, **device)


def of(*cache):
    return kv_cache.layout(replace(LLAMA, cache=cache), "bfloat16", 1, 16)


@pytest.mark.parametrize("name", published.NAMES)
def test_a_cpu_holds_a_recurrence_in_float32_and_all_else_as_a_gpu_does(name):
    assert (layout(name, on_cpu=True) != layout(name)) == (name in HELD_IN_MORE)
    assert layout(name, "float32", on_cpu=True) == layout(name, "float32")


@given(
    st.sampled_from(HYBRIDS),
    st.sampled_from([1, 2, 4]),
    st.sampled_from(["bfloat16", "float16", "fp8", "float32"]),
    st.integers(1, 2**18),
)
def test_what_is_planned_for_a_cpu_is_enough_for_one_that_holds_states_in_less(
    name, ranks, dtype, tokens
):
    planned, smaller = (
        layout(name, dtype, ranks, block_tokens=128, on_cpu=on_cpu) for on_cpu in (True, False)
    )
    blocks = planned.blocks_per_sequence(tokens, 2048) + 1
    there = smaller.blocks(blocks * planned.bytes_per_block)
    assert smaller.blocks_per_sequence(tokens, 2048) + 1 <= there


@pytest.mark.parametrize(
    ("name", "per_token"),
    [
        ("llama-3.1-8b", 131_072),
        ("llama-3.1-70b", 327_680),
        ("qwen2.5-7b", 57_344),
        ("qwen3-32b", 262_144),
        ("deepseek-v3", 70_272),
    ],
)
def test_a_token_takes_the_published_bytes(name, per_token):
    found = layout(name)
    assert found.bytes_per_token == per_token
    assert found.bytes_per_block == 16 * per_token


@pytest.mark.parametrize(("ranks", "share"), [(1, 1), (2, 2), (4, 4), (8, 8), (16, 8), (32, 8)])
def test_heads_are_repeated_beyond_as_many_ranks(ranks, share):
    assert layout("llama-3.1-8b", ranks=ranks).bytes_per_token == 131_072 // share


def test_latent_attention_is_the_same_on_every_rank():
    assert layout("deepseek-v3", ranks=8) == layout("deepseek-v3")


def test_fp8_halves():
    assert layout("llama-3.1-8b", "fp8").bytes_per_token == 65_536


def test_a_state_is_of_the_served_dtype_beside_fp8_keys():
    shape = published.shape("qwen3-next-80b-a3b")
    as_said, wide = (
        kv_cache.layout(shape, "fp8", 1, 16, dtype=dtype) for dtype in ("bfloat16", "float32")
    )
    assert as_said == layout("qwen3-next-80b-a3b", "fp8")
    assert wide.block_tokens > 1.9 * as_said.block_tokens


def test_a_state_keeps_its_dtype_beside_fp8_keys():
    assert layout("qwen3-next-80b-a3b", "fp8").block_tokens > (
        layout("qwen3-next-80b-a3b").block_tokens
    )


@pytest.mark.parametrize(
    ("tokens", "blocks"),
    # 4096 - 1 + 2048 in flight are held at most, in a block more than they fill.
    [(1, 2), (6143, 385), (100_000, 385)],
)
def test_a_window_holds_no_more_than_itself_and_what_is_in_flight(tokens, blocks):
    assert layout("mistral-7b-v0.1").blocks_per_sequence(tokens, 2048) == blocks


def test_a_chunk_holds_no_more_than_itself_and_what_is_in_flight():
    found = of(CacheLayers(CacheKind.CHUNKED, 4, 1, 8, 8, window=64))
    assert found.blocks_per_sequence(1000, 32) == 6
    assert found.blocks_per_sequence(17, 32) == 2


def test_layers_of_several_kinds_form_groups_of_one_size():
    groups = layout("gemma-3-27b").groups
    assert [(group.layers, group.count) for group in groups] == [(9, 4), (8, 2), (10, 1)]
    assert layout("gemma-3-27b").bytes_per_block == groups[-1].page_bytes


def test_groups_that_are_alike_are_counted_and_not_listed():
    found = of(
        CacheLayers(CacheKind.FULL, 1, 1, 8, 8), CacheLayers(CacheKind.SLIDING, 10**9, 1, 8, 8, 64)
    )
    assert [(group.layers, group.count) for group in found.groups] == [(1, 1), (1, 10**9)]
    assert found.blocks_per_sequence(16, 0) == 1 + 2 * 10**9


def test_nearly_equal_counts_form_two_groups_of_the_larger():
    found = of(
        CacheLayers(CacheKind.FULL, 13, 1, 8, 8), CacheLayers(CacheKind.SLIDING, 12, 1, 8, 8, 64)
    )
    assert [group.layers for group in found.groups] == [13, 12]
    assert found.bytes_per_block == 13 * 16 * 16 * 2


def test_a_smaller_page_holds_more_tokens():
    found = of(
        CacheLayers(CacheKind.FULL, 1, 1, 32, 32), CacheLayers(CacheKind.SLIDING, 1, 1, 8, 8, 64)
    )
    assert [group.block_tokens for group in found.groups] == [16, 64]


def test_a_page_that_does_not_divide_is_padded():
    found = of(
        CacheLayers(CacheKind.FULL, 1, 1, 24, 24), CacheLayers(CacheKind.SLIDING, 1, 1, 16, 16, 64)
    )
    assert [group.block_tokens for group in found.groups] == [16, 16]
    assert {group.page_bytes for group in found.groups} == {16 * 48 * 2}


def test_layers_that_all_grow_form_one_group_whatever_their_pages():
    found = of(CacheLayers(CacheKind.FULL, 2, 1, 8, 8), CacheLayers(CacheKind.FULL, 3, 2, 8, 8))
    assert len(found.groups) == 1
    assert found.bytes_per_block == (2 + 3 * 2) * 16 * 16 * 2


def test_a_state_makes_attentions_blocks_larger():
    found = layout("qwen3-next-80b-a3b", block_tokens=128)
    assert found.block_tokens == 640
    assert found.blocks_per_sequence(4096, 2048) == 3 * 2 + 7


def test_a_cache_that_does_not_grow_still_says_what_a_token_takes():
    assert layout("mistral-7b-v0.1").bytes_per_token == 131_072


def test_only_layers_that_grow_cost_a_long_sequence_more():
    found = layout("gpt-oss-20b")
    assert found.bytes_per_token == 12 * 8 * 128 * 2


def test_the_engine_keeps_one_block():
    found = layout("llama-3.1-8b")
    assert found.longest(blocks=101, in_flight_tokens=0, limit=10**6) == 1600
    assert found.longest(blocks=101, in_flight_tokens=0, limit=10**6, sequences=4) == 400
    assert found.longest(blocks=1, in_flight_tokens=0, limit=10**6) == 0


def test_a_window_that_fits_fits_any_length():
    assert layout("mistral-7b-v0.1").longest(386, 2048, limit=32_768) == 32_768


NAMES = st.sampled_from(published.NAMES)
RANKS = st.sampled_from([1, 2, 4, 8])
TOKENS = st.integers(1, 200_000)


@given(NAMES, RANKS, st.integers(0, 400 * GIB), st.integers(1, 8), st.integers(1, 16_384))
def test_what_is_said_to_fit_fits_and_one_more_does_not(name, ranks, memory, sequences, in_flight):
    found = layout(name, ranks=ranks)
    blocks = found.blocks(memory)
    assert blocks * found.bytes_per_block <= memory
    longest = found.longest(blocks, in_flight, 200_000, sequences)
    held = sequences * found.blocks_per_sequence(longest, in_flight)
    assert held < blocks or longest == 0
    if longest < 200_000:
        assert sequences * found.blocks_per_sequence(longest + 1, in_flight) >= blocks


@given(NAMES, RANKS, TOKENS, TOKENS)
def test_a_longer_sequence_never_takes_less(name, ranks, first, second):
    found = layout(name, ranks=ranks)
    shorter, longer = sorted((first, second))
    assert found.blocks_per_sequence(shorter, 2048) <= found.blocks_per_sequence(longer, 2048)


@given(NAMES, RANKS)
def test_more_ranks_never_take_more_each(name, ranks):
    one, more = layout(name, ranks=ranks), layout(name, ranks=2 * ranks)
    assert more.bytes_per_token <= one.bytes_per_token

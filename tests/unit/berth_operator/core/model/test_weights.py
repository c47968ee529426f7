from dataclasses import replace

import published
import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_operator.core.model import weights
from berth_operator.core.model.shape import Part

LLAMA = published.shape("llama-3.1-8b")


def holding(parts, **changes):
    return replace(LLAMA, parts=parts, **changes)


@pytest.mark.parametrize(
    ("name", "total"),
    [
        # The totals of the published indexes.
        ("llama-3.1-8b", 16_060_522_496),
        ("llama-3.1-70b", 141_107_412_992),
        ("qwen2.5-7b", 15_231_233_024),
        ("qwen3-32b", 65_524_246_528),
        ("mistral-7b-v0.1", 14_483_464_192),
        ("mixtral-8x7b", 93_405_585_408),
        ("phi-4", 29_319_014_400),
    ],
)
def test_one_rank_holds_what_the_files_hold(name, total):
    assert published.report(name).fileBytes == total
    assert weights.rank_bytes(published.shape(name), "bfloat16", 1) == total


@pytest.mark.parametrize(
    ("name", "total"),
    [("gpt-oss-20b", 13_761_264_768), ("gpt-oss-120b", 65_248_815_744)],
)
def test_mxfp4_experts_are_padded_beyond_their_files(name, total):
    found = weights.rank_bytes(published.shape(name), "bfloat16", 1)
    assert published.report(name).fileBytes == total
    assert total * 1.06 < found < total * 1.09


def test_tied_embeddings_count_once_however_they_are_stored():
    assert weights.rank_bytes(published.shape("falcon-7b"), "bfloat16", 1) == 13_843_441_408
    assert published.report("falcon-7b").fileBytes == 14_434_379_520


def test_draft_layers_are_not_loaded():
    shape = published.shape("deepseek-v3")
    assert sum(shape.parts[Part.UNUSED].values()) > 10 * 2**30
    assert weights.rank_bytes(shape, "bfloat16", 1) < published.report("deepseek-v3").fileBytes


def test_float32_halves_when_it_is_served_in_two_bytes():
    shape = published.shape("gemma-2-9b")
    whole = weights.rank_bytes(shape, "float32", 1)
    assert weights.rank_bytes(shape, "bfloat16", 1) * 2 == whole


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_quantised_and_kept_tensors_are_not_cast(dtype):
    shape = holding({Part.LINEAR: {"I32": 100, "kept:F32": 40}})
    assert weights.rank_bytes(shape, dtype, 1) == 140


def test_a_vocabulary_is_padded_before_it_is_split():
    shape = holding({Part.EMBEDDING: {"BF16": 100 * 8 * 2}}, vocabulary=100)
    assert weights.rank_bytes(shape, "bfloat16", 1) == 128 * 8 * 2
    assert weights.rank_bytes(shape, "bfloat16", 2) == 64 * 8 * 2


def test_keys_and_values_are_repeated_beyond_their_heads():
    shape = holding({Part.KEY_VALUE: {"BF16": 800}}, kv_heads=2)
    assert [weights.rank_bytes(shape, "bfloat16", ranks) for ranks in (1, 2, 4)] == [800, 400, 400]


def test_a_tower_whose_heads_do_not_divide_is_whole_on_each_rank():
    shape = published.shape("qwen2.5-vl-7b")
    only = replace(shape, parts={Part.VISION: shape.parts[Part.VISION]})
    whole = weights.rank_bytes(only, "bfloat16", 1)
    assert weights.rank_bytes(only, "bfloat16", 2) * 2 == whole
    assert weights.rank_bytes(only, "bfloat16", 3) == whole


def test_every_rank_has_the_rotary_tables():
    assert weights.buffers_bytes(LLAMA, "bfloat16") == 131_072 * 128 * 2
    assert weights.buffers_bytes(published.shape("gpt-oss-20b"), "bfloat16") == 131_072 * 64 * 4
    assert weights.buffers_bytes(published.shape("gpt2"), "bfloat16") == 0


RANKS = st.sampled_from([1, 2, 4, 8, 16])
NAMES = st.sampled_from(published.NAMES)


@given(NAMES, RANKS)
def test_ranks_together_hold_no_less_than_one(name, ranks):
    shape = published.shape(name)
    assert weights.rank_bytes(shape, "bfloat16", ranks) * ranks >= weights.rank_bytes(
        shape, "bfloat16", 1
    )


# Beyond as many ranks as heads, a tower is whole on each.
@given(NAMES, st.sampled_from([1, 2, 4, 8]))
def test_more_ranks_hold_less_each(name, ranks):
    shape = published.shape(name)
    assert weights.rank_bytes(shape, "bfloat16", 2 * ranks) < weights.rank_bytes(
        shape, "bfloat16", ranks
    )


@pytest.mark.parametrize("tensor_parallel", [1, 2, 8])
def test_padding_is_known_also_where_only_the_files_size_is(tensor_parallel: int) -> None:
    told = published.shape("gpt-oss-120b")
    stored = sum(count for sizes in told.parts.values() for count in sizes.values())
    untold = replace(told, parts={Part.LINEAR: {"U8": stored}})
    apart = weights.rank_bytes(untold, "bfloat16", tensor_parallel) - weights.rank_bytes(
        told, "bfloat16", tensor_parallel
    )
    assert abs(apart) < weights.rank_bytes(told, "bfloat16", tensor_parallel) / 50

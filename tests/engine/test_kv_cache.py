"""Berth's layout of the KV cache beside the engine's own functions, for published models."""

import engine_facts as asked
import published
import pytest

from berth_operator.core.model import architecture, kv_cache
from berth_operator.core.model.shape import CacheKind
from berth_server import trim

engine_facts, cpu_facts = asked.engine_facts, asked.cpu_facts
MODELS = [(name, ranks) for name in published.NAMES for ranks in asked.RANKS]

# What a block has on CPU (vllm/platforms/cpu.py, check_and_update_config): of latent attention
# without AMX fewer tokens.
BLOCK_TOKENS = 128
LATENT_BLOCK_TOKENS = 16


def layout(name, ranks, dtype):
    shape = published.shape(name)
    latent = any(layers.kind is CacheKind.LATENT for layers in shape.cache)
    block = LATENT_BLOCK_TOKENS if latent else BLOCK_TOKENS
    return kv_cache.layout(shape, dtype, ranks, block)


def told(engine_facts, name, ranks):
    facts = engine_facts.cache[name, ranks]
    if "error" in facts:
        assert "divisible" in facts["error"]  # heads that so many ranks cannot share
        assert published.shape(name).heads % ranks
        return None
    return facts


def test_the_models_are_of_every_sort_and_enough():
    kinds = {layers.kind for name in published.NAMES for layers in published.shape(name).cache}
    assert kinds == set(CacheKind)
    assert len(published.NAMES) >= 20


@pytest.mark.parametrize(("name", "ranks"), MODELS)
def test_blocks_are_the_engines(engine_facts, name, ranks):
    if (facts := told(engine_facts, name, ranks)) is None:
        return
    ours = layout(name, ranks, facts["dtype"])
    assert ours.bytes_per_block == facts["bytesPerBlock"]
    assert ours.block_tokens == facts["blockTokens"]
    assert ours.blocks(asked.AVAILABLE_BYTES) == facts["blocks"]
    layers = sorted(count for _, count in facts["groups"])
    assert sorted(g.layers for g in ours.groups for _ in range(g.count)) == layers


@pytest.mark.parametrize(("name", "ranks"), MODELS)
def test_what_a_sequence_takes_is_the_engines(engine_facts, name, ranks):
    if (facts := told(engine_facts, name, ranks)) is None:
        return
    ours = layout(name, ranks, facts["dtype"])
    limit, in_flight = asked.case(name, ranks)["maxModelLen"], facts["inFlightTokens"]
    blocks = ours.blocks_per_sequence(limit, in_flight)
    assert blocks * ours.bytes_per_block == facts["neededBytes"]
    assert facts["blocks"] / blocks == facts["concurrency"]
    assert int(facts["blocks"] / blocks * limit) == facts["capacityTokens"]
    two_thirds = facts["neededBytes"] * 2 // 3 // ours.bytes_per_block
    assert ours.longest(two_thirds + 1, in_flight, limit) == facts["longest"]


@pytest.mark.parametrize("name", published.NAMES)
def test_the_longest_context_is_the_engines(engine_facts, name):
    if (facts := told(engine_facts, name, 1)) is not None:
        assert published.shape(name).max_position == facts["longestAllowed"]


@pytest.mark.parametrize("name", asked.CONTEXTS)
def test_a_stretched_or_renamed_context_is_the_engines(engine_facts, name):
    expected = asked.CONTEXTS[name][1]
    assert engine_facts.contexts[name] == {"longestAllowed": expected}
    report = published.weighing(trim.trim(asked.context_config(name)))
    assert architecture.read(report).max_position == expected


@pytest.mark.parametrize(("name", "ranks", "dtype"), asked.FP8_CACHE)
def test_fp8_keys_and_small_blocks_are_the_engines(engine_facts, name, ranks, dtype):
    facts = engine_facts.fp8_cache[name, ranks, dtype]
    shape = published.shape(name)
    ours = kv_cache.layout(shape, "fp8", ranks, asked.SMALL_BLOCK_TOKENS, dtype=facts["dtype"])
    assert ours.bytes_per_block == facts["bytesPerBlock"]
    assert ours.block_tokens == facts["blockTokens"]
    assert ours.blocks(asked.AVAILABLE_BYTES) == facts["blocks"]


# Those whose states the two CPUs hold in different dtypes.
HELD_IN_MORE = {"falcon-h1-0.5b", "granite-4.0-h-tiny", "jamba-mini", "qwen3-next-80b-a3b"}
WITH_STATES = [(name, ranks) for name in asked.STATES for ranks in asked.RANKS]


def on_cpu(shape, facts, ranks):
    return kv_cache.layout(shape, facts["dtype"], ranks, BLOCK_TOKENS, on_cpu=True)


def agrees(ours, facts, limit):
    assert ours.bytes_per_block == facts["bytesPerBlock"]
    assert ours.block_tokens == facts["blockTokens"]
    assert ours.blocks(asked.AVAILABLE_BYTES) == facts["blocks"]
    needed = ours.blocks_per_sequence(limit, facts["inFlightTokens"]) * ours.bytes_per_block
    assert needed == facts["neededBytes"]


@pytest.mark.parametrize(("name", "ranks"), WITH_STATES)
def test_a_plan_for_a_cpu_is_the_engines_on_one_with_avx512_bf16(cpu_facts, name, ranks):
    facts = cpu_facts[(name, ranks), True]
    agrees(
        on_cpu(published.shape(name), facts, ranks), facts, asked.case(name, ranks)["maxModelLen"]
    )


@pytest.mark.parametrize(("name", "ranks"), WITH_STATES)
def test_a_plan_for_a_cpu_is_never_smaller_than_the_engines_on_one_without(cpu_facts, name, ranks):
    facts = cpu_facts[(name, ranks), False]
    shape, limit = published.shape(name), asked.case(name, ranks)["maxModelLen"]
    agrees(layout(name, ranks, facts["dtype"]), facts, limit)
    ours = on_cpu(shape, facts, ranks)
    blocks = ours.blocks_per_sequence(limit, facts["inFlightTokens"])
    assert blocks * ours.bytes_per_block >= facts["neededBytes"]
    assert (ours.bytes_per_block > facts["bytesPerBlock"]) == (name in HELD_IN_MORE)


@pytest.mark.parametrize("said", asked.STATE_DTYPES)
def test_a_delta_net_that_says_16_bits_itself_keeps_them_on_every_cpu(cpu_facts, said):
    shape = architecture.read(published.weighing(trim.trim(asked.qwen3_5(said))))
    facts = cpu_facts[(said, 1), True]
    ours = on_cpu(shape, facts, 1)
    agrees(ours, facts, asked.MAX_MODEL_LEN)
    without = cpu_facts[(said, 1), False]["bytesPerBlock"]
    assert ours.bytes_per_block == without or (said is None and ours.bytes_per_block > without)

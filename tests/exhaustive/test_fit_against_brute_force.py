"""The planner against brute force: ten thousand random decoders, every size, arithmetic of its own.

Nothing of the planner's arithmetic is called here: only its answer, and the legality rules, which
have an oracle of their own (tests/engine).
"""

import random
from math import ceil
from typing import NamedTuple

import pytest
from planning import GIB, decoder, gpu
from planning import spec as asked

from berth_operator.core.model import legality
from berth_operator.core.model.shape import ModelShape
from berth_operator.core.planner import fit

SHAPES = 10_000
LOTS = 8  # so that the cores share them
MIB = 2**20


class Found(NamedTuple):
    size: int
    sequences: int
    context: int


def shape(chance: random.Random) -> ModelShape:
    kv_heads = chance.choice([1, 2, 3, 4, 5, 8, 10, 16])
    heads = kv_heads * chance.choice([1, 2, 4, 5, 7, 8])
    head_dim = chance.choice([64, 80, 96, 128, 256])
    hidden = heads * head_dim
    return decoder(
        layers=chance.randint(8, 96),
        hidden=hidden,
        intermediate=hidden * chance.choice([2, 3, 4]),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocabulary=chance.choice([32_000, 50_257, 128_256, 151_936, 256_000]),
        max_position=chance.choice([2048, 8192, 32_768, 131_072]),
        weights={"BF16": chance.randint(1 * GIB, 400 * GIB) // 2 * 2},
    )


def context(model: ModelShape, size: int, sequences: int, memory: int, tokens: int) -> int:
    """What one sequence can have on one of `size` ranks, by formulas written out once more."""
    dim = model.cache[0].key_dim
    weights = ceil(model.parts[next(iter(model.parts))]["BF16"] / size)
    rotary = model.max_position * dim * 2
    width = 4 * model.hidden + 3 * ceil(model.intermediate / size)
    activations = max(int(9.75 * 4 * sequences * model.vocabulary), tokens * width * 2)
    graph_batch = min(2 * sequences, tokens, 512)
    sizes = 3 + len(range(8, min(graph_batch + 1, 256), 8)) + len(range(256, graph_batch + 1, 16))
    graphs = 2 * sizes * 3 * MIB + graph_batch * width * 2
    context_bytes = (136 + (420 if size > 1 else 0)) * MIB
    left = ceil(memory * 0.92) - weights - rotary - activations - graphs - context_bytes
    per_block = 16 * model.layers * max(1, model.kv_heads // size) * 2 * dim * 2
    blocks = (left - int(memory * 0.01)) // per_block - 1
    return max(0, min(model.max_position, 16 * blocks))


def best(model: ModelShape, memory: int, cards: int) -> Found | None:
    steps = [8192, 2048] if memory >= 70 * GIB else [2048]
    sized = []
    for size in range(1, cards + 1):
        if legality.illegal(model, size):
            continue
        tried = [
            Found(size, sequences, context(model, size, sequences, memory, tokens))
            for tokens in steps
            for sequences in (256, 128, 64)
        ]
        sized.append(max(tried, key=lambda one: one.context))
    usable = [one for one in sized if one.context >= min(model.max_position, 16_384)]
    if usable:
        return min(usable, key=lambda one: one.size)
    longest = max(sized, key=lambda one: (one.context, -one.size))
    return longest if longest.context >= min(model.max_position, 2048) else None


@pytest.mark.parametrize("lot", range(LOTS))
def test_the_plan_is_what_brute_force_finds(lot: int) -> None:
    chance = random.Random(lot)
    fitting = 0
    for _ in range(SHAPES // LOTS):
        model, cards = shape(chance), chance.choice([1, 2, 4, 8])
        memory = chance.randint(8, 200) * GIB
        verdict = fit.plan(model, gpu(memory, cards), asked())
        expected = best(model, memory, cards)
        if expected is None:
            assert isinstance(verdict, fit.DoesNotFit), (model, memory, cards)
            continue
        fitting += 1
        assert isinstance(verdict, fit.Fits), (model, memory, cards, verdict)
        plan = verdict.plan
        found = Found(plan.tensor_parallel_size, plan.max_num_seqs, plan.max_model_len)
        assert found == expected, (model, memory, cards)
    assert SHAPES // LOTS // 4 < fitting < SHAPES // LOTS

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning import GIB, H100_BYTES, LLAMA_8B, LLAMA_70B_FP8, QWEN3_32B, SMOLLM2, cpu, gpu
from planning import spec as asked

from berth_api.quantity import parse_bytes
from berth_api.status import Plan
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.model.shape import ModelShape
from berth_operator.core.planner import fit, share
from berth_operator.core.planner.fit import Fits
from berth_operator.core.planner.learned import Correction
from berth_operator.core.planner.reserves import Batch
from berth_operator.core.planner.wishes import USABLE_CONTEXT_TOKENS

MODELS = st.sampled_from([LLAMA_8B, QWEN3_32B, LLAMA_70B_FP8, SMOLLM2])
GPUS = st.builds(gpu, st.integers(GIB, 200 * GIB), st.sampled_from([1, 2, 4, 8]))
OFFERS = st.one_of(GPUS, st.builds(cpu, st.integers(GIB, 200 * GIB)))
CONTEXTS = st.sampled_from(["auto", 512, 2048, 8192])


def shared(model: ModelShape, offer: Offer, **wishes: object) -> Plan:
    verdict = share.plan(model, offer, asked(**wishes))
    assert isinstance(verdict, Fits)
    return verdict.plan


def whole(model: ModelShape, offer: Offer, **wishes: object) -> Plan:
    verdict = fit.plan(model, offer, asked(**wishes))
    assert isinstance(verdict, Fits)
    return verdict.plan


def context(tokens: object) -> dict[str, object]:
    return {"runtime": {"maxModelLen": tokens}}


@given(MODELS, OFFERS, CONTEXTS)
def test_a_share_is_never_larger_than_the_whole_cards_plan(
    model: ModelShape, offer: Offer, tokens: object
) -> None:
    alone = fit.plan(model, offer, asked(**context(tokens)))
    found = share.plan(model, offer, asked(**context(tokens)))
    assert isinstance(found, Fits) == isinstance(alone, Fits)
    if isinstance(found, Fits) and isinstance(alone, Fits):
        assert found.plan.usable_bytes <= alone.plan.usable_bytes
        assert found.plan.gpus_per_replica == alone.plan.gpus_per_replica
        assert found.plan.tensor_parallel_size == alone.plan.tensor_parallel_size


@given(MODELS, OFFERS, CONTEXTS)
def test_the_engines_whole_need_is_within_its_share(
    model: ModelShape, offer: Offer, tokens: object
) -> None:
    found = share.plan(model, offer, asked(**context(tokens)))
    if isinstance(found, Fits):
        plan = found.plan
        spent = plan.weights_bytes + plan.activation_bytes + plan.graph_bytes + plan.overhead_bytes
        assert spent + plan.kv_cache_bytes <= plan.usable_bytes
        assert plan.kv_cache_tokens >= plan.max_model_len
        assert plan.max_concurrency >= 1


@given(MODELS, OFFERS, CONTEXTS)
def test_a_context_that_was_asked_for_is_the_shares_and_auto_is_the_least_usable_one(
    model: ModelShape, offer: Offer, tokens: object
) -> None:
    found = share.plan(model, offer, asked(**context(tokens)))
    if not isinstance(found, Fits):
        return
    alone = whole(model, offer, **context(tokens))
    if tokens == "auto":
        usable = min(USABLE_CONTEXT_TOKENS, alone.max_model_len)
        assert usable <= found.plan.max_model_len <= alone.max_model_len
    else:
        assert found.plan.max_model_len == tokens == alone.max_model_len


@given(MODELS, OFFERS, CONTEXTS)
def test_a_plan_on_its_share_gives_the_same_context_again(
    model: ModelShape, offer: Offer, tokens: object
) -> None:
    found = share.plan(model, offer, asked(**context(tokens)))
    if not isinstance(found, Fits) or offer.on_cpu:
        return
    fraction = found.plan.gpu_memory_fraction
    set_by_hand = context(found.plan.max_model_len) | {
        "memory": {"gpuMemoryFraction": fraction},
        "parallelism": {"tensor": found.plan.tensor_parallel_size},
    }
    again = shared(model, offer, **set_by_hand)
    assert again.max_model_len == found.plan.max_model_len
    assert again.usable_bytes == found.plan.usable_bytes


def test_two_of_a_kind_fit_on_a_card_that_one_would_fill_alone() -> None:
    offer = gpu(H100_BYTES, 1)
    assert 2 * whole(LLAMA_8B, offer).usable_bytes > offer.memory_bytes
    plan = shared(LLAMA_8B, offer)
    assert 2 * plan.usable_bytes <= offer.memory_bytes * Decimal("0.92")
    assert plan.max_model_len >= USABLE_CONTEXT_TOKENS


def test_two_small_models_fit_into_the_memory_of_one_pod() -> None:
    offer = cpu(6 * GIB)
    one = shared(SMOLLM2, offer)
    assert 2 * one.usable_bytes <= offer.memory_bytes
    assert one.max_model_len == SMOLLM2.max_position


@pytest.mark.parametrize("tokens", ["auto", 8192])
@pytest.mark.parametrize("concurrency", [4, 16])
def test_whoever_wants_more_sequences_at_once_gets_a_larger_share(
    concurrency: int, tokens: object
) -> None:
    card = gpu(H100_BYTES, 1)
    wish = {"minConcurrency": concurrency, "maxModelLen": tokens}
    plan = shared(LLAMA_8B, card, runtime=wish)
    one = shared(LLAMA_8B, card, **context(tokens))
    assert plan.max_concurrency >= concurrency
    assert plan.max_model_len == one.max_model_len
    assert plan.usable_bytes > one.usable_bytes


@pytest.mark.parametrize("fraction", ["0.4", "0.9"])
def test_a_share_that_the_user_set_is_honoured(fraction: str) -> None:
    plan = shared(LLAMA_8B, gpu(H100_BYTES, 1), memory={"gpuMemoryFraction": fraction})
    assert plan.gpu_memory_fraction == fraction


def test_memory_of_a_pod_that_the_user_set_is_honoured() -> None:
    plan = shared(SMOLLM2, cpu(6 * GIB), resources={"memory": "4Gi"})
    assert plan.usable_bytes == parse_bytes("4Gi")


def test_what_was_measured_before_is_part_of_the_share() -> None:
    def learned(_: Offer, __: int, ___: Batch) -> Correction:
        return Correction(extra_bytes=GIB, source="revision abc")

    offer = gpu(H100_BYTES, 1)
    taught = share.plan(LLAMA_8B, offer, asked(), learned)
    assert isinstance(taught, Fits)
    assert taught.plan.usable_bytes >= shared(LLAMA_8B, offer).usable_bytes + GIB
    assert taught.plan.learned_from == "revision abc"

"""The fit: the smallest legal size with a usable context, and honest about what does not fit."""

from dataclasses import replace
from decimal import Decimal

import published
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from planning import GIB, H100_BYTES, LLAMA_8B, LLAMA_70B_FP8, QWEN3_32B, SMOLLM2, cpu, gpu, named
from planning import spec as asked

from berth_api.spec import Spec
from berth_api.status import Plan
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.model import kv_cache
from berth_operator.core.model.shape import ModelShape, Quantization
from berth_operator.core.planner import fit
from berth_operator.core.planner.fit import DoesNotFit, Fits, Illegal
from berth_operator.core.planner.learned import Correction
from berth_operator.core.planner.reserves import Batch
from berth_operator.core.planner.wishes import LARGE_CARD_BYTES, USABLE_CONTEXT_TOKENS


def planned(model: ModelShape, offer: Offer, spec: Spec | None = None) -> Plan:
    verdict = fit.plan(model, offer, spec or asked())
    assert isinstance(verdict, Fits), verdict
    return verdict.plan


def refused(model: ModelShape, offer: Offer, spec: Spec | None = None) -> DoesNotFit:
    verdict = fit.plan(model, offer, spec or asked())
    assert isinstance(verdict, DoesNotFit), verdict
    return verdict


# llm-d-planner's H100 rows: engine 0.11, which counts graphs outside the fraction.
@pytest.mark.parametrize(
    ("model", "tensor_parallel", "kv_gib"), [(LLAMA_8B, 1, 51.38), (QWEN3_32B, 2, 34.49)]
)
def test_kv_memory_is_within_one_percent_of_a_measured_card(
    model: ModelShape, tensor_parallel: int, kv_gib: float
) -> None:
    plan = planned(
        model,
        gpu(),
        asked(
            parallelism={"tensor": tensor_parallel},
            memory={"gpuMemoryFraction": "0.9"},
            runtime={"maxModelLen": 16000, "maxNumSeqs": 1024, "maxNumBatchedTokens": 8192},
        ),
    )
    assert abs(plan.kv_cache_bytes - kv_gib * GIB) <= H100_BYTES / 100


@pytest.mark.parametrize(
    ("model", "memory_gib", "cards", "size"),
    [
        (LLAMA_8B, 79.18, 8, 1),
        (LLAMA_8B, 22.05, 1, 1),
        (QWEN3_32B, 79.18, 8, 1),
        (QWEN3_32B, 44.4, 4, 2),
        (LLAMA_70B_FP8, 79.18, 8, 2),
        (LLAMA_70B_FP8, 44.4, 4, 2),
    ],
)
def test_the_smallest_size_with_a_usable_context_is_taken(
    model: ModelShape, memory_gib: float, cards: int, size: int
) -> None:
    plan = planned(model, gpu(int(memory_gib * GIB), cards))
    assert plan.tensor_parallel_size == plan.gpus_per_replica == size
    assert plan.max_model_len >= USABLE_CONTEXT_TOKENS


def test_where_no_size_has_a_usable_context_the_longest_is_taken() -> None:
    plan = planned(LLAMA_70B_FP8, gpu(cards=1))
    assert 2048 <= plan.max_model_len < USABLE_CONTEXT_TOKENS


def test_fewer_sequences_are_batched_where_that_makes_the_context_longer() -> None:
    assert planned(LLAMA_8B, gpu()).max_num_seqs == 256
    assert planned(LLAMA_8B, gpu(22 * GIB, 1)).max_num_seqs == 64
    kept = asked(runtime={"maxNumSeqs": 256})
    assert planned(LLAMA_8B, gpu(22 * GIB, 1), kept).max_num_seqs == 256


def test_a_state_for_each_sequence_of_the_batch_has_a_block() -> None:
    """The engine refuses graphs of state-space layers with fewer blocks than sequences."""
    hybrid, card = published.shape("nemotron-h-8b"), gpu(21 * GIB, 1)
    plan = planned(hybrid, card)
    block = kv_cache.layout(hybrid, "bfloat16", 1, 16).bytes_per_block
    assert plan.max_num_seqs <= plan.kv_cache_bytes // block < 256
    refused(hybrid, card, asked(runtime={"maxNumSeqs": 256}))


def test_a_plan_for_a_cpu_has_room_for_states_in_float32_whatever_is_served() -> None:
    """The engine does so on a CPU with AVX512-BF16, and the operator does not know which it is."""
    hybrid = published.shape("falcon-h1-0.5b")
    plan = planned(hybrid, cpu(), asked(runtime={"dtype": "bfloat16"}))
    block = kv_cache.layout(hybrid, "bfloat16", 1, 128, on_cpu=True).bytes_per_block
    assert plan.kv_cache_bytes % block == 0
    assert block > 1.5 * kv_cache.layout(hybrid, "bfloat16", 1, 128).bytes_per_block


@pytest.mark.parametrize(
    ("card", "wishes", "field"),
    [
        (gpu(), {"memory": {"gpuMemoryFraction": "1.0"}}, "spec.memory.gpuMemoryFraction"),
        (gpu(capability=(7, 5)), {"runtime": {"dtype": "bfloat16"}}, "spec.runtime.dtype"),
        (gpu(capability=(8, 0)), {"runtime": {"kvCacheDtype": "fp8"}}, "spec.runtime.kvCacheDtype"),
        (
            gpu(),
            {"runtime": {"minConcurrency": 64, "maxNumSeqs": 8}},
            "spec.runtime.minConcurrency",
        ),
        (gpu(cards=8), {"parallelism": {"pipeline": 2}}, "spec.parallelism.pipeline"),
    ],
)
def test_what_the_card_or_the_batch_cannot_do_is_refused_by_its_field(
    card: Offer, wishes: dict[str, object], field: str
) -> None:
    verdict = fit.plan(LLAMA_8B, card, asked(**wishes))
    assert isinstance(verdict, Illegal)
    assert verdict.field == field


def test_an_old_card_gets_float16() -> None:
    assert planned(LLAMA_8B, gpu(40 * GIB, capability=(7, 0))).dtype == "float16"


def test_smaller_sizes_say_why_they_lost() -> None:
    plan = planned(LLAMA_70B_FP8, gpu(44 * GIB, 4))
    assert [(one.tensor_parallel_size, "too much" in one.reason) for one in plan.alternatives] == [
        (1, True)
    ]


def test_auto_context_is_the_models_own_when_it_fits() -> None:
    assert planned(SMOLLM2, cpu()).max_model_len == 8192


def test_auto_context_leaves_the_asked_concurrency() -> None:
    batch = {"maxNumSeqs": 256}
    alone = planned(LLAMA_8B, gpu(22 * GIB, 1), asked(runtime=batch))
    four = planned(LLAMA_8B, gpu(22 * GIB, 1), asked(runtime=batch | {"minConcurrency": 4}))
    assert four.max_concurrency >= 4
    assert alone.max_model_len // 4 - 16 <= four.max_model_len <= alone.max_model_len // 4


def test_a_context_that_the_user_set_is_honoured_or_refused_never_changed() -> None:
    short = asked(runtime={"maxModelLen": 512})
    assert planned(SMOLLM2, cpu(), short).max_model_len == 512
    verdict = fit.plan(SMOLLM2, cpu(), asked(runtime={"maxModelLen": 8193}))
    assert isinstance(verdict, Illegal)
    assert verdict.field == "spec.runtime.maxModelLen"


def test_what_does_not_fit_says_how_many_tokens_would() -> None:
    card = gpu(22 * GIB, 1)
    verdict = refused(LLAMA_8B, card, asked(runtime={"maxModelLen": 131072}))
    assert verdict.needed_bytes > verdict.have_bytes
    tokens = int(verdict.fixes[0].rsplit(" ", 1)[1])
    planned(LLAMA_8B, card, asked(runtime={"maxModelLen": tokens}))
    refused(LLAMA_8B, card, asked(runtime={"maxModelLen": tokens + 16}))


def test_weights_alone_can_be_too_much() -> None:
    verdict = refused(QWEN3_32B, gpu(40 * GIB, 1))
    assert "61.02 GiB of weights" in verdict.message
    assert "use nodes with 2 of these cards" in verdict.fixes
    assert verdict.reason == "DoesNotFit"
    assert not verdict.plan.fits


@pytest.mark.parametrize(
    ("wishes", "fix"),
    [
        (
            {"parallelism": {"tensor": 1}, "runtime": {"maxModelLen": 32768}},
            "set spec.parallelism.tensor to 2, or to auto",
        ),
        ({"memory": {"gpuMemoryFraction": "0.4"}}, "set spec.memory.gpuMemoryFraction to auto"),
        (
            {"runtime": {"maxNumSeqs": 10_000, "maxNumBatchedTokens": 10_000}},
            "set spec.runtime.maxNumSeqs to 256, or to auto",
        ),
        (
            {"runtime": {"minConcurrency": 400, "maxModelLen": 4096}},
            "set spec.runtime.minConcurrency to 1",
        ),
    ],
)
def test_each_fix_was_calculated_through(wishes: dict[str, object], fix: str) -> None:
    assert fix in refused(LLAMA_70B_FP8, gpu(), asked(**wishes)).fixes


@given(
    model=st.sampled_from([LLAMA_8B, QWEN3_32B]),
    memory_gib=st.integers(1, 60),
    known=st.booleans(),
)
def test_the_memory_that_is_named_is_enough(
    model: ModelShape, memory_gib: int, *, known: bool
) -> None:
    shape = replace(model, known=known)
    for offer, words in ((gpu(memory_gib * GIB, 1), "sees at least "), (cpu(GIB), "at least ")):
        verdict = fit.plan(shape, offer, asked())
        if not isinstance(verdict, DoesNotFit):
            continue
        (named,) = (fix.split(words)[1] for fix in verdict.fixes if words in fix)
        if offer.on_cpu:
            planned(shape, offer, asked(resources={"memory": named}))
        else:
            number, unit = named.split(" ")
            size = int(Decimal(number) * {"GiB": GIB, "TiB": 1024 * GIB}[unit])
            planned(shape, replace(offer, memory_bytes=size))


def test_what_needs_several_nodes_is_planned_and_refused() -> None:
    huge = replace(LLAMA_70B_FP8, parts={next(iter(LLAMA_70B_FP8.parts)): {"BF16": 10**12}})
    verdict = refused(huge, gpu(cards=8))
    assert verdict.reason == "MultiNodeUnsupported"
    assert verdict.plan.tensor_parallel_size == 8
    assert verdict.plan.pipeline_parallel_size == 2
    assert "2 nodes would hold it" in verdict.message


@pytest.mark.parametrize("size", [3, 5, 6])
def test_an_illegal_size_names_the_legal_ones(size: int) -> None:
    verdict = fit.plan(LLAMA_8B, gpu(cards=8), asked(parallelism={"tensor": size}))
    assert isinstance(verdict, Illegal)
    assert verdict.reason == "TensorParallelInvalid"
    assert verdict.fix == "use one of 1, 2, 4, 8, or auto"


@pytest.mark.parametrize(("offer", "size"), [(gpu(cards=2), 4), (gpu(sliced=True), 2)])
def test_more_cards_than_can_be_joined_are_refused(offer: Offer, size: int) -> None:
    verdict = fit.plan(LLAMA_8B, offer, asked(parallelism={"tensor": size}))
    assert isinstance(verdict, Illegal)
    assert verdict.field == "spec.parallelism.tensor"


def test_an_entrys_gpus_are_its_size_and_must_not_contradict() -> None:
    entry = gpu(cards=8, entry=1, gpus=4)
    assert planned(LLAMA_8B, entry).tensor_parallel_size == 4
    verdict = fit.plan(LLAMA_8B, entry, asked(parallelism={"tensor": 2}))
    assert isinstance(verdict, Illegal)
    assert verdict.field == "spec.accelerators[1].gpusPerReplica"


@pytest.mark.parametrize(
    ("capability", "sizes"), [((8, 0), {1, 2}), ((9, 0), {1, 2, 4, 8}), (None, {1, 2, 4, 8})]
)
def test_what_is_legal_depends_on_what_the_card_computes(
    capability: tuple[int, int] | None, sizes: set[int]
) -> None:
    """Blocks of experts in FP8 are refined only on cards with FP8 units."""
    blocks = Quantization("fp8", 8, block=(128, 128))
    mixture = replace(published.shape("qwen3-30b-a3b"), quantization=blocks)
    card = gpu(cards=8, capability=capability)
    verdicts = {
        size: fit.plan(mixture, card, asked(parallelism={"tensor": size})) for size in (1, 2, 4, 8)
    }
    assert {size for size, found in verdicts.items() if isinstance(found, Fits)} == sizes


def test_a_slice_is_one_card() -> None:
    assert planned(LLAMA_8B, gpu(39 * GIB, cards=4, sliced=True)).tensor_parallel_size == 1


def test_tenants_of_one_card_share_its_memory() -> None:
    half = planned(LLAMA_8B, gpu(cards=1, sliced=True, tenants=2))
    assert half.gpu_memory_fraction == "0.460"
    assert half.usable_bytes <= H100_BYTES // 2


def test_a_batch_smaller_than_its_sequences_is_refused() -> None:
    wishes = asked(runtime={"maxNumSeqs": 100, "maxNumBatchedTokens": 50})
    assert isinstance(fit.plan(LLAMA_8B, gpu(), wishes), Illegal)
    few = planned(LLAMA_8B, gpu(), asked(runtime={"maxNumBatchedTokens": 50}))
    assert few.max_num_seqs == 50


def test_ranks_on_cpu_share_the_pods_memory() -> None:
    two = planned(LLAMA_8B, cpu(48 * GIB), asked(parallelism={"tensor": 2}))
    one = planned(LLAMA_8B, cpu(48 * GIB))
    assert (two.tensor_parallel_size, two.gpus_per_replica) == (2, 0)
    assert two.usable_bytes == one.usable_bytes // 2


def test_the_first_accelerator_that_fits_wins_and_the_others_say_why() -> None:
    small, large = named(gpu(22 * GIB, 1), "small"), named(gpu(cards=8), "large")
    verdict = fit.choose(QWEN3_32B, (small, large), asked())
    assert isinstance(verdict, Fits)
    assert verdict.plan.accelerator == "large"
    assert [one.accelerator for one in verdict.plan.alternatives] == ["small"]
    assert "too much" in verdict.plan.alternatives[0].reason


def test_an_unknown_architecture_is_planned_with_a_margin_and_says_so() -> None:
    known, unknown = (
        planned(replace(LLAMA_8B, known=known), gpu(22 * GIB, 1)) for known in (True, False)
    )
    assert unknown.kv_cache_bytes < known.kv_cache_bytes
    assert any("not known" in line for line in unknown.explain)


def test_what_was_measured_before_is_counted_and_named() -> None:
    def learned(_: Offer, __: int, ___: Batch) -> Correction:
        return Correction(extra_bytes=GIB, source="revision abc")

    verdict = fit.plan(LLAMA_8B, gpu(22 * GIB, 1), asked(), learned)
    assert isinstance(verdict, Fits)
    before = planned(LLAMA_8B, gpu(22 * GIB, 1))
    assert verdict.plan.activation_bytes == before.activation_bytes + GIB
    assert verdict.plan.learned_from == "revision abc"


MODELS = st.sampled_from([LLAMA_8B, QWEN3_32B, LLAMA_70B_FP8, SMOLLM2])
MEMORY = st.integers(1 * GIB, 200 * GIB)
CARDS = st.sampled_from([1, 2, 4, 8])


@given(MODELS, MEMORY, CARDS)
def test_a_plan_never_spends_more_than_a_card_has(
    model: ModelShape, memory: int, cards: int
) -> None:
    verdict = fit.plan(model, gpu(memory, cards), asked())
    if isinstance(verdict, Fits):
        plan = verdict.plan
        spent = (
            plan.weights_bytes
            + plan.activation_bytes
            + plan.graph_bytes
            + plan.overhead_bytes
            + plan.kv_cache_bytes
        )
        assert spent <= plan.usable_bytes <= memory
        assert 1 <= plan.max_model_len <= min(plan.kv_cache_tokens, model.max_position)
        assert plan.max_concurrency >= 1


@given(MODELS, MEMORY, st.integers(0, 64 * GIB), st.sampled_from([1, 2, 4, 8]))
@example(QWEN3_32B, LARGE_CARD_BYTES - 2**20, 2**20, 1)
def test_more_memory_never_gives_less_context(
    model: ModelShape, memory: int, more: int, size: int
) -> None:
    """At one size: with more memory, auto may do with fewer cards."""
    sized = asked(parallelism={"tensor": size})
    before, after = (fit.plan(model, gpu(m, 8), sized) for m in (memory, memory + more))
    if isinstance(before, Fits):
        assert isinstance(after, Fits)
        assert after.plan.max_model_len >= before.plan.max_model_len


@given(MODELS, MEMORY, st.integers(0, 64 * GIB))
def test_more_memory_never_takes_more_cards_nor_loses_a_usable_context(
    model: ModelShape, memory: int, more: int
) -> None:
    before, after = (fit.plan(model, gpu(m, 8), asked()) for m in (memory, memory + more))
    if isinstance(before, Fits):
        assert isinstance(after, Fits)
        usable = min(USABLE_CONTEXT_TOKENS, model.max_position)
        if before.plan.max_model_len >= usable:
            assert after.plan.tensor_parallel_size <= before.plan.tensor_parallel_size
            assert after.plan.max_model_len >= usable

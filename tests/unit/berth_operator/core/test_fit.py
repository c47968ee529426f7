"""The arithmetic: exact where it can be, legal always, and honest about what does not fit."""

from dataclasses import replace

import builders
import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_api.shape import ShapeReport
from berth_api.types import Spec
from berth_operator.core import fit, shape
from berth_operator.core.fit import DoesNotFit, Fits, Illegal, Offer
from berth_operator.core.shape import ModelShape

GIB = 2**30

LLAMA_8B = ModelShape(
    architecture="LlamaForCausalLM",
    layers=32,
    hidden=4096,
    intermediate=14336,
    heads=32,
    kv_heads=8,
    head_dim=128,
    vocabulary=128256,
    max_position=131072,
    dtype="bfloat16",
    tensor_bytes={"BF16": 16_060_522_496},
)
QWEN_32B = replace(
    LLAMA_8B,
    layers=64,
    hidden=5120,
    intermediate=25600,
    heads=64,
    kv_heads=8,
    vocabulary=151936,
    max_position=40960,
    tensor_bytes={"BF16": 65_524_246_528},
)


def smollm2() -> ModelShape:
    found = shape.read(ShapeReport.model_validate(builders.SMOLLM2_REPORT))
    assert isinstance(found, ModelShape)
    return found


def spec(**fields: object) -> Spec:
    return Spec.model_validate({"model": {"source": "hf://a/b"}} | fields)


def gpu(memory_bytes: int = 80 * GIB, cards: int = 2) -> Offer:
    settings = builders.configured()
    return Offer(settings.accelerator_profiles[1], settings.engine_profiles[1], memory_bytes, cards)


def cpu(memory_bytes: int = 6 * GIB) -> Offer:
    settings = builders.configured()
    return Offer(settings.accelerator_profiles[0], settings.engine_profiles[0], memory_bytes, 0)


def fits(model: ModelShape, offer: Offer, wishes: Spec) -> Fits:
    verdict = fit.plan(model, offer, wishes)
    assert isinstance(verdict, Fits), verdict
    return verdict


def test_weights_are_those_of_the_headers_cast_to_the_dtype_that_is_served() -> None:
    assert fits(smollm2(), cpu(), spec()).plan.weights_bytes == 2 * builders.SMOLLM2_BYTES
    assert fits(LLAMA_8B, gpu(), spec()).plan.weights_bytes == 16_060_522_496


@pytest.mark.parametrize(
    ("model", "dtype", "tensor_parallel", "expected"),
    [
        # vLLM 0.32's own "CPU KV cache size" lines, exactly.
        (smollm2(), "bfloat16", 1, 23_040),
        (smollm2(), "float32", 1, 46_080),
        # vllm/v1/kv_cache_interface.py: 2 * layers * local KV heads * head size * bytes.
        (LLAMA_8B, "bfloat16", 1, 131_072),
        (LLAMA_8B, "bfloat16", 2, 65_536),
        (LLAMA_8B, "fp8", 1, 65_536),
        # More ranks than KV heads: heads are copied, not shrunk.
        (LLAMA_8B, "bfloat16", 16, 16_384),
        (QWEN_32B, "bfloat16", 1, 262_144),
    ],
)
def test_kv_bytes_of_a_token_are_the_engines(
    model: ModelShape, dtype: str, tensor_parallel: int, expected: int
) -> None:
    assert model.kv_bytes_per_token(dtype, tensor_parallel) == expected


@pytest.mark.parametrize(
    ("model", "tensor_parallel", "measured_gib"), [(LLAMA_8B, 1, 4.76), (QWEN_32B, 2, 5.64)]
)
def test_activations_agree_with_what_an_h100_measured(
    model: ModelShape, tensor_parallel: int, measured_gib: float
) -> None:
    planned = fit.activation_bytes(model, "bfloat16", 1024, 8192, tensor_parallel) / GIB
    assert measured_gib <= planned <= measured_gib * 1.03


def test_auto_context_is_the_models_own_when_it_fits() -> None:
    assert fits(smollm2(), cpu(), spec()).plan.max_model_len == 8192


def test_auto_context_is_the_longest_that_one_sequence_can_have() -> None:
    plan = fits(LLAMA_8B, gpu(24 * GIB, 1), spec()).plan
    assert plan.max_model_len == plan.kv_cache_tokens < LLAMA_8B.max_position


def test_a_context_that_the_user_set_is_honoured_or_refused_never_changed() -> None:
    assert fits(smollm2(), cpu(), spec(runtime={"maxModelLen": 512})).plan.max_model_len == 512
    verdict = fit.plan(smollm2(), cpu(), spec(runtime={"maxModelLen": 8193}))
    assert isinstance(verdict, Illegal)
    assert verdict.field == "spec.runtime.maxModelLen"


def test_what_does_not_fit_says_how_many_tokens_would() -> None:
    verdict = fit.plan(LLAMA_8B, gpu(24 * GIB, 1), spec(runtime={"maxModelLen": 131072}))
    assert isinstance(verdict, DoesNotFit)
    assert verdict.needed_bytes > verdict.have_bytes
    tokens = int(verdict.fixes[0].rsplit(" ", 1)[1])
    fits(LLAMA_8B, gpu(24 * GIB, 1), spec(runtime={"maxModelLen": tokens}))
    assert isinstance(
        fit.plan(LLAMA_8B, gpu(24 * GIB, 1), spec(runtime={"maxModelLen": tokens + 1})), DoesNotFit
    )


def test_weights_alone_can_be_too_much() -> None:
    verdict = fit.plan(QWEN_32B, gpu(40 * GIB, 1), spec())
    assert isinstance(verdict, DoesNotFit)
    assert "61.02 GiB of weights" in verdict.message


@pytest.mark.parametrize("size", [3, 5, 6])
def test_an_illegal_tensor_parallel_size_names_the_legal_ones(size: int) -> None:
    verdict = fit.plan(LLAMA_8B, gpu(cards=8), spec(parallelism={"tensor": size}))
    assert isinstance(verdict, Illegal)
    assert verdict.fix == "use one of 1, 2, 4, 8"


def test_more_gpus_than_a_node_has_are_refused() -> None:
    verdict = fit.plan(LLAMA_8B, gpu(cards=2), spec(parallelism={"tensor": 4}))
    assert isinstance(verdict, Illegal)
    assert "h100 has 2" in verdict.message


def test_a_batch_smaller_than_its_sequences_is_refused() -> None:
    wishes = spec(runtime={"maxNumSeqs": 100, "maxNumBatchedTokens": 50})
    assert isinstance(fit.plan(LLAMA_8B, gpu(), wishes), Illegal)
    assert fits(LLAMA_8B, gpu(), spec(runtime={"maxNumBatchedTokens": 50})).plan.max_num_seqs == 50


def test_the_first_accelerator_that_fits_wins() -> None:
    verdict = fit.choose(LLAMA_8B, (cpu(), gpu()), spec())
    assert isinstance(verdict, Fits)
    assert verdict.plan.accelerator == "h100"


MODELS = st.sampled_from([LLAMA_8B, QWEN_32B, smollm2()])
MEMORY = st.integers(1 * GIB, 200 * GIB)


@given(MODELS, MEMORY)
def test_a_plan_never_spends_more_than_there_is(model: ModelShape, memory: int) -> None:
    verdict = fit.plan(model, gpu(memory), spec())
    if isinstance(verdict, Fits):
        plan = verdict.plan
        spent = plan.weights_bytes + plan.activation_bytes + plan.kv_cache_bytes
        assert spent + fit.NON_TORCH_BYTES + fit.GRAPH_BYTES <= memory * float(
            fit.DEFAULT_GPU_FRACTION
        )
        assert 1 <= plan.max_model_len <= min(plan.kv_cache_tokens, model.max_position)


@given(MODELS, MEMORY, st.integers(0, 64 * GIB))
def test_more_memory_never_gives_less(model: ModelShape, memory: int, more: int) -> None:
    before, after = (fit.plan(model, gpu(m), spec()) for m in (memory, memory + more))
    if isinstance(before, Fits):
        assert isinstance(after, Fits)
        assert after.plan.kv_cache_tokens >= before.plan.kv_cache_tokens
        assert after.plan.max_model_len >= before.plan.max_model_len

"""How many sequences a finished plan holds agrees with the attempt that led to it."""

import builders
import published
import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_api.shape import ShapeReport
from berth_api.spec import Spec
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.model import architecture
from berth_operator.core.planner import fit
from berth_operator.core.planner.concurrency import concurrency

GIB = 2**30
SHAPE = architecture.read(ShapeReport.model_validate(builders.SMOLLM2_REPORT))
SETTINGS = builders.configured()
CPU, H100 = SETTINGS.accelerator_profiles


HYBRID = published.shape("falcon-h1-0.5b")


def planned(memory, *, on_cpu=False, shape=SHAPE, **runtime):
    profile = CPU if on_cpu else H100
    engine = SETTINGS.engine_profile(profile.engine_profile)
    offer = Offer(profile, engine, memory, 0 if on_cpu else 1)
    spec = Spec.model_validate({"model": {"source": "hf://a/b"}, "runtime": runtime})
    verdict = fit.plan(shape, offer, spec)
    assert isinstance(verdict, fit.Fits)
    return verdict.plan


@pytest.mark.parametrize("on_cpu", [True, False])
@pytest.mark.parametrize("tokens", [512, 1000, 8192])
def test_at_the_plans_context_it_is_what_the_plan_says(on_cpu, tokens):
    plan = planned(16 * GIB, on_cpu=on_cpu, maxModelLen=tokens)
    assert concurrency(SHAPE, plan, plan.max_model_len) == plan.max_concurrency > 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_of_a_model_with_states_it_is_what_the_plan_for_a_cpu_says(dtype):
    plan = planned(16 * GIB, on_cpu=True, shape=HYBRID, dtype=dtype, maxModelLen=2048)
    assert concurrency(HYBRID, plan, plan.max_model_len) == plan.max_concurrency > 1


def test_a_cache_of_half_the_bytes_holds_twice_as_many():
    full = concurrency(SHAPE, planned(16 * GIB), 1024)
    halved = concurrency(SHAPE, planned(16 * GIB, kvCacheDtype="fp8"), 1024)
    assert halved == pytest.approx(2 * full, rel=0.01)


@given(st.integers(1, 8192), st.integers(1, 8192))
def test_longer_sequences_are_never_more(one, other):
    plan = planned(16 * GIB)
    short, long = sorted((one, other))
    assert concurrency(SHAPE, plan, short) >= concurrency(SHAPE, plan, long)


def test_nothing_fits_without_a_cache():
    plan = planned(16 * GIB).model_copy(update={"kv_cache_bytes": 0})
    assert concurrency(SHAPE, plan, 1) == 0

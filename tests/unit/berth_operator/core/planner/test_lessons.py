"""What a failure for memory, or a measurement, changes in the next plan."""

from typing import Any

import builders
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import GIB, cpu_plan, gpu_plan

from berth_api import names
from berth_api.shape import Failure, ShapeReport, Short, Shortage
from berth_api.spec import Spec
from berth_api.status import Memories, Plan
from berth_operator.core.observed import Observed, Pod
from berth_operator.core.planner import learned, lessons
from berth_operator.core.planner.learned import Correction
from berth_operator.core.planner.lessons import Lesson
from berth_operator.core.revision import Revision

# Two numbers with two digits of GiB are off by so much together.
ROUNDING = 2**30 // 100
NAME = "0123456789"


def revision(plan: Plan, name: str = NAME, number: int = 1) -> Revision:
    report = ShapeReport.model_validate(builders.SMOLLM2_REPORT)
    return Revision(
        name=name,
        number=number,
        spec_hash="s",
        source="hf://a/b",
        shape=report,
        plan=plan,
        template={},
    )


def spec(**given: Any) -> Spec:
    return Spec.model_validate({"model": {"source": "hf://a/b"}} | given)


def failure(shortage: Shortage | None, reason: str = "OutOfMemory") -> Failure:
    return Failure(reason=reason, message="words", fix="fix", shortage=shortage)


def failed_pod(told: Failure, container: str = "engine", restarts: int = 0, **pod: Any) -> Pod:
    ended = builders.ended(container, 1, told.model_dump_json(), restarts=restarts)
    return Pod(builders.engine_pod(NAME, containers=[ended], **pod))


def observed(*pods: Pod, **known: Any) -> Observed:
    return builders.observed(pods=pods, **known)


def kv(**numbers: Any) -> Failure:
    return failure(Shortage(step=Short.KV_CACHE, **numbers), "KVCacheTooSmall")


def lesson_of(told: Failure, plan: Plan, **given: Any) -> Lesson | None:
    return lessons.replan(observed(failed_pod(told)), [revision(plan)], spec(**given))


def corrected(told: Failure, plan: Plan, **given: Any) -> Correction:
    found = lesson_of(told, plan, **given)
    assert found is not None
    return found.correction


def test_what_was_promised_to_the_kv_cache_and_not_there_is_reserved() -> None:
    found = corrected(kv(needed_bytes=50 * GIB, available_bytes=46 * GIB), gpu_plan())
    assert found.extra_bytes == (51 - 46) * GIB + ROUNDING
    assert found.outside_bytes == 0


def test_weights_that_took_more_than_all_are_counted_below_zero() -> None:
    found = corrected(kv(available_bytes=-2 * GIB), gpu_plan())
    assert found.extra_bytes == (51 + 2) * GIB + ROUNDING


def test_without_a_number_a_twentieth_is_reserved_beyond_the_whole_kv_cache() -> None:
    plan = gpu_plan()
    found = corrected(kv(), plan)
    assert found.extra_bytes == plan.kv_cache_bytes + plan.usable_bytes * 5 // 100 + ROUNDING


def test_the_bytes_of_an_earlier_correction_stay_reserved() -> None:
    found = corrected(kv(available_bytes=46 * GIB), gpu_plan(learned_bytes=3 * GIB))
    assert found.extra_bytes == (3 + 5) * GIB + ROUNDING


def test_a_card_that_was_full_before_the_kv_cache_was_sized_lacks_all_of_it() -> None:
    numbers = {"needed_bytes": 3 * GIB, "available_bytes": GIB, "total_bytes": 80 * GIB}
    plan = gpu_plan()
    found = corrected(failure(Shortage(step=Short.LOADING, **numbers)), plan)
    beyond = 80 * GIB - plan.usable_bytes
    assert found.extra_bytes == plan.kv_cache_bytes + beyond + 2 * GIB + ROUNDING
    assert found.outside_bytes == 0


def test_what_ran_out_beside_the_kv_cache_is_taken_from_the_share_of_the_card() -> None:
    numbers = {"needed_bytes": 9 * GIB, "available_bytes": GIB}
    found = corrected(failure(Shortage(step=Short.RUNNING, **numbers)), gpu_plan())
    assert (found.extra_bytes, found.outside_bytes) == (0, 8 * GIB + ROUNDING)


INSIDE, OUTSIDE = -2 * GIB, 3 * GIB


def test_each_failure_adds_to_its_own_side_and_keeps_the_other() -> None:
    plan = gpu_plan(learned_bytes=INSIDE, learned_outside_bytes=OUTSIDE)
    ran_out = Shortage(step=Short.RUNNING, needed_bytes=9 * GIB, available_bytes=GIB)
    found = corrected(failure(ran_out), plan)
    assert found.extra_bytes == INSIDE
    assert found.outside_bytes == OUTSIDE + 8 * GIB + ROUNDING
    found = corrected(kv(available_bytes=46 * GIB), plan)
    assert found.extra_bytes == INSIDE + 5 * GIB + ROUNDING
    assert found.outside_bytes == OUTSIDE
    too_long = kv(needed_bytes=60 * GIB, available_bytes=52 * GIB, longest_tokens=75_776)
    found = corrected(too_long, plan)
    assert (found.extra_bytes, found.outside_bytes) == (INSIDE, OUTSIDE)


def test_a_share_that_the_user_set_is_not_made_smaller() -> None:
    told = failure(Shortage(step=Short.RUNNING))
    assert lesson_of(told, gpu_plan(), memory={"gpuMemoryFraction": "0.92"}) is None


def test_a_neighbour_on_the_card_is_given_one_more_start_to_leave() -> None:
    numbers = {"needed_bytes": 73 * GIB, "available_bytes": 40 * GIB}
    told = failure(Shortage(step=Short.STARTING, **numbers))
    stored = [revision(gpu_plan())]
    assert lessons.replan(observed(failed_pod(told)), stored, spec()) is None
    found = lessons.replan(observed(failed_pod(told, restarts=2)), stored, spec())
    assert found is not None
    assert found.correction.extra_bytes == 0
    assert found.correction.outside_bytes == 33 * GIB + ROUNDING
    assert lessons.of_failure(found, spec(), builders.NOW) == ()


@pytest.mark.parametrize(
    "told",
    [failure(None), failure(Shortage(step=Short.HOST))],
    ids=["the kernel's kill", "the allocator's error"],
)
def test_host_memory_is_the_engines_on_cpu_and_another_budget_on_a_gpu(told: Failure) -> None:
    plan = cpu_plan()
    assert corrected(told, plan).extra_bytes == plan.usable_bytes * 5 // 100 + ROUNDING
    assert lesson_of(told, gpu_plan()) is None


def test_a_kv_cache_that_does_not_fit_a_pod_is_made_smaller_by_what_lacks() -> None:
    found = corrected(kv(needed_bytes=GIB, available_bytes=GIB // 4), cpu_plan())
    assert found.extra_bytes == GIB - GIB // 4 + ROUNDING


def test_where_the_memory_was_there_and_the_context_too_long_the_engines_word_is_taken() -> None:
    told = kv(needed_bytes=60 * GIB, available_bytes=52 * GIB, longest_tokens=75_776)
    found = corrected(told, gpu_plan())
    assert (found.extra_bytes, found.longest_tokens) == (0, 75_776)
    assert lesson_of(told, gpu_plan(), runtime={"maxModelLen": 131_072}) is None


@pytest.mark.parametrize("reason", ["CrashLoop", "NoSpace", "TensorParallelInvalid"])
def test_other_failures_are_not_for_want_of_memory(reason: str) -> None:
    assert lesson_of(failure(None, reason), cpu_plan()) is None


def test_the_memory_of_other_containers_says_nothing_of_the_engine() -> None:
    pod = failed_pod(failure(None), container="fetch")
    assert lessons.replan(observed(pod), [revision(cpu_plan())], spec()) is None


def test_there_is_no_third_attempt() -> None:
    first = corrected(kv(available_bytes=46 * GIB), gpu_plan())
    second = revision(gpu_plan(learned_from=first.source), number=2)
    stored = [revision(gpu_plan(), name="other"), second]
    pods = observed(failed_pod(kv(available_bytes=40 * GIB)))
    assert lessons.is_second(second.plan)
    assert lessons.replan(pods, stored, spec()) is None


def test_a_second_attempt_elsewhere_does_not_forbid_one_here() -> None:
    elsewhere = gpu_plan(accelerator="l40s", learned_from=f"{lessons._AFTER}x")
    stored = [revision(elsewhere, name="other"), revision(gpu_plan(), number=2)]
    found = lessons.replan(observed(failed_pod(kv(available_bytes=GIB))), stored, spec())
    assert found is not None


def test_what_another_deployment_taught_is_no_second_attempt() -> None:
    plan = gpu_plan(learned_from="Measured on 2026-01-02", learned_bytes=GIB)
    assert lesson_of(kv(available_bytes=46 * GIB), plan) is not None


def test_memory_that_ran_out_after_its_measures_were_told_is_another_matter() -> None:
    told = {"updateRevision": NAME, "plan": {"measured": {"kvCacheBytes": 1}}}
    cr = builders.model_deployment() | {"status": told}
    pods = observed(failed_pod(kv(available_bytes=GIB)), cr=cr)
    assert lessons.replan(pods, [revision(gpu_plan())], spec()) is None


@pytest.mark.parametrize(
    ("unready_since", "again"), [("2026-01-02T03:04:00Z", True), ("2026-01-02T03:04:05Z", False)]
)
def test_a_pod_that_lost_its_readiness_after_the_start_has_served(
    unready_since: str, again: bool
) -> None:
    told = kv(available_bytes=GIB).model_dump_json()
    ended = builders.ended("engine", 1, told, startedAt="2026-01-02T03:04:01Z")
    pod = builders.engine_pod(NAME, containers=[ended])
    pod["status"]["conditions"][0]["lastTransitionTime"] = unready_since
    found = lessons.replan(observed(Pod(pod)), [revision(gpu_plan())], spec())
    assert (found is not None) is again


def test_another_replica_that_serves_proves_the_plan() -> None:
    ready = Pod(builders.engine_pod(NAME, ready=True, name="ready"))
    pods = observed(failed_pod(kv(available_bytes=GIB)), ready)
    assert lessons.replan(pods, [revision(gpu_plan())], spec()) is None


def test_a_pod_on_its_way_out_is_not_asked() -> None:
    pod = failed_pod(kv(available_bytes=GIB))
    gone = {**pod.object["metadata"], "deletionTimestamp": "now"}
    pods = observed(Pod({**pod.object, "metadata": gone}))
    assert lessons.replan(pods, [revision(gpu_plan())], spec()) is None


def test_a_pod_of_another_revision_is_not_asked() -> None:
    pod = Pod(builders.engine_pod("another"))
    assert lessons.replan(observed(pod), [revision(gpu_plan())], spec()) is None
    assert pod.object["metadata"]["labels"][names.LABEL_REVISION] == "another"


def test_words_and_promises_do_not_start_an_engine_otherwise() -> None:
    plan = gpu_plan()
    assert lessons.same_start(plan, gpu_plan(kv_cache_bytes=GIB, explain=["other words"]))
    assert not lessons.same_start(plan, gpu_plan(max_model_len=4096))
    assert not lessons.same_start(plan, gpu_plan(gpu_memory_fraction="0.8"))
    assert not lessons.same_start(cpu_plan(), cpu_plan(kv_cache_bytes=GIB // 2))


@given(
    step=st.sampled_from(Short),
    needed=st.none() | st.integers(0, 200 * GIB),
    available=st.none() | st.integers(-200 * GIB, 200 * GIB),
    total=st.none() | st.integers(0, 200 * GIB),
    on_cpu=st.booleans(),
)
def test_a_failure_never_makes_room(
    step: Short, needed: int | None, available: int | None, total: int | None, on_cpu: bool
) -> None:
    numbers = {"needed_bytes": needed, "available_bytes": available, "total_bytes": total}
    told = failure(Shortage(step=step, **numbers))
    found = lesson_of(told, cpu_plan() if on_cpu else gpu_plan())
    if found is not None:
        assert found.correction.extra_bytes + found.correction.outside_bytes > 0
        assert min(found.correction.extra_bytes, found.correction.outside_bytes) >= 0


def test_a_failure_is_kept_for_the_next_deployment_under_its_reason() -> None:
    found = lesson_of(kv(available_bytes=46 * GIB), gpu_plan())
    assert found is not None
    (record,) = lessons.of_failure(found, spec(), builders.NOW)
    assert (record.reason, record.at) == ("KVCacheTooSmall", "2026-01-02T03:04:05Z")
    assert record.extra_bytes == found.correction.extra_bytes
    assert (record.accelerator, record.tensor_parallel) == ("h100", 1)


def test_a_lack_of_more_than_the_card_is_kept_as_one_that_can_be_read_again() -> None:
    found = lesson_of(kv(available_bytes=-70 * GIB), gpu_plan())
    assert found is not None
    records = lessons.of_failure(found, spec(), builders.NOW)
    data = {one.key: learned.encoded(one) for one in records}
    assert learned.parse(data) == ({one.key: one for one in records}, {})


def test_a_gpu_tells_by_its_kv_memory_what_all_else_took() -> None:
    def extra(kv_gib: float, **plan: Any) -> int:
        found = lessons.of_measurement(gpu_plan(**plan), Memories(kv_cache_bytes=int(kv_gib * GIB)))
        assert found is not None
        return found.extra_bytes

    assert extra(51) == 0
    assert extra(49) == 2 * GIB
    assert extra(53) == -2 * GIB
    assert extra(51, learned_bytes=3 * GIB) == 3 * GIB
    assert extra(70) == -7 * GIB  # no more than was reserved
    assert extra(51, learned_bytes=-4 * GIB, activation_bytes=GIB) == -4 * GIB
    assert extra(49, learned_outside_bytes=3 * GIB) == 2 * GIB


def test_a_pod_on_cpu_tells_only_that_it_holds_too_much() -> None:
    plan = cpu_plan()
    assert lessons.of_measurement(plan, Memories(resident_bytes=3 * GIB)) is None
    found = lessons.of_measurement(plan, Memories(resident_bytes=4 * GIB))
    assert found is not None
    assert found.extra_bytes == GIB // 4


def test_without_a_measure_there_is_no_lesson() -> None:
    assert lessons.of_measurement(gpu_plan(), Memories(weights_bytes=1)) is None
    assert lessons.of_measurement(cpu_plan(), Memories(kv_cache_bytes=1)) is None


TOLD = {"updateRevision": NAME, "plan": {"measured": {"kvCacheBytes": 49 * GIB}}}


def test_a_measurement_is_kept_when_it_is_told_and_not_again() -> None:
    known = revision(gpu_plan())
    (record,) = lessons.of_status(observed(), known, TOLD, spec())
    assert (record.extra_bytes, record.reason) == (2 * GIB, "Measured")
    at_rest = observed(cr=builders.model_deployment() | {"status": TOLD})
    assert lessons.of_status(at_rest, known, TOLD, spec()) == ()
    moved = {**TOLD, "updateRevision": "another"}
    assert lessons.of_status(at_rest, known, moved, spec()) != ()


def test_without_a_plan_or_a_measure_nothing_is_kept() -> None:
    assert lessons.of_status(observed(), None, TOLD, spec()) == ()
    assert lessons.of_status(observed(), revision(gpu_plan()), {"plan": {}}, spec()) == ()


def test_the_batch_and_the_types_are_those_that_the_engine_was_started_with() -> None:
    plan = gpu_plan(max_num_seqs=64, max_num_batched_tokens=2048, dtype="float16")
    (record,) = lessons.of_status(observed(), revision(plan), TOLD, spec())
    assert (record.sequences, record.tokens) == (64, 2048)
    assert (record.dtype, record.kv_dtype) == ("float16", "auto")


def test_a_neighbours_memory_is_not_remembered_by_the_start_that_went_around_it() -> None:
    plan = gpu_plan(learned_bytes=0, learned_outside_bytes=33 * GIB, kv_cache_bytes=18 * GIB)
    told = {"updateRevision": NAME, "plan": {"measured": {"kvCacheBytes": 17 * GIB}}}
    (record,) = lessons.of_status(observed(), revision(plan), told, spec())
    assert (record.extra_bytes, record.outside_bytes) == (GIB, 0)

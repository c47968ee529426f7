"""When an accelerator that has no room is left, and for which other one."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import builders
import pytest

from berth_api.shape import ShapeReport
from berth_api.status import Alternative, Plan
from berth_operator.core.accelerators import fallback
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.observed import Pod
from berth_operator.core.revision import Revision

WAITED = 299  # seconds
NO_ROOM = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."

PLAN = Plan(
    accelerator="h100",
    engine_profile="vllm",
    image="example.test/vllm:1",
    device="cuda",
    tensor_parallel_size=2,
    gpus_per_replica=2,
    dtype="bfloat16",
    kv_cache_dtype="auto",
    usable_bytes=1,
    weights_bytes=1,
    activation_bytes=1,
    kv_bytes_per_token=1,
    kv_cache_bytes=1,
    kv_cache_tokens=1,
    max_model_len=1,
    max_num_seqs=1,
    max_num_batched_tokens=1,
    memory_bytes=1,
    millicpu=1,
)


def revision(
    accelerator: str = "h100", *, number: int = 1, entry: int | None = 0, **selector: str
) -> Revision:
    return Revision(
        name=f"r{number}",
        number=number,
        spec_hash="s",
        source="hf://a/b",
        shape=ShapeReport(),
        plan=PLAN.model_copy(update={"accelerator": accelerator}),
        template={"spec": {"nodeSelector": selector}},
        entry=entry,
    )


def offer(accelerator: str = "h100", *, entry: int | None = 0, **selector: str) -> Offer:
    settings = builders.configured()
    profile = settings.accelerator_profiles[1]
    named = profile.model_copy(update={"name": accelerator, "node_selector": selector})
    return Offer(named, settings.engine_profiles[1], 80 * 2**30, 2, entry=entry)


def unscheduled(message: str = NO_ROOM, *, seconds: float = WAITED, **fields: Any) -> Pod:
    since = builders.NOW - timedelta(seconds=seconds)
    refused = {
        "type": "PodScheduled",
        "status": "False",
        "reason": fields.pop("reason", "Unschedulable"),
        "message": message,
        "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    name = fields.pop("name", "a")
    pod = builders.engine_pod("r1", name=name, conditions=[refused], **fields)
    return Pod(pod | {"spec": {}})


def placed(name: str = "b", **fields: Any) -> Pod:
    done = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return Pod(builders.engine_pod("r1", name=name, conditions=[done], **fields))


def waited(*pods: Pod) -> float | None:
    found = fallback.waited(builders.observed(pods=pods), revision())
    return None if found is None else found.total_seconds()


def test_the_time_is_that_of_the_pod_that_has_waited_longest() -> None:
    pods = (unscheduled(seconds=10), unscheduled(seconds=200, name="b"))
    assert waited(*pods) == 200


ROOM = {
    "there is no pod": (),
    "the scheduler has not looked yet": (Pod(builders.engine_pod("r1")),),
    "one of the pods has a node": (unscheduled(), placed()),
    "a queue holds the pod back": (unscheduled(reason="SchedulingGated"),),
    "a volume is missing": (
        unscheduled('0/3 nodes are available: persistentvolumeclaim "models" not found.'),
    ),
    "a volume is not bound": (
        unscheduled("0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
    ),
    "the pod has been evicted": (unscheduled(phase="Failed"),),
    "the pods are another revision's": (
        Pod(
            unscheduled().object
            | {"metadata": builders.engine_pod("r2")["metadata"]}  # the same, of another
        ),
    ),
}


@pytest.mark.parametrize("pods", ROOM.values(), ids=ROOM)
def test_an_accelerator_does_not_lack_room_where(pods: tuple[Pod, ...]) -> None:
    assert waited(*pods) is None


def test_a_pod_that_goes_away_is_not_waited_for() -> None:
    going = unscheduled(seconds=500)
    meta = going.object["metadata"] | {"deletionTimestamp": "2026-01-02T00:00:00Z"}
    pods = (Pod(going.object | {"metadata": meta}), unscheduled(seconds=20, name="b"))
    assert waited(*pods) == 20


def test_the_entries_that_were_not_tried_come_in_their_order() -> None:
    offers = [offer("h100"), offer("l40s", entry=1), offer("l4", entry=2)]
    assert fallback.untried(offers, [revision()]) == (offers[1], offers[2])
    tried = [revision(), revision("l40s", number=2, entry=1)]
    assert fallback.untried(offers, tried) == (offers[2],)
    assert fallback.untried(offers, [*tried, revision("l4", number=3, entry=2)]) == ()


def test_one_profile_may_be_asked_for_twice_with_different_sizes() -> None:
    offers = [replace(offer(), gpus=8), replace(offer(entry=1), gpus=4)]
    assert fallback.untried(offers, [revision()]) == (offers[1],)


def test_a_profiles_other_kind_of_card_is_not_the_one_that_was_tried() -> None:
    offers = [offer(memory="24"), offer(memory="80")]
    assert fallback.untried(offers, [revision(memory="24")]) == (offers[1],)
    assert fallback.untried(offers, [revision(memory="24", zone="a")]) == (offers[1],)


def test_a_model_that_names_no_accelerator_does_not_change_to_another_device() -> None:
    offers = [
        offer(entry=None, memory="24"),
        offer(entry=None, memory="80"),
        offer("cpu", entry=None),
    ]
    tried = [revision(entry=None, memory="24")]
    assert fallback.untried(offers, tried) == (offers[1],)


def test_the_next_plan_tells_what_was_left_and_what_was_told_before() -> None:
    before = [
        Alternative(accelerator="b200", reason="no node offers it"),
        Alternative(accelerator="h100", tensor_parallel_size=1, reason="too small"),
    ]
    newest = revision()
    newest = replace(newest, plan=newest.plan.model_copy(update={"alternatives": before}))
    assert fallback.left_behind(newest, 300) == [
        before[0],
        Alternative(
            accelerator="h100", tensor_parallel_size=2, reason="no node had room for 300 s"
        ),
    ]


def held(pod: Pod, *older: Revision) -> Revision | None:
    newest = revision(number=9)
    observed = builders.observed(pods=(pod,))
    return fallback.holder(observed, newest, [*older, newest])


def test_an_older_revision_whose_pods_have_a_node_holds_its_accelerator() -> None:
    assert held(placed(), revision()) == revision()


FREE = {
    "its pods wait too": (unscheduled(), revision()),
    "its pod has ended": (placed(phase="Failed"), revision()),
    "it is on another accelerator": (placed(), revision("l40s")),
    "it has no pods": (placed(), revision(number=2)),
}


@pytest.mark.parametrize(("pod", "older"), FREE.values(), ids=FREE)
def test_an_older_revision_holds_nothing_where(pod: Pod, older: Revision) -> None:
    assert held(pod, older) is None


def test_a_revision_does_not_hold_what_it_waits_for_itself() -> None:
    mine = revision()
    observed = builders.observed(pods=(unscheduled(), placed()))
    assert fallback.holder(observed, mine, [mine, revision(number=2)]) is None

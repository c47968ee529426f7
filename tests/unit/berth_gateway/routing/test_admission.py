import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.routing import admission
from berth_gateway.routing.admission import Backlog, Hold, Reason, Refused, Starts
from berth_gateway.routing.snapshot import Endpoint, Model

COLD = Model(key="1", name="llama", namespace="team", max_pending=10, max_wait_seconds=60)
READY = replace(COLD, endpoints=(Endpoint("k", "http://h:1", "p"),))
BOUND = Backlog(100, 1000)
EMPTY = Backlog()


def _admit(model: Model = COLD, asked: int = 1, mine=EMPTY, whole=EMPTY):
    return admission.admit(model, asked, mine, whole, BOUND)


@pytest.mark.parametrize("model", [COLD, READY, replace(READY, phase="Failed", paused=True)])
def test_a_request_is_held_for_as_long_as_its_model_says(model: Model) -> None:
    assert _admit(model) == Hold(60)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (replace(COLD, namespace=""), "no endpoint in the routes file; add one"),
        (replace(COLD, paused=True), "is paused and has no replica; set spec.paused to false"),
        (replace(COLD, fixed_replicas=0), "raise spec.replicas, or set spec.scaling.mode to Auto"),
        (
            replace(COLD, phase="Failed", reason="OutOfMemory"),
            r"cannot be served \(OutOfMemory\); .* kubectl -n team describe modeldeployment llama",
        ),
    ],
)
def test_where_nothing_will_come_it_is_refused_at_once_and_told_what_to_do(model, words) -> None:
    refused = _admit(model)

    assert isinstance(refused, Refused)
    assert refused.reason is Reason.NOTHING_TO_COME
    assert re.search(words, refused.message)


def test_where_replicas_are_asked_for_or_may_be_it_is_worth_waiting() -> None:
    assert _admit(replace(COLD, fixed_replicas=1)) == Hold(60)
    assert _admit(replace(COLD, fixed_replicas=None, phase="Idle")) == Hold(60)


def test_during_a_replacement_nobody_waits_where_the_model_says_so() -> None:
    replacing = replace(COLD, replacing=True, hold_replacement=False)

    assert _admit(replacing).reason is Reason.REPLACING
    assert _admit(replace(replacing, hold_replacement=True)) == Hold(60)
    assert _admit(replace(replacing, replacing=False)) == Hold(60)
    assert _admit(replace(replacing, endpoints=READY.endpoints)) == Hold(60)


def test_a_models_queue_is_as_long_as_it_says() -> None:
    assert _admit(mine=Backlog(9), whole=Backlog(9)) == Hold(60)
    full = _admit(mine=Backlog(10), whole=Backlog(10))
    assert full.reason is Reason.QUEUE_FULL
    assert "spec.queue.maxPending" in full.message
    assert _admit(replace(COLD, max_pending=0)).reason is Reason.QUEUE_FULL


def test_a_model_holds_at_most_as_much_as_is_free() -> None:
    large = replace(COLD, max_pending=1000)

    assert _admit(large, mine=Backlog(49), whole=Backlog(49)) == Hold(60)
    assert _admit(large, mine=Backlog(50), whole=Backlog(50)).reason is Reason.GATEWAY_FULL
    assert _admit(large, asked=500) == Hold(60)
    assert _admit(large, asked=501, whole=Backlog(1, 500)).reason is Reason.GATEWAY_FULL


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 300)), max_size=300))
def test_however_much_the_others_ask_for_there_is_room_for_another_models_first(asks) -> None:
    held = {number: Backlog() for number in range(4)}
    large = replace(COLD, max_pending=1000)
    for number, size in asks:
        whole = Backlog(
            sum(one.requests for one in held.values()), sum(one.size for one in held.values())
        )
        if isinstance(_admit(large, size, held[number], whole), Hold):
            held[number] = Backlog(held[number].requests + 1, held[number].size + size)
    whole = Backlog(
        sum(one.requests for one in held.values()), sum(one.size for one in held.values())
    )

    assert whole.requests <= BOUND.requests
    assert whole.size <= BOUND.size
    # Bodies of a third of all bytes can fill the last one; then there is room for no one.
    assert whole.size == BOUND.size or _admit(large, 1, Backlog(), whole) == Hold(60)


@pytest.mark.parametrize(
    ("model", "starts", "seconds"),
    [
        (COLD, Starts(), None),
        (replace(COLD, eta_seconds=42), Starts(last=7.0), 42.0),
        (COLD, Starts(last=30.0), 30.0),
        (COLD, Starts(last=30.0, waking=10.0), 20.0),
        (COLD, Starts(last=30.0, waking=45.0), 1.0),
        (READY, Starts(last=30.0), None),
        (READY, Starts(last=30.0, last_hold=3.0), 3.0),
    ],
)
def test_the_estimate_is_the_operators_or_what_was_measured(model, starts, seconds) -> None:
    assert admission.estimate(model, starts) == seconds


@pytest.mark.parametrize(
    ("seconds", "wait"), [(None, 10), (0.0, 1), (25.0, 25), (3600.0, 60)], ids=str
)
def test_retry_after_is_capped_and_jittered_downwards(seconds: float | None, wait: int) -> None:
    assert admission.retry_after(seconds, 0.0) == wait
    assert max(round(wait * 0.8), 1) == admission.retry_after(seconds, 1.0)

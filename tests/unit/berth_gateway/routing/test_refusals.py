import pytest

from berth_gateway.routing import refusals

BUSY = b'data: {"error": {"message": "busy", "type": "x", "param": null, "code": 503}}\n\n'


def test_a_refusal_is_given_back_as_it_would_have_been() -> None:
    found = refusals.refused(BUSY + b"data: [DONE]\n\n")

    assert refusals.looks_refused(BUSY)
    assert found is not None
    assert found.status == 503
    assert found.body == b'{"error": {"message": "busy", "type": "x", "param": null, "code": 503}}'


@pytest.mark.parametrize(
    "first", [b"data: {}", b'data: {"id":"error"}', b": comment\n\n", b"", b"{}"]
)
def test_other_events_do_not_look_like_one(first: bytes) -> None:
    assert not refusals.looks_refused(first)


def test_its_beginning_may_be_one() -> None:
    assert all(refusals.looks_refused(BUSY[:size]) for size in range(len(b"data:"), len(BUSY)))


@pytest.mark.parametrize(
    "first", [b'data: {"error": "x"}\n', b'data: {"error": {"cod', b'data:{"error"']
)
def test_what_is_no_refusal_is_none(first: bytes) -> None:
    assert refusals.refused(first) is None


def test_only_an_event_without_its_end_is_cut() -> None:
    assert refusals.is_cut(b'data: {"error": {')
    assert not refusals.is_cut(BUSY)
    assert not refusals.is_cut(b"x" * 2**20)

"""Fields that let one request ask for much, through the reader that applies them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.errors import Kind, Refusal
from berth_gateway.routing import bounds, request
from berth_gateway.routing.bounds import NUMBERS, Number
from berth_gateway.routing.request import JsonBody
from berth_gateway.settings import CLOSED_FIELDS, Limits

LIMITS = Limits(choices=128, output_tokens=500, logprobs=20)
by_number = pytest.mark.parametrize("number", NUMBERS, ids=[one.field for one in NUMBERS])


def _body(field: str, text: str) -> bytes:
    return f'{{"model":"a","{field}":{text}}}'.encode()


def _refused(field: str, text: str, limits: Limits = LIMITS) -> Refusal:
    with pytest.raises(Refusal) as caught:
        request.parse(_body(field, text), limits)
    assert caught.value.kind is Kind.BAD_REQUEST
    assert caught.value.param == field
    return caught.value


@by_number
@pytest.mark.parametrize("value", ["1e9", "-1", '"2"', "1.0", "[1]", "9" * 4000, "501"])
def test_more_than_allowed_is_refused_in_any_spelling(number: Number, value: str) -> None:
    limit = getattr(LIMITS, number.limit)

    told = _refused(number.field, value)
    assert told.message.startswith(f"{number.field} is ")
    assert told.message.endswith(f"; it must be an integer from {number.least} to {limit}")


@by_number
def test_as_much_as_allowed_passes_and_one_more_does_not(number: Number) -> None:
    limit = getattr(LIMITS, number.limit)
    for value in (number.least, limit):
        assert isinstance(request.parse(_body(number.field, str(value)), LIMITS), JsonBody)
    for value in (number.least - 1, limit + 1):
        assert f"is '{value}';" in _refused(number.field, str(value)).message


@by_number
def test_null_is_as_good_as_nothing(number: Number) -> None:
    assert isinstance(request.parse(_body(number.field, "null"), LIMITS), JsonBody)


@by_number
@pytest.mark.parametrize("value", ["true", "false"])
def test_a_boolean_is_a_number_nowhere_but_it_may_ask_for_logprobs(
    number: Number, value: str
) -> None:
    if number.field == "logprobs":
        assert isinstance(request.parse(_body("logprobs", value), LIMITS), JsonBody)
    else:
        _refused(number.field, value)


def test_of_two_equal_fields_the_last_counts_as_it_does_in_the_engine() -> None:
    assert request.parse(b'{"model":"a","n":999,"n":1}', LIMITS).model == "a"
    with pytest.raises(Refusal):
        request.parse(b'{"model":"a","n":1,"n":999}', LIMITS)


@pytest.mark.parametrize("name", CLOSED_FIELDS)
def test_a_closed_field_is_refused_with_the_reason(name: str) -> None:
    told = _refused(name, '{"size": {"shortest_edge": 9999}}')

    assert (
        told.message
        == f"{name} is not accepted by this gateway: {CLOSED_FIELDS[name]}; leave it out"
    )


@pytest.mark.parametrize("name", CLOSED_FIELDS)
def test_a_closed_field_passes_where_the_administrator_allows_it(name: str) -> None:
    limits = Limits(allowed_fields=frozenset({name}))
    assert isinstance(request.parse(_body(name, '{"a": {"b": 1}}'), limits), JsonBody)
    for other in CLOSED_FIELDS.keys() - {name}:
        _refused(other, '{"a": {"b": 1}}', limits)


@pytest.mark.parametrize("name", CLOSED_FIELDS)
def test_a_closed_field_without_a_value_passes(name: str) -> None:
    assert isinstance(request.parse(_body(name, "null"), LIMITS), JsonBody)


@pytest.mark.parametrize(
    "switches", [{}, {"enable_thinking": False}, {"reasoning_effort": "high", "budget": 1024}]
)
def test_switches_of_a_template_pass(switches: dict[str, Any]) -> None:
    raw = _body(bounds.SWITCHES, json.dumps(switches))

    assert isinstance(request.parse(raw, LIMITS), JsonBody)


@pytest.mark.parametrize(
    "switches",
    [
        {"chat_template": "{{ 1 }}"}, {"tokenize": True}, {"a": [1]}, {"a": {"b": 1}},
        {"a": "x" * 65}, [], "enable_thinking",
    ],
)  # fmt: skip
def test_what_is_no_switch_of_a_template_is_refused(switches: Any) -> None:
    _refused(bounds.SWITCHES, json.dumps(switches))


SPELLINGS = st.one_of(
    st.integers(-2, 600).map(str),
    st.sampled_from(["null", "true", "1e1", '"1"', "[]", "{}", '{"a":1}', '{"tokenize":1}', "NaN"]),
)


@given(st.sampled_from(bounds.FIELDS), SPELLINGS)
def test_both_readers_agree(field: str, text: str) -> None:
    """NaN elsewhere in a body is what only the slow one takes."""
    outcomes = set()
    for other in ("1", "NaN"):
        try:
            request.parse(f'{{"model":"a","{field}":{text},"other":{other}}}'.encode(), LIMITS)
            outcomes.add("")
        except Refusal as refusal:
            outcomes.add(refusal.message)
    assert len(outcomes) == 1

import json

import pytest

from berth_gateway.routing.usage import Usage, counted


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 5, "total_tokens": 12, "completion_tokens": 7},
        {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12},
        {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 4}},
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_the_counts_are_read_in_each_apis_words(usage, separators) -> None:
    text = json.dumps(
        {"choices": ['a "usage" of'], "usage": usage, "x": None}, separators=separators
    )

    assert counted(text.encode()) == Usage(5, 7)


def test_of_several_the_last_counts() -> None:
    events = (json.dumps({"usage": {"prompt_tokens": 5, "completion_tokens": n}}) for n in range(4))
    tail = "".join(f"data: {event}\n\n" for event in events) + "data: [DONE]\n\n"

    assert counted(tail.encode()) == Usage(5, 3)


def test_an_embedding_has_a_prompt_only() -> None:
    assert counted(b'{"usage":{"prompt_tokens":9,"total_tokens":9}}') == Usage(9, 0)


@pytest.mark.parametrize(
    "tail", [b"", b'{"usage": null}', b'data: {"choices": []}\n\n', b'{"a":"\\"usage\\": 7"}']
)
def test_without_counts_nothing_is_counted(tail: bytes) -> None:
    assert counted(tail) is None

import json

import pytest

from standins.engine_answers import Writer, error_event
from standins.engine_requests import Api, busy, question

MESSAGES = [{"role": "user", "content": "hello there"}]
BODIES = {
    Api.CHAT: {"messages": MESSAGES},
    Api.COMPLETION: {"prompt": "hello there"},
    Api.RESPONSE: {"input": "hello there"},
    Api.MESSAGE: {"messages": MESSAGES},
}


def writer(api, **body):
    asked = question(api, BODIES[api] | {"max_tokens": 3} | body, 2048)
    return Writer(asked, "m", "5e1", 1000)


def events(one, sent=None):
    frames = one.frames()
    words = one.asked.answer[:sent]
    tokens = [frames.token(place, word) for place, word in enumerate(words)]
    return b"".join([frames.opening, *tokens, frames.closing(len(words))])


def data(raw):
    lines = [line.removeprefix("data: ") for line in raw.decode().split("\n")]
    return [json.loads(line) for line in lines if line.startswith("{")]


def delta(api, event):
    if api is Api.CHAT:
        return event["choices"][0]["delta"]["content"] if event["choices"] else ""
    if api is Api.COMPLETION:
        return event["choices"][0]["text"] if event["choices"] else ""
    if api is Api.MESSAGE:
        return event["delta"]["text"] if event["type"] == "content_block_delta" else ""
    return event["delta"] if event["type"] == "response.output_text.delta" else ""


@pytest.mark.parametrize("api", Api)
def test_a_stream_says_what_the_whole_answer_says(api):
    one = writer(api)
    said = "".join(delta(api, event) for event in data(events(one)))
    assert said == one.text
    assert json.dumps(one.text) in json.dumps(one.whole())


@pytest.mark.parametrize("api", [Api.CHAT, Api.COMPLETION])
def test_openais_streams_end_with_the_reason_the_usage_and_done(api):
    raw = events(writer(api, stream_options={"include_usage": True}))
    told = data(raw)
    assert [event["choices"][0]["finish_reason"] for event in told[:-1]][-2:] == [None, "length"]
    assert told[-1]["usage"]["completion_tokens"] == 3
    assert told[-1]["choices"] == []
    assert raw.endswith(b"data: [DONE]\n\n")
    assert "usage" not in json.dumps(data(events(writer(api))))


def test_a_response_numbers_its_events():
    numbers = [event["sequence_number"] for event in data(events(writer(Api.RESPONSE)))]
    assert numbers == list(range(4 + 3 + 4))


def test_messages_have_anthropics_events():
    kinds = [event["type"] for event in data(events(writer(Api.MESSAGE)))]
    assert kinds == [
        "message_start", "content_block_start", *["content_block_delta"] * 3,
        "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip


def test_equal_requests_have_equal_bytes():
    assert events(writer(Api.CHAT)) == events(writer(Api.CHAT))
    assert events(writer(Api.CHAT)) != events(writer(Api.CHAT, seed=1))


def test_an_error_in_a_stream_is_an_event_before_done():
    raw = error_event(busy().document())
    assert data(raw)[0]["error"]["code"] == 503
    assert raw.endswith(b"data: [DONE]\n\n")

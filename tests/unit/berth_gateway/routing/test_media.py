"""Addresses in every place where an API lets a client name one."""

import json
import tracemalloc
from typing import Any

import pytest

from berth_gateway.errors import Kind, Refusal
from berth_gateway.routing import request
from berth_gateway.settings import Limits, MediaUrls

URL = "http://169.254.169.254/"
PLACES = {
    "messages[0].content[0].image_url": {
        "messages": [{"content": [{"type": "image_url", "image_url": {"url": URL}}]}]
    },
    "messages[0].content[0].source": {
        "messages": [{"content": [{"type": "image", "source": {"type": "url", "url": URL}}]}]
    },
    "messages[0].content[0].content[0].source": {
        "messages": [{"content": [{"type": "tool_result", "content": [{"source": {"url": URL}}]}]}]
    },
    "input[0].content[0].image_url": {
        "input": [{"role": "user", "content": [{"type": "input_image", "image_url": URL}]}]
    },
    "documents.content[0].image_url": {"documents": {"content": [{"image_url": {"url": URL}}]}},
    "data_1.content[0].video_url": {"data_1": {"content": [{"video_url": {"url": URL}}]}},
}


@pytest.mark.parametrize("lenient", [False, True], ids=["decoder", "python"])
@pytest.mark.parametrize("place", PLACES)
def test_an_address_is_refused_wherever_it_is(place: str, lenient: bool) -> None:
    document: dict[str, Any] = {"model": "a", **PLACES[place]}
    if lenient:
        document["temperature"] = float("nan")  # which only Python's own parser takes
    with pytest.raises(Refusal) as caught:
        request.parse(json.dumps(document).encode(), Limits())
    assert caught.value.kind is Kind.UNSUPPORTED_MEDIA_URL
    assert caught.value.param == place
    request.parse(json.dumps(document).encode(), Limits(media_urls=MediaUrls.ANY))


@pytest.mark.parametrize("key", ["image\\u005furl", "image_ur\\u006c", "\\u0069mage_url"])
def test_an_escaped_field_hides_nothing(key: str) -> None:
    raw = b'{"model":"a","messages":[{"content":[{"%b":"http://x/"}]}]}' % key.encode()
    with pytest.raises(Refusal):
        request.parse(raw, Limits())


@pytest.mark.parametrize(
    "document",
    [
        {"input": "see {http://example.test/}"},
        {"input": ["{", "http://example.test/"]},
        {"messages": [{"content": [{"type": "search_result", "source": "https://example.test/"}]}]},
        {"tools": [{"parameters": {"properties": {"image_url": {"url": "string"}}}}]},
        {"messages": [{"content": "image_url: http://example.test/"}]},
        {"documents": [{"image_url": {"url": "data:image/png;base64,AA"}}]},
    ],
)
def test_what_no_engine_would_fetch_passes(document: dict[str, Any]) -> None:
    assert request.parse(json.dumps({"model": "a", **document}).encode(), Limits()).model == "a"


def test_a_deep_value_is_searched_without_end() -> None:
    raw = b'{"model":"a","input":' + b'[{"a":' * 300 + b"1" + b"}]" * 300 + b"}"
    assert request.parse(raw, Limits(json_depth=1000)).model == "a"


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CONTENT = {
    "data URLs": IMAGE,
    "sound": {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    "Anthropic's": {"type": "image", "source": {"type": "base64", "data": "AAAA"}},
}


def _with_parts(*parts: Any) -> bytes:
    messages = [{"role": "user", "content": [part]} for part in parts]
    return json.dumps({"model": "a", "messages": messages}).encode()


@pytest.mark.parametrize("part", CONTENT.values(), ids=CONTENT)
@pytest.mark.parametrize("urls", MediaUrls)
def test_parts_are_counted_over_all_messages(part: Any, urls: MediaUrls) -> None:
    limits = Limits(media_parts=3, media_urls=urls)

    assert request.parse(_with_parts(*[part] * 3), limits).model == "a"
    with pytest.raises(Refusal, match="part 4 of this request, and this gateway accepts 3") as told:
        request.parse(_with_parts(*[part] * 4), limits)
    assert told.value.param is not None
    assert told.value.param.startswith("messages[3].content[0].")


def test_texts_are_no_media() -> None:
    limits = Limits(media_parts=0)
    text = {"type": "text", "text": "image_url", "source": "https://example.test"}

    assert request.parse(_with_parts(*[text] * 9), limits).model == "a"


def test_a_long_name_costs_its_length_once() -> None:
    raw = b'{"model":"a","input":[{"%b":[%b{}]}]}' % (b"k" * 100_000, b"{}," * 1000)
    tracemalloc.start()
    try:
        request.parse(raw, Limits())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(raw)


def test_a_long_place_is_cut_in_the_refusal() -> None:
    raw = json.dumps({"model": "a", "input": [{"k" * 100_000: [{"image_url": URL}]}]}).encode()
    with pytest.raises(Refusal) as caught:
        request.parse(raw, Limits())
    assert str(caught.value.param).startswith("input[0].kkk")
    assert len(caught.value.body()) < 1000

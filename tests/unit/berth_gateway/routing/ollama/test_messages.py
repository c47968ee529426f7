import base64

import pytest

from berth_gateway.errors import Refusal
from berth_gateway.routing.ollama.messages import translate

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n rest of it").decode()
CALL = {"function": {"name": "weather", "arguments": {"city": "Paris"}}}


def test_a_text_stays_a_text_and_roles_are_in_lower_case() -> None:
    assert translate([{"role": "System", "content": "Be brief."}, {"role": "user"}]) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": ""},
    ]


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"GIF89a", "gif"),
        (b"RIFF\x00\x00\x00\x00WEBP", "webp"),
        (b"BM\x00\x00", "bmp"),
    ],
)
def test_an_image_becomes_a_part_with_its_type(head, name) -> None:
    image = base64.b64encode(head + b"more").decode()
    (message,) = translate([{"role": "user", "content": "What is it?", "images": [image]}])

    assert message["content"] == [
        {"type": "image_url", "image_url": {"url": f"data:image/{name};base64,{image}"}},
        {"type": "text", "text": "What is it?"},
    ]


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("data:image/png;base64," + PNG, "nothing in front"),
        ("not base64!", "base64"),
        (PNG[:-1], "base64"),
        (base64.b64encode(b"%PDF-1.7 and more").decode(), "PNG, JPEG, GIF, WebP or BMP"),
        ("", "PNG"),
        ("é", "base64"),
    ],
)
def test_what_is_no_image_is_refused_with_its_place(image, why) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "user", "images": [PNG, image]}]
    with pytest.raises(Refusal, match=why) as refused:
        translate(messages)
    assert refused.value.param == "messages[1].images[1]"


def test_a_call_gets_an_id_and_its_result_finds_it_by_the_tools_name() -> None:
    other = {"function": {"name": "time", "arguments": {}}}
    asked, first, second = translate(
        [
            {"role": "assistant", "tool_calls": [CALL, other]},
            {"role": "tool", "tool_name": "time", "content": "12:00"},
            {"role": "tool", "tool_name": "weather", "content": "11 degrees"},
        ]
    )

    assert [one["id"] for one in asked["tool_calls"]] == ["call_0", "call_1"]
    assert asked["tool_calls"][0] == {
        "id": "call_0",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
    }
    assert first == {"role": "tool", "content": "12:00", "tool_call_id": "call_1"}
    assert second["tool_call_id"] == "call_0"


def test_two_calls_of_one_tool_are_answered_in_their_order() -> None:
    result = {"role": "tool", "tool_name": "weather", "content": "11"}
    _, *results = translate([{"role": "assistant", "tool_calls": [CALL, CALL]}, result, result])

    assert [one["tool_call_id"] for one in results] == ["call_0", "call_1"]


def test_an_id_that_the_client_has_kept_is_kept() -> None:
    asked, result = translate(
        [
            {"role": "assistant", "tool_calls": [{"id": "call_x", **CALL}]},
            {"role": "tool", "tool_call_id": "call_x", "content": "11"},
        ]
    )

    assert asked["tool_calls"][0]["id"] == result["tool_call_id"] == "call_x"


def test_a_result_without_a_call_and_without_a_name_still_has_an_id() -> None:
    (result,) = translate([{"role": "tool", "content": "11"}])
    assert result["tool_call_id"]


def test_thinking_goes_back_as_the_engine_calls_it() -> None:
    (message,) = translate([{"role": "assistant", "content": "4", "thinking": "2 and 2"}])
    assert message["reasoning"] == "2 and 2"


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"content": "a"}, "messages[0].role"),
        ({"role": 1}, "messages[0].role"),
        ({"role": "user", "content": ["parts"]}, "messages[0].content"),
        ({"role": "user", "images": "one"}, "messages[0].images"),
        ({"role": "user", "images": [1]}, "messages[0].images[0]"),
        ({"role": "assistant", "tool_calls": [1]}, "messages[0].tool_calls[0]"),
        ({"role": "assistant", "tool_calls": [{}]}, "messages[0].tool_calls[0].function.name"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": "{}"}}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
    ],
)
def test_a_field_of_the_wrong_type_is_named(message, place) -> None:
    with pytest.raises(Refusal) as refused:
        translate([message])
    assert (refused.value.status, refused.value.param) == (400, place)

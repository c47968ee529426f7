"""Bad inputs that a client sends: an error in OpenAI's shape that says what to change.

The numbers are those of docs/bad-inputs.md.
"""

import base64
import json
from typing import Any

import pytest

from berth_gateway.settings import Limits

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "hello"}]


def _picture(url: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


def _body(**fields: Any) -> bytes:
    return json.dumps({"model": "llama", "messages": MESSAGES} | fields).encode()


@pytest.mark.parametrize(
    ("body", "status", "code", "param", "said"),
    [
        (b'{"model": "llama", ', 400, None, None, "not valid JSON: Expecting"),
        (b"\xff", 400, None, None, "not UTF-8 (byte 0); send JSON in UTF-8"),
        (b'{"messages": []}', 400, None, "model", "you must provide a model parameter"),
        (_body(model=7), 400, None, "model", "you must provide a model parameter"),
        (_body(model="gpt-4"), 404, "model_not_found", "model",
         "the model 'gpt-4' does not exist, or not for this API key"),
        (_body(n=1000), 400, None, "n", "n is '1000'; it must be an integer from 1 to 16"),
        (_body(n="2"), 400, None, "n", "n is '2'; it must be an integer from 1 to 16"),
        (_body(messages=_picture("http://169.254.169.254/")), 400, "invalid_image_url",
         "messages[0].content[0].image_url",
         ("is 'http://169.254.169.254/'; this gateway accepts data: URLs only, so send the content "
         "itself in base64")),
        (_body(user="x" * 70_000), 413, "request_too_large", None, "65536 bytes"),
    ],
    ids=[
        "bad JSON", "no text", "no model", "a number as model", "an unknown model",
        "too many answers", "answers as text", "media to be fetched", "too large",
    ],
)  # fmt: skip
async def test_bad_input_24_a_request_that_cannot_be_served(
    gateways, http, engine, kit, body, status, code, param, said
) -> None:
    gateway = await gateways(limits=Limits(choices=16, body_bytes=65_536))
    gateway.route(kit.at(engine))
    response = await http.post(gateway.url + CHAT, data=body)
    error = (await response.json())["error"]

    assert (response.status, error["code"], error["param"]) == (status, code, param)
    assert error["type"] == "invalid_request_error"
    assert said in error["message"]
    assert engine.received == []


async def test_bad_input_24_a_context_that_is_too_long_is_told_in_the_engines_own_words(
    gateway, http, engine, kit
) -> None:
    error = {
        "message": "This model's maximum context length is 8 tokens. However, you requested 9.",
        "type": "BadRequestError",
        "param": "input_tokens",
        "code": 400,
    }

    async def refuse(request: Any) -> None:
        await request.reply(400, {"error": error})

    engine.behave = refuse
    gateway.route(kit.at(engine))
    response = await http.post(gateway.url + CHAT, data=_body())

    assert (response.status, (await response.json())["error"]) == (400, error)


async def test_bad_input_24_a_picture_inside_the_request_is_the_engines_business(
    gateway, http, engine, kit
) -> None:
    gateway.route(kit.at(engine))
    url = "data:image/png;base64," + base64.b64encode(b"no picture").decode()
    response = await http.post(gateway.url + CHAT, data=_body(messages=_picture(url)))

    assert response.status == 200


async def test_bad_input_18_of_two_models_of_one_name_the_older_keeps_it(
    gateway, http, engines, kit
) -> None:
    older, newer = await engines(), await engines()
    gateway.route(
        kit.at(newer, name="chat-b", namespace="b", served_name="chat", created_seconds=2),
        kit.at(older, name="chat-a", namespace="a", served_name="chat", created_seconds=1),
    )
    for name in ("chat", "chat-b.b", "chat-b"):
        await http.post(gateway.url + CHAT, data=_body(model=name))
    listed = (await (await http.get(gateway.url + "/v1/models")).json())["data"]

    assert (len(older.received), len(newer.received)) == (1, 2)
    assert [one["id"] for one in listed] == ["chat", "chat-b"]

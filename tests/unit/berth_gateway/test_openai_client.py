"""The official client against the gateway: what users of it see."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from berth_gateway.routing.snapshot import Model
from berth_gateway.settings import Limits

MESSAGES: Any = [{"role": "user", "content": "Where is the Louvre?"}]


@pytest.fixture
async def client(gateway, kit) -> AsyncIterator[openai.AsyncOpenAI]:
    base = f"{gateway.url}/v1"
    async with openai.AsyncOpenAI(base_url=base, api_key=kit.api_key, max_retries=0) as client:
        yield client


async def _chat(client: openai.AsyncOpenAI, model: str = "llama", **more: Any) -> Any:
    return await client.chat.completions.create(model=model, messages=MESSAGES, **more)


async def test_chat(gateway, client, engine, kit) -> None:
    gateway.route(kit.at(engine))

    assert (await _chat(client)).choices[0].message.content == "Paris"


async def test_a_stream_with_usage(gateway, client, engine, kit) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}

    async def stream(request: Any) -> None:
        await request.start_stream()
        await request.event(kit.piece("Par"))
        await request.event(kit.piece("is"))
        await request.event(kit.piece(None, usage=usage))
        await request.end_stream()

    engine.behave = stream
    gateway.route(kit.at(engine))
    pieces = [
        piece
        async for piece in await _chat(client, stream=True, stream_options={"include_usage": True})
    ]

    assert "".join(piece.choices[0].delta.content for piece in pieces[:2]) == "Paris"
    assert pieces[-1].usage.total_tokens == 7


async def test_a_stream_that_is_closed_early_closes_the_engine(
    gateway, client, engine, kit
) -> None:
    async def never_ends(request: Any) -> None:
        await request.start_stream()
        await request.event(kit.piece("Par"))
        await request.reader.readexactly(1)

    engine.behave = never_ends
    gateway.route(kit.at(engine))
    stream = await _chat(client, stream=True)
    async for _ in stream:
        break
    await stream.close()

    await asyncio.wait_for(engine.left.wait(), 1)


async def test_an_engine_lost_in_a_stream_raises(gateway, client, engine, kit) -> None:
    async def die(request: Any) -> None:
        await request.start_stream()
        await request.event(kit.piece("Par"))
        request.writer.close()

    engine.behave = die
    gateway.route(kit.at(engine))
    with pytest.raises(openai.APIError) as caught:
        async for _ in await _chat(client, stream=True):
            pass
    assert caught.value.code == "engine_disconnected"


async def test_models(gateway, client, engine, kit) -> None:
    gateway.route(kit.at(engine, served_name="meta/llama"))

    assert [model.id async for model in client.models.list()] == ["meta/llama"]
    assert (await client.models.retrieve("meta/llama")).owned_by == "berth"


async def test_a_wrong_key_is_an_authentication_error(gateway, client) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        await _chat(client.with_options(api_key="sk-wrong"))
    assert caught.value.code == "invalid_api_key"
    assert caught.value.type == "invalid_request_error"


async def test_an_unknown_model_is_a_not_found_error(client) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await _chat(client, model="nope")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_too_many_answers_are_a_bad_request_error(gateway, client, engine, kit) -> None:
    gateway.route(kit.at(engine))
    with pytest.raises(openai.BadRequestError) as caught:
        await _chat(client, n=100_000)
    assert caught.value.param == "n"


async def test_a_cold_model_is_an_internal_server_error_with_a_time_to_come_back(
    gateway, client
) -> None:
    gateway.route(
        Model(
            key="1",
            name="llama",
            namespace="team",
            eta_seconds=9,
            replacing=True,
            hold_replacement=False,
        )
    )
    with pytest.raises(openai.InternalServerError) as caught:
        await _chat(client)
    assert caught.value.status_code == 503
    assert caught.value.response.headers["retry-after"] == "9"


async def test_a_full_engine_is_a_rate_limit_error(gateway, client, engine, kit) -> None:
    engine.behave = lambda request: request.reply(429, {"error": {"message": "full"}})
    gateway.route(kit.at(engine, max_pending=0))
    with pytest.raises(openai.RateLimitError):
        await _chat(client)


async def test_too_large_a_body_is_a_status_error_even_while_it_is_being_sent(
    gateways, kit
) -> None:
    gateway = await gateways(limits=Limits(body_bytes=10_000))
    base = f"{gateway.url}/v1"
    async with openai.AsyncOpenAI(base_url=base, api_key=kit.api_key, max_retries=0) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.completions.create(model="llama", prompt="x" * 3_000_000)
    assert (caught.value.status_code, caught.value.code) == (413, "request_too_large")

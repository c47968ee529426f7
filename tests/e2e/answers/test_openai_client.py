"""The official client against a real model on real vLLM, through the gateway's Service."""

import json
import re
import statistics
import time
from collections.abc import Callable

import httpx
import openai
import pytest
from openai import OpenAI

DEPARTURES = 3
FREED_AT_ALL_SECONDS = 10.0
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "strict": True,  # without it the schema is a hint and binds nothing
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def test_a_chat_is_answered(client: OpenAI, model: str) -> None:
    reply = client.chat.completions.create(model=model, messages=QUESTION, temperature=0)
    assert "Paris" in reply.choices[0].message.content
    assert reply.usage.completion_tokens > 0


def test_a_stream_ends_with_its_usage(client: OpenAI, model: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model=model,
            messages=QUESTION,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert "Paris" in text
    assert chunks[-1].usage.completion_tokens >= 7
    assert len(chunks) > 3


def test_a_completion_is_answered(client: OpenAI, model: str) -> None:
    reply = client.completions.create(model=model, prompt="1, 2, 3,", max_tokens=6, temperature=0)
    assert "4" in reply.choices[0].text


def test_a_json_schema_binds_the_answer(client: OpenAI, model: str) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
        "additionalProperties": False,
    }
    reply = client.chat.completions.create(
        model=model,
        messages=QUESTION,
        temperature=0,
        max_tokens=64,
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
    )
    assert list(json.loads(reply.choices[0].message.content)) == ["city"]


def test_a_regular_expression_binds_the_answer(client: OpenAI, model: str) -> None:
    reply = client.chat.completions.create(
        model=model,
        messages=QUESTION,
        temperature=0,
        max_tokens=16,
        extra_body={"structured_outputs": {"regex": "(Paris|London)"}},
    )
    assert re.fullmatch("Paris|London", reply.choices[0].message.content)


def test_a_named_tool_is_called(client: OpenAI, model: str) -> None:
    reply = client.chat.completions.create(
        model=model,
        messages=QUESTION,
        temperature=0,
        max_tokens=64,
        tools=[WEATHER_TOOL],
        tool_choice={"type": "function", "function": {"name": "weather"}},
    )
    call = reply.choices[0].message.tool_calls[0]
    assert call.function.name == "weather"
    assert "city" in json.loads(call.function.arguments)


def test_logprobs_come_with_their_alternatives(client: OpenAI, model: str) -> None:
    reply = client.chat.completions.create(
        model=model,
        messages=QUESTION,
        temperature=0,
        max_tokens=4,
        logprobs=True,
        top_logprobs=3,
    )
    tokens = reply.choices[0].logprobs.content
    assert len(tokens) == 4
    assert all(len(token.top_logprobs) == 3 and token.logprob <= 0 for token in tokens)


def test_n_answers_are_n(client: OpenAI, model: str) -> None:
    reply = client.chat.completions.create(
        model=model, messages=QUESTION, n=3, max_tokens=8, temperature=1.0, seed=7
    )
    assert [choice.index for choice in reply.choices] == [0, 1, 2]


def test_models_are_listed_by_the_name_that_answers(client: OpenAI, model: str) -> None:
    assert model in [one.id for one in client.models.list()]
    assert client.models.retrieve(model).id == model


Ask = Callable[[OpenAI, str], object]

REFUSALS: dict[str, tuple[Ask, type[openai.APIStatusError], str | None]] = {
    "an unknown model": (
        lambda client, _: client.chat.completions.create(model="nope", messages=QUESTION),
        openai.NotFoundError,
        "model_not_found",
    ),
    "no messages": (
        lambda client, model: client.chat.completions.create(model=model, messages="hello"),  # type: ignore[arg-type]
        openai.BadRequestError,
        None,
    ),
    "a prompt beyond the context": (
        lambda client, model: client.completions.create(model=model, prompt="word " * 9000),
        openai.BadRequestError,
        None,
    ),
    "an endpoint that the model has not": (
        lambda client, model: client.embeddings.create(model=model, input="x"),
        openai.NotFoundError,
        None,
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_bad_request_has_the_clients_own_error(client: OpenAI, model: str, case: str) -> None:
    ask, error, code = REFUSALS[case]
    with pytest.raises(error) as refused:
        ask(client, model)
    assert refused.value.message
    if code:
        assert refused.value.code == code


def test_a_wrong_key_is_an_authentication_error(client: OpenAI, model: str) -> None:
    stranger = client.with_options(api_key="sk-berth-wrong")
    with pytest.raises(openai.AuthenticationError):
        stranger.chat.completions.create(model=model, messages=QUESTION)


def test_a_client_that_leaves_frees_the_engine_within_a_second(
    client: OpenAI, model: str, running: Callable[[], int]
) -> None:
    """In the median: a stall of the machine is no fault of the gateway's."""
    took = [seconds_until_freed(client, model, running) for _ in range(DEPARTURES)]
    assert statistics.median(took) < 1.0, took


def seconds_until_freed(client: OpenAI, model: str, running: Callable[[], int]) -> float:
    stream = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Count to a thousand, one number a line."}],
        max_tokens=2000,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    assert running() == 1
    stream.close()
    left = time.monotonic()
    while running():
        assert time.monotonic() - left < FREED_AT_ALL_SECONDS
        time.sleep(0.05)
    return time.monotonic() - left


def test_the_engine_refuses_whoever_goes_around_the_gateway(pod_url: str) -> None:
    for path in ("/v1/models", "/metrics", "/tokenize", "/version", "/invocations"):
        assert httpx.get(pod_url + path).status_code == 401, path

"""A request's body as what is asked of the engine, or vLLM's own words of refusal. Pure.

One choice per request, no stop strings, no log probabilities; `max_tokens` tokens exactly.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from standins import engine_text

COMPLETION_TOKENS = 16  # vLLM's default for completions

DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."
SHUT_DOWN = "cannot schedule new futures after shutdown"
BUSY = (
    "The engine is currently busy and cannot accept new requests. "
    "Please try again later or on a different instance."
)


class Api(Enum):
    CHAT = "/v1/chat/completions"
    COMPLETION = "/v1/completions"
    RESPONSE = "/v1/responses"
    MESSAGE = "/v1/messages"


@dataclass(eq=False)
class Problem(Exception):
    """vLLM's error document."""

    status: int
    message: str
    kind: str
    param: str | None = None

    def document(self) -> dict[str, Any]:
        fields = {"type": self.kind, "param": self.param, "code": self.status}
        return {"error": {"message": self.message, **fields}}


def dead(message: str = DEAD) -> Problem:
    return Problem(500, message, "InternalServerError")


def busy() -> Problem:
    return Problem(503, BUSY, "Service Unavailable")


@dataclass(frozen=True, slots=True)
class Question:
    """A request to generate: tokens in, tokens out."""

    api: Api
    prompt: list[str]
    answer: list[str]
    ends: bool  # by itself, not for want of tokens
    stream: bool
    usage: bool  # in the stream
    key: bytes


def decode(raw: bytes) -> dict[str, Any]:
    """Problem (400) unless it is a JSON object."""
    try:
        value = json.loads(raw)
    except ValueError as error:
        at = getattr(error, "pos", 0)
        detail = f"[{{'type': 'json_invalid', 'loc': ('body', {at}), 'msg': 'JSON decode error'}}]"
        raise Problem(400, detail, "Bad Request", f"body.{at}") from error
    if not isinstance(value, dict):
        raise Problem(400, "Input should be a valid dictionary", "Bad Request", "body")
    return value


def check_model(body: dict[str, Any], names: Sequence[str]) -> None:
    """Problem (404) for a name that is not served; none at all means the first."""
    name = body.get("model")
    if name and name not in names:
        message = f"The model `{name}` does not exist. Valid aliases: {', '.join(names)}."
        raise Problem(404, message, "NotFoundError", "model")


def question(api: Api, body: dict[str, Any], max_model_len: int) -> Question:
    """Problem (400) if the prompt has the wrong type or, with its answer, too many tokens."""
    prompt = _prompt(api, body)
    key = engine_text.key(prompt, body.get("seed"))
    asked = _max_tokens(body)
    default = COMPLETION_TOKENS if api is Api.COMPLETION else engine_text.natural_length(key)
    _check_length(len(prompt), asked, max_model_len)
    count = min(asked or default, max_model_len - len(prompt))
    options = body.get("stream_options") or {}
    return Question(
        api=api,
        prompt=prompt,
        answer=engine_text.answer(key, count),
        ends=asked is None and api is not Api.COMPLETION,
        stream=bool(body.get("stream")),
        usage=bool(options.get("include_usage")),
        key=key,
    )


def _prompt(api: Api, body: dict[str, Any]) -> list[str]:
    if api is Api.COMPLETION:
        if "prompt" not in body:
            raise _missing("prompt")
        return engine_text.prompt(body["prompt"]) or [""]
    if api is Api.RESPONSE and isinstance(body.get("input"), str):
        return engine_text.chat([{"role": "user", "content": body["input"]}])
    field = "input" if api is Api.RESPONSE else "messages"
    if field not in body:
        raise _missing(field)
    messages = body[field]
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise Problem(400, "Input should be a valid list", "Bad Request", f"body.{field}")
    first = body.get("instructions" if api is Api.RESPONSE else "system")
    system = [{"role": "system", "content": first}] if first else []
    return engine_text.chat(system + messages)


def _missing(field: str) -> Problem:
    return Problem(400, "Field required", "Bad Request", f"body.{field}")


def _max_tokens(body: dict[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        value = body.get(name)
        if isinstance(value, int) and value > 0:
            return value
    return None


def _check_length(prompt: int, asked: int | None, limit: int) -> None:
    if asked is not None and asked > limit:
        message = f"max_tokens={asked} cannot be greater than max_model_len={limit}."
        raise Problem(400, message, "BadRequestError", "max_tokens")
    if prompt + (asked or 1) > limit:
        shown = f"your prompt contains at least {prompt} input tokens"
        if prompt < limit:
            shown = f"you requested {asked} output tokens and {shown}"
        message = (
            f"This model's maximum context length is {limit} tokens. However, {shown}. Please "
            "reduce the length of the input prompt or the number of requested output tokens. "
            f"(parameter=input_tokens, value={prompt})"
        )
        raise Problem(400, message, "BadRequestError", "input_tokens")

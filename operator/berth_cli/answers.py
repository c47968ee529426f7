"""OpenAI's chat as the terminal speaks it: requests, and a stream's lines as what they mean. Pure.

https://platform.openai.com/docs/api-reference/chat/streaming
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

PATH_CHAT: Final = "/v1/chat/completions"
PATH_WAKE: Final = "/tokenize"
_DATA: Final = "data:"
_COMMENT: Final = ":"
_DONE: Final = "[DONE]"

Message = Mapping[str, str]


@dataclass(frozen=True)
class Piece:
    """Some of the answer; `thought` is what a reasoning model writes before it."""

    text: str = ""
    thought: str = ""


@dataclass(frozen=True)
class Waiting:
    """The gateway's words while it holds the request."""

    text: str


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Failed:
    text: str


@dataclass(frozen=True)
class Done:
    """The stream is whole."""


Event = Piece | Waiting | Usage | Failed | Done


def chat(model: str, messages: Sequence[Message]) -> dict[str, Any]:
    return {
        "model": model,
        "messages": list(messages),
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def wake(model: str) -> dict[str, Any]:
    """The least that an engine can be asked: it makes a gateway wake it, and computes nothing."""
    return {"model": model, "prompt": "."}


def event(line: str) -> Event | None:
    """What a stream's line says; None: nothing. A line that is no JSON is a failure."""
    line = line.strip()
    if line.startswith(_COMMENT):
        return Waiting(line.removeprefix(_COMMENT).strip())
    if not line.startswith(_DATA):
        return None
    data = line.removeprefix(_DATA).strip()
    if data == _DONE:
        return Done()
    try:
        return _event(json.loads(data))
    except (ValueError, AttributeError, TypeError, LookupError, RecursionError):
        return Failed(f"the answer has a line that is none of OpenAI's: {data[:200]}")


def _event(chunk: Mapping[str, Any]) -> Event | None:
    if "error" in chunk:
        return Failed(refusal(chunk))
    choices = chunk.get("choices") or ()
    if choices:
        delta = choices[0].get("delta") or {}
        thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
        return Piece(str(delta.get("content") or ""), str(thought))
    usage = chunk.get("usage")
    if not usage:
        return None
    return Usage(int(usage["prompt_tokens"]), int(usage["completion_tokens"]))


def refused(status: int, body: bytes) -> str:
    """What an answer that is no success says, of the gateway's or of a proxy before it."""
    try:
        return f"{refusal(json.loads(body))} (HTTP {status})"
    except (ValueError, AttributeError, TypeError, LookupError, RecursionError):
        told = body[:200].decode(errors="replace").strip()
        return f"HTTP {status}: {told}" if told else f"HTTP {status}"


def refusal(document: Mapping[str, Any]) -> str:
    found = document["error"]
    return str(found["message"] if isinstance(found, Mapping) else found)

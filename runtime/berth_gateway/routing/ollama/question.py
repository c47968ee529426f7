"""A request of Ollama's API, read into what the engine is asked in OpenAI's.

What Ollama would do and an engine of vLLM cannot is refused in words; docs/ollama.md has the list.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from berth_gateway.errors import Kind, Refusal
from berth_gateway.routing import jsontext, keep_alive
from berth_gateway.routing.ollama import fields, options
from berth_gateway.routing.ollama.fields import Json
from berth_gateway.routing.ollama.messages import parts, translate, written
from berth_gateway.routing.snapshot import Model
from berth_gateway.settings import Limits

MAX_TOP_LOGPROBS: Final = 20  # Ollama's own bound
# vLLM ends a completion after 16 tokens unless it is told, Ollama at the context's end. Where that
# is unknown: what Ollama once had as its default.
RAW_TOKENS: Final = 128
_JSON: Final = "json"
_CHAT: Final = b"/v1/chat/completions"
_COMPLETIONS: Final = b"/v1/completions"
_EMBEDDINGS: Final = b"/v1/embeddings"
_EFFORTS: Final = {"low": "low", "medium": "medium", "high": "high", "max": "high"}
_STREAMS: Final = {"stream": True, "stream_options": {"include_usage": True}}


class Endpoint(Enum):
    """Ollama's paths that engines work for."""

    CHAT = "/api/chat"
    GENERATE = "/api/generate"
    EMBED = "/api/embed"
    EMBEDDINGS = "/api/embeddings"  # its older form, for one text

    @property
    def verb(self) -> str:
        """What a model without it does not support."""
        return self.value.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Question:
    endpoint: Endpoint
    model: str  # as the client calls it
    keep_alive: float | None  # seconds, FOREVER; None: the model's own
    stream: bool = True
    path: bytes = b""  # the engine's; empty: nothing is asked, the model is to be loaded
    asked: Mapping[str, Any] = field(default_factory=dict, repr=False)  # OpenAI's fields but model
    inputs: int = 0  # texts that are to be embedded
    context: int | None = None  # options.num_ctx

    @property
    def unloads(self) -> bool:
        """Only these two of Ollama's paths do."""
        ends = self.endpoint in {Endpoint.CHAT, Endpoint.GENERATE}
        return ends and not self.path and self.keep_alive == 0

    def sent(self) -> "Question":
        """Without what the engine has by now: an answer may take long, and a prompt be large."""
        return replace(self, asked={})

    def body(self, model: Model, limits: Limits) -> bytes:
        """For an engine of `model`, in OpenAI's shape."""
        found = {"model": model.name, **self.asked}
        if self.path == _COMPLETIONS and options.MAX_TOKENS not in found:
            most = model.facts.context or RAW_TOKENS
            found[options.MAX_TOKENS] = min(most, limits.output_tokens)
        return written(found).encode()


def read(endpoint: Endpoint, raw: bytes, limits: Limits) -> Question:
    """Refusal (400, 413) if it is no JSON object of Ollama's, or asks for what there is not."""
    found = body(raw, limits)
    return _READERS[endpoint](found, limits)


def body(raw: bytes, limits: Limits) -> Json:
    """Its fields. Refusal (400, 413)."""
    if not raw:
        raise Refusal(Kind.BAD_REQUEST, "missing request body")
    jsontext.check_braces(raw)
    jsontext.check_depth(raw, limits.json_depth)
    return jsontext.read(raw).fields


def name(found: Json, *others: str) -> str:
    """The model's, by the first of these fields that has one."""
    given = (fields.text(found, one) for one in ("model", *others))
    model = next(filter(None, given), "")
    if not model:
        raise Refusal(Kind.BAD_REQUEST, "model is required", param="model")
    return model


def _chat(found: Json, limits: Limits) -> Question:
    messages = fields.objects(found, "messages")
    if not messages:
        return _load(Endpoint.CHAT, found, limits)
    asked: dict[str, Any] = {"messages": translate(messages)}
    if tools := fields.objects(found, "tools"):
        asked["tools"] = tools
    return _generates(Endpoint.CHAT, _CHAT, found, asked, limits)


def _generate(found: Json, limits: Limits) -> Question:
    prompt = fields.text(found, "prompt")
    if not prompt:
        return _load(Endpoint.GENERATE, found, limits)
    _check_generate(found)
    if fields.flag(found, "raw"):
        _check_raw(found)
        return _generates(Endpoint.GENERATE, _COMPLETIONS, found, {"prompt": prompt}, limits)
    system = fields.text(found, "system")
    content = parts(prompt, fields.texts(found, "images"))
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": content})
    return _generates(Endpoint.GENERATE, _CHAT, found, {"messages": messages}, limits)


def _check_generate(found: Json) -> None:
    """What no engine of vLLM does."""
    if fields.text(found, "suffix"):
        message = f'"{name(found)}" does not support insert'
        raise Refusal(Kind.BAD_REQUEST, message, param="suffix")
    raw = fields.flag(found, "raw")
    context = found.get("context")
    if raw and (context or fields.text(found, "template") or fields.text(found, "system")):
        message = "raw mode does not support template, system, or context"
        raise Refusal(Kind.BAD_REQUEST, message, param="raw")
    if fields.text(found, "template"):
        message = (
            "template is not accepted: the model's own chat template is used; leave it out, or "
            'write the whole prompt yourself and send "raw": true'
        )
        raise Refusal(Kind.BAD_REQUEST, message, param="template")
    if context:
        message = "context is not accepted: send the messages before this one to /api/chat instead"
        raise Refusal(Kind.BAD_REQUEST, message, param="context")


def _check_raw(found: Json) -> None:
    if fields.texts(found, "images"):
        message = "raw mode does not support images; leave raw out, or the images"
        raise Refusal(Kind.BAD_REQUEST, message, param="images")


def _generates(
    endpoint: Endpoint, path: bytes, found: Json, asked: Mapping[str, Any], limits: Limits
) -> Question:
    """The engine always streams: Ollama's durations are those between its tokens."""
    given = fields.document(found, "options")
    # In this order: an option cannot change what the gateway relies on.
    sampling = options.read(given, limits)
    thinking = _thinking(found)
    whole = sampling | _format(found) | _logprobs(found, path) | dict(asked) | _STREAMS
    if path == _CHAT:  # a raw prompt has no template to switch
        whole |= thinking
    return Question(
        endpoint=endpoint,
        model=name(found),
        keep_alive=keep_alive.keep_alive(found.get("keep_alive")),
        stream=fields.flag(found, "stream") is not False,
        path=path,
        asked=whole,
        context=options.context(given),
    )


def _load(endpoint: Endpoint, found: Json, limits: Limits) -> Question:
    """No prompt: the model is to be loaded, or to go."""
    given = fields.document(found, "options")
    options.read(given, limits)
    return Question(
        endpoint=endpoint,
        model=name(found),
        keep_alive=keep_alive.keep_alive(found.get("keep_alive")),
        stream=False,
        context=options.context(given),
    )


def _format(found: Json) -> dict[str, Any]:
    """Structured output: `json`, or a JSON schema."""
    value = found.get("format")
    if value in (None, ""):
        return {}
    if value == _JSON:
        return {"response_format": {"type": "json_object"}}
    if isinstance(value, dict):
        schema = {"name": "format", "schema": value}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    message = (
        f'invalid format: {jsontext.shown(value)}; expected "json" or a valid JSON Schema object'
    )
    raise Refusal(Kind.BAD_REQUEST, message, param="format")


def _thinking(found: Json) -> dict[str, Any]:
    """Templates know the switch by two names; levels are the engine's own business."""
    value = found.get("think")
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"chat_template_kwargs": {"enable_thinking": value, "thinking": value}}
    if not isinstance(value, str) or value not in _EFFORTS:
        wanted = 'true, false, "low", "medium", "high" or "max"'
        raise fields.wrong("think", value, wanted)
    switches = {"enable_thinking": True, "thinking": True}
    return {"chat_template_kwargs": switches, "reasoning_effort": _EFFORTS[value]}


def _logprobs(found: Json, path: bytes) -> dict[str, Any]:
    top = fields.number(found, "top_logprobs")
    if not 0 <= top <= MAX_TOP_LOGPROBS:
        message = f"top_logprobs must be between 0 and {MAX_TOP_LOGPROBS}"
        raise Refusal(Kind.BAD_REQUEST, message, param="top_logprobs")
    if not fields.flag(found, "logprobs"):
        return {}
    return {"logprobs": top} if path == _COMPLETIONS else {"logprobs": True, "top_logprobs": top}


def _embed(found: Json, limits: Limits) -> Question:
    value = found.get("input")
    inputs = [value] if isinstance(value, str) and value else value or []
    if not isinstance(inputs, list) or not all(isinstance(one, str) for one in inputs):
        raise Refusal(Kind.BAD_REQUEST, "invalid input type", param="input")
    size = fields.number(found, "dimensions")
    more = {"dimensions": size} if size > 0 else {}
    cuts = fields.flag(found, "truncate") is not False
    return _embeds(Endpoint.EMBED, found, inputs, more, limits, cuts=cuts)


def _embeddings(found: Json, limits: Limits) -> Question:
    prompt = fields.text(found, "prompt")
    inputs = [prompt] if prompt else []
    return _embeds(Endpoint.EMBEDDINGS, found, inputs, {}, limits, cuts=True)


def _embeds(
    endpoint: Endpoint,
    found: Json,
    inputs: list[str],
    more: Mapping[str, Any],
    limits: Limits,
    *,
    cuts: bool,
) -> Question:
    """`cuts`: the engine takes of each text what its context has room for."""
    given = fields.document(found, "options")
    options.read(given, limits)
    asked: dict[str, Any] = {"input": inputs, "encoding_format": "float", **more}
    if cuts:
        asked |= {"truncate_prompt_tokens": -1, "truncation_side": "right"}
    return Question(
        endpoint=endpoint,
        model=name(found),
        keep_alive=keep_alive.keep_alive(found.get("keep_alive")),
        stream=False,
        path=_EMBEDDINGS if inputs else b"",
        asked=asked,
        inputs=len(inputs),
        context=options.context(given),
    )


_READERS: Final[Mapping[Endpoint, Callable[[Json, Limits], Question]]] = {
    Endpoint.CHAT: _chat,
    Endpoint.GENERATE: _generate,
    Endpoint.EMBED: _embed,
    Endpoint.EMBEDDINGS: _embeddings,
}

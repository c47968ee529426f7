"""Answers in vLLM's documents and events: chat, completions, responses and messages. Pure.

A stream is an opening, one event per token and a closing. Events are cut into bytes once per
stream, so that a token costs no JSON.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from standins.engine_requests import Api, Question

DONE = b"data: [DONE]\n\n"
# Stands for a token, and for a number, in a document that is cut there.
_TOKEN, _NUMBER = "\x02", -987654321


@dataclass(frozen=True, slots=True)
class Frames:
    """`token(place, text)` is one event; `closing` takes the number of tokens that were sent."""

    opening: bytes
    token: Callable[[int, str], bytes]
    closing: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Writer:
    """One request's answer; `serial` and `created` are all that differs between equal requests."""

    asked: Question
    model: str
    serial: str
    created: int  # Unix time

    def whole(self) -> dict[str, Any]:
        return _WHOLE[self.asked.api](self)

    def frames(self) -> Frames:
        return _FRAMES[self.asked.api](self)

    @property
    def text(self) -> str:
        return "".join(self.asked.answer)

    def reason(self, by_itself: str, cut: str) -> str:
        return by_itself if self.asked.ends else cut

    def usage(self, completion: int) -> dict[str, Any]:
        """OpenAI's; vLLM leaves the details out by default."""
        prompt = len(self.asked.prompt)
        return {
            "prompt_tokens": prompt,
            "total_tokens": prompt + completion,
            "completion_tokens": completion,
            "prompt_tokens_details": None,
        }


def error_event(document: dict[str, Any]) -> bytes:
    """How vLLM ends a stream whose headers are gone."""
    return _event(document) + DONE


def _event(document: dict[str, Any], name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(document, separators=(',', ':'))}\n\n".encode()


def _cut(event: bytes) -> tuple[bytes, bytes]:
    """What stands before and behind the token."""
    before, _, behind = event.partition(json.dumps(_TOKEN)[1:-1].encode())
    return before, behind


def _completions(writer: Writer) -> dict[str, Any]:
    choice = {
        "index": 0, "text": writer.text, "logprobs": None,
        "finish_reason": writer.reason("stop", "length"), "stop_reason": None,
        "token_ids": None, "prompt_logprobs": None, "prompt_token_ids": None,
    }  # fmt: skip
    usage = writer.usage(len(writer.asked.answer))
    return _openai(writer, "text_completion") | {"choices": [choice], "usage": usage}


def _chat(writer: Writer) -> dict[str, Any]:
    message = {
        "role": "assistant", "content": writer.text, "refusal": None, "annotations": None,
        "audio": None, "function_call": None, "tool_calls": [], "reasoning": None,
    }  # fmt: skip
    choice = {
        "index": 0, "message": message, "logprobs": None,
        "finish_reason": writer.reason("stop", "length"), "stop_reason": None, "token_ids": None,
    }  # fmt: skip
    usage = writer.usage(len(writer.asked.answer))
    return _openai(writer, "chat.completion") | {"choices": [choice], "usage": usage}


def _openai(writer: Writer, kind: str) -> dict[str, Any]:
    prefix = "cmpl" if kind == "text_completion" else "chatcmpl"
    return {
        "id": f"{prefix}-{writer.serial}",
        "object": kind,
        "created": writer.created,
        "model": writer.model,
    }


def _openai_frames(writer: Writer) -> Frames:
    chat = writer.asked.api is Api.CHAT
    envelope = _openai(writer, "chat.completion.chunk" if chat else "text_completion")

    def event(text: str, reason: str | None) -> bytes:
        piece = {"delta": {"content": text}} if chat else {"text": text}
        choice = {"index": 0, **piece, "logprobs": None, "finish_reason": reason}
        return _event(envelope | {"choices": [choice]})

    before, behind = _cut(event(_TOKEN, None))
    last_before, last_behind = _cut(event(_TOKEN, writer.reason("stop", "length")))
    last = len(writer.asked.answer) - 1

    def token(place: int, text: str) -> bytes:
        if place == last:
            return last_before + text.encode() + last_behind
        return before + text.encode() + behind

    def closing(sent: int) -> bytes:
        usage = {"choices": [], "usage": writer.usage(sent)}
        return (_event(envelope | usage) if writer.asked.usage else b"") + DONE

    role = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None}
    opening = _event(envelope | {"choices": [role | {"finish_reason": None}]}) if chat else b""
    return Frames(opening, token, closing)


def _response(writer: Writer, status: str = "completed") -> dict[str, Any]:
    done = status == "completed"
    count = len(writer.asked.answer)
    prompt = len(writer.asked.prompt)
    usage = {"input_tokens": prompt, "output_tokens": count, "total_tokens": prompt + count}
    return {
        "id": f"resp_{writer.serial}",
        "object": "response",
        "created_at": writer.created,
        "model": writer.model,
        "status": status,
        "output": [_item(writer, status)] if done else [],
        "incomplete_details": None,
        "usage": usage if done else None,
    }


def _item(writer: Writer, status: str) -> dict[str, Any]:
    content = [_part(writer.text)] if status == "completed" else []
    known = {"id": f"msg_{writer.serial}", "type": "message", "role": "assistant"}
    return known | {"status": status, "content": content}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": None}


def _response_frames(writer: Writer) -> Frames:
    text = {"item_id": f"msg_{writer.serial}", "output_index": 0, "content_index": 0}
    running = "in_progress"

    def event(kind: str, number: int, **fields: Any) -> bytes:
        return _event({"type": f"response.{kind}", "sequence_number": number, **fields},
                      f"response.{kind}")  # fmt: skip

    def token(place: int, piece: str) -> bytes:
        return before + str(len(opening) + place).encode() + between + piece.encode() + behind

    def closing(sent: int) -> bytes:
        at = len(opening) + sent
        item, part = _item(writer, "completed"), _part(writer.text)
        return b"".join((
            event("output_text.done", at, **text, text=writer.text),
            event("content_part.done", at + 1, **text, part=part),
            event("output_item.done", at + 2, output_index=0, item=item),
            event("completed", at + 3, response=_response(writer)),
        ))  # fmt: skip

    opening = (
        event("created", 0, response=_response(writer, running)),
        event("in_progress", 1, response=_response(writer, running)),
        event("output_item.added", 2, output_index=0, item=_item(writer, running)),
        event("content_part.added", 3, **text, part=_part("")),
    )
    head, behind = _cut(event("output_text.delta", _NUMBER, **text, delta=_TOKEN, logprobs=[]))
    before, _, between = head.partition(str(_NUMBER).encode())
    return Frames(b"".join(opening), token, closing)


def _message(writer: Writer) -> dict[str, Any]:
    return _message_shell(writer) | {
        "content": [{"type": "text", "text": writer.text}],
        "stop_reason": writer.reason("end_turn", "max_tokens"),
        "usage": _message_usage(writer, len(writer.asked.answer)),
    }


def _message_shell(writer: Writer) -> dict[str, Any]:
    return {
        "id": f"msg_{writer.serial}", "type": "message", "role": "assistant", "content": [],
        "model": writer.model, "stop_reason": None, "stop_sequence": None,
        "usage": _message_usage(writer, 0),
    }  # fmt: skip


def _message_usage(writer: Writer, sent: int) -> dict[str, int]:
    return {"input_tokens": len(writer.asked.prompt), "output_tokens": sent}


def _message_frames(writer: Writer) -> Frames:
    def event(kind: str, **fields: Any) -> bytes:
        return _event({"type": kind, **fields}, kind)

    delta = {"type": "text_delta", "text": _TOKEN}
    before, behind = _cut(event("content_block_delta", index=0, delta=delta))
    opening = event("message_start", message=_message_shell(writer)) + event(
        "content_block_start", index=0, content_block={"type": "text", "text": ""}
    )

    def token(_: int, piece: str) -> bytes:
        return before + piece.encode() + behind

    def closing(sent: int) -> bytes:
        ended = {"stop_reason": writer.reason("end_turn", "max_tokens"), "stop_sequence": None}
        return b"".join((
            event("content_block_stop", index=0),
            event("message_delta", delta=ended, usage=_message_usage(writer, sent)),
            event("message_stop"),
        ))  # fmt: skip

    return Frames(opening, token, closing)


_WHOLE: dict[Api, Callable[[Writer], dict[str, Any]]] = {
    Api.CHAT: _chat,
    Api.COMPLETION: _completions,
    Api.RESPONSE: _response,
    Api.MESSAGE: _message,
}
_FRAMES: dict[Api, Callable[[Writer], Frames]] = {
    Api.CHAT: _openai_frames,
    Api.COMPLETION: _openai_frames,
    Api.RESPONSE: _response_frames,
    Api.MESSAGE: _message_frames,
}

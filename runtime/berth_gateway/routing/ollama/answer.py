"""An engine's stream of events, as Ollama's lines. Fed with bytes in any cut; pure but for memory.

The answer is done when the engine has said why it ended and that it has: whatever is missing of
that is a failure, and a failure is never followed by a line that says `done`.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from berth_gateway.routing.bounds import ABSENT
from berth_gateway.routing.ollama.question import Endpoint, Question

_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"
_NULL: Final = bytes(ABSENT)
_NANOSECONDS: Final = 1_000_000_000
# A token with the log probabilities of twenty others takes 4 KB; tool calls may come in one piece.
MAX_EVENT_BYTES: Final = 2**20
# Of texts and log probabilities that a client wants in one piece: eight times the longest answer
# without the latter.
MAX_WHOLE_BYTES: Final = 8 * 2**20
_REASONS: Final = {"stop": "stop", "length": "length", "tool_calls": "stop"}
_ERROR_STATUSES: Final = range(400, 600)
_FAILED: Final = 500
_BAD_REQUEST: Final = 400
_NO_SUCH_PATH: Final = 404
LOST: Final = "the engine stopped before the answer was complete"


class Moment(NamedTuple):
    """When bytes arrived."""

    seconds: float  # monotonic
    told: str  # as RFC 3339 has it


class Failed(NamedTuple):
    """Why there is no more of an answer, and the status that it would have had from the start."""

    status: int
    message: str


class Loaded(NamedTuple):
    """What came before the engine's first byte. Seconds, on the clock of `Moment`."""

    started: float
    held: float = 0.0  # how long the request waited for a replica


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None  # its older name
    tool_calls: list[_ToolCall] | None = None


class _Logprobs(msgspec.Struct, gc=False):
    content: list[msgspec.Raw] | None = None  # of a chat: as Ollama has them
    tokens: list[str] | None = None  # of a completion: rows beside each other
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    text: str | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int = 0
    completion_tokens: int | None = 0


class _Event(msgspec.Struct, gc=False):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: msgspec.Raw = ABSENT


_EVENT: Final = msgspec.json.Decoder(_Event)
_encode: Final = msgspec.json.encode


@dataclass(slots=True)
class _Call:
    """A tool call, of which engines tell a piece at a time."""

    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    def add(self, more: _ToolCall) -> None:
        self.id = more.id or self.id
        if more.function is not None:
            self.name = more.function.name or self.name
            self.pieces.append(more.function.arguments or "")

    def arguments(self) -> Any:
        """None where they are no object, as of a call that was cut off."""
        try:
            found = msgspec.json.decode("".join(self.pieces) or "{}")
        except (msgspec.MsgspecError, RecursionError):
            return None
        return found if isinstance(found, dict) else None


@dataclass(slots=True)
class _Piece:
    """What one line, or the whole answer, has to say."""

    text: str = ""
    thinking: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    logprobs: list[Any] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.text or self.thinking or self.tool_calls or self.logprobs)

    def fields(self, endpoint: Endpoint) -> dict[str, Any]:
        """Ollama leaves out what is empty, but never the text."""
        calls = {"tool_calls": self.tool_calls} if self.tool_calls else {}
        thinking = {"thinking": self.thinking} if self.thinking else {}
        if endpoint is Endpoint.CHAT:
            message = {"role": "assistant", "content": self.text, **thinking, **calls}
            found: dict[str, Any] = {"message": message}
        else:
            found = {"response": self.text, **thinking, **calls}
        return found | ({"logprobs": self.logprobs} if self.logprobs else {})


class Generation:
    """The answer to one chat or prompt."""

    def __init__(self, endpoint: Endpoint, model: str, loaded: Loaded, *, stream: bool) -> None:
        """`model` is what the client called it."""
        self.failed: Failed | None = None
        self.done = False
        self._endpoint = endpoint
        self._model = model
        self._loaded = loaded
        self._stream = stream
        self._left = b""  # of a line whose end is still to come
        self._calls: dict[int, _Call] = {}
        self._kept: list[_Piece] = []  # of an answer in one piece
        self._size = 0  # of those
        self._reason: str | None = None
        self._usage = _Usage()
        self._first: float | None = None  # when the first token came

    def take(self, data: bytes, now: Moment, *, last: bool) -> bytes:
        """The lines that these bytes complete; the `last` end the engine's body."""
        *lines, self._left = (self._left + data).split(b"\n")
        if len(self._left) > MAX_EVENT_BYTES:
            self._fail(_FAILED, f"the engine sent an event of more than {MAX_EVENT_BYTES} bytes")
        said = b"".join(self._line(one.strip(), now) for one in lines)
        if last and not self.done:
            self._fail(_FAILED, LOST)
        return said

    def _line(self, line: bytes, now: Moment) -> bytes:
        if self.failed or self.done or not line.startswith(_DATA):
            return b""
        data = line[len(_DATA) :].strip()
        if data == _DONE:
            return self._finish(now)
        try:
            event = _EVENT.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._fail(_FAILED, "the engine sent an event that cannot be read")
            return b""
        if bytes(event.error) != _NULL:
            self._fail(*told(bytes(event.error)))
            return b""
        return self._event(event, now)

    def _event(self, event: _Event, now: Moment) -> bytes:
        self._usage = event.usage or self._usage
        if not event.choices:
            return b""
        choice = event.choices[0]
        piece = self._piece(choice)
        if self._first is None and (piece or self._calls):
            self._first = now.seconds
        if choice.finish_reason is not None:
            self._reason = choice.finish_reason
            self._tell_calls(piece)
        return self._say(piece, now) if piece else b""

    def _piece(self, choice: _Choice) -> _Piece:
        delta = choice.delta or _Delta()
        for call in delta.tool_calls or ():
            self._calls.setdefault(call.index, _Call()).add(call)
        return _Piece(
            text=choice.text or delta.content or "",
            thinking=delta.reasoning or delta.reasoning_content or "",
            logprobs=_logprobs(choice.logprobs),
        )

    def _tell_calls(self, piece: _Piece) -> None:
        """Those that are whole; what is left of one that was cut off is told as the text it is."""
        for index, call in sorted(self._calls.items()):
            arguments = call.arguments()
            if arguments is None:
                piece.text += "".join(call.pieces)
                continue
            function = {"index": index, "name": call.name, "arguments": arguments}
            known = {"id": call.id} if call.id else {}
            piece.tool_calls.append(known | {"function": function})
        self._calls = {}

    def _say(self, piece: _Piece, now: Moment) -> bytes:
        if self._stream:
            return self._written(piece.fields(self._endpoint) | {"done": False}, now)
        self._size += len(piece.text) + len(piece.thinking) + sum(map(_size, piece.logprobs))
        if self._size > MAX_WHOLE_BYTES:
            message = f'the answer is larger than {MAX_WHOLE_BYTES} bytes; ask with "stream": true'
            self._fail(_FAILED, message)
        self._kept.append(piece)
        return b""

    def _finish(self, now: Moment) -> bytes:
        reason = _REASONS.get(self._reason or "")
        if reason is None:
            why = f" ({self._reason})" if self._reason else ""
            self._fail(_FAILED, f"{LOST}{why}")
            return b""
        self.done = True
        last = _joined(self._kept).fields(self._endpoint)
        ended = {"done": True, "done_reason": reason}
        return self._written(last | ended | self._metrics(now), now)

    def _metrics(self, now: Moment) -> dict[str, int]:
        """Nanoseconds, and the engine's own counts."""
        loaded, usage = self._loaded, self._usage
        first = now.seconds if self._first is None else self._first
        return {
            "total_duration": nanoseconds(now.seconds - loaded.started),
            "load_duration": nanoseconds(loaded.held),
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": nanoseconds(first - loaded.started - loaded.held),
            "eval_count": usage.completion_tokens or 0,
            "eval_duration": nanoseconds(now.seconds - first),
        }

    def _written(self, fields: dict[str, Any], now: Moment) -> bytes:
        return _encode({"model": self._model, "created_at": now.told, **fields}) + b"\n"

    def _fail(self, status: int, message: str) -> None:
        self.failed = self.failed or Failed(status, message)


def loaded(endpoint: Endpoint, model: str, reason: str, now: Moment) -> bytes:
    """The answer to a request without a prompt."""
    if endpoint is Endpoint.EMBEDDINGS:
        return _encode({"embedding": []}) + b"\n"
    if endpoint is Endpoint.EMBED:
        return _encode({"model": model, "embeddings": []}) + b"\n"
    ended = {"done": True, "done_reason": reason}
    said = {"model": model, "created_at": now.told, **_Piece().fields(endpoint), **ended}
    return _encode(said) + b"\n"


def refused(asked: Question, status: int, raw: bytes) -> Failed:
    """An engine's answer that is an error. VLLM has a path only for what its model can do."""
    if status == _NO_SUCH_PATH:
        return Failed(_BAD_REQUEST, f'"{asked.model}" does not support {asked.endpoint.verb}')
    document = _read(raw)
    error = document.get("error") if isinstance(document, dict) else None
    return Failed(status, _words(error) or f"the engine answered with status {status}")


def told(raw: bytes) -> Failed:
    """An engine's error in its stream, {message, code} or a text, as it came."""
    error = _read(raw)
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and code in _ERROR_STATUSES else _FAILED
    return Failed(status, _words(error) or "the engine failed")


def _read(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _words(error: Any) -> str:
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""


def nanoseconds(seconds: float) -> int:
    return max(round(seconds * _NANOSECONDS), 0)


def _joined(pieces: Iterable[_Piece]) -> _Piece:
    whole = _Piece()
    texts, thoughts = [], []
    for one in pieces:
        texts.append(one.text)
        thoughts.append(one.thinking)
        whole.tool_calls += one.tool_calls
        whole.logprobs += one.logprobs
    whole.text, whole.thinking = "".join(texts), "".join(thoughts)
    return whole


def _logprobs(given: _Logprobs | None) -> list[Any]:
    if given is None:
        return []
    if given.content is not None:
        return [one.copy() for one in given.content]  # or each would keep its event alive
    tops = given.top_logprobs or [None] * len(given.tokens or ())
    rows = zip(given.tokens or (), given.token_logprobs or (), tops, strict=False)
    return [_row(token, logprob, top or {}) for token, logprob, top in rows]


def _row(token: str, logprob: float | None, top: dict[str, float]) -> dict[str, Any]:
    found: dict[str, Any] = {"token": token, "logprob": logprob or 0.0}
    if top:
        found["top_logprobs"] = [{"token": one, "logprob": value} for one, value in top.items()]
    return found


def _size(logprob: Any) -> int:
    return len(memoryview(logprob)) if isinstance(logprob, msgspec.Raw) else len(_encode(logprob))

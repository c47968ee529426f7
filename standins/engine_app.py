"""The stand-in's HTTP face: vLLM's paths on a bare ASGI application.

No framework in the path of a token: thousands of streams share one core with the step loop.
"""

import asyncio
import json
import os
import signal
import socket
import struct
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from standins import engine_answers, engine_cache, engine_pooling, engine_requests, engine_text
from standins.engine_answers import Writer
from standins.engine_faults import Fate, Fates
from standins.engine_loop import Aborted, Answer, Gone, Loop, Refused
from standins.engine_metrics import Page
from standins.engine_requests import Api, Problem, Question
from standins.engine_steps import Asked

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

VERSION = "0.32.0"
# A scope's key for the connection itself, which faults close or soil (`engine.Protocol`).
TRANSPORT = "standin.transport"
_EVENT_STREAM = b"text/event-stream; charset=utf-8"
_JSON = b"application/json"
_GARBAGE = b"\x16\x03\x01\x00\xff not HTTP \x00\x00\r\n\r\n"
# vLLM guards these and leaves /metrics, /tokenize and others open.
_GUARDED = ("/v1", "/v2", "/inference", "/cohere")


@dataclass
class Engine:
    """What the application speaks for."""

    names: Sequence[str]
    max_model_len: int
    kv_cache_bytes: int
    loop: Loop
    fates: Fates
    task: str = "generate"
    api_key: str | None = None
    deterministic: bool = False  # equal requests get equal bytes
    tracks_load: bool = False
    draining: bool = False
    dead: bool = False
    crash: asyncio.Event | None = None  # set by the first request, where one is to crash it
    in_flight: int = 0  # requests of every sort that the server is answering

    def asked(self, question: Question) -> Asked:
        tokens = [*question.prompt, *question.answer]
        hashes = engine_cache.chained(tokens, self.loop.scheduler.limits.block_tokens)
        return Asked(len(question.prompt), len(question.answer), hashes)

    def page(self) -> bytes:
        loop = self.loop
        page = Page(
            loop.scheduler, loop.measured, self.names[0], self.kv_cache_bytes, loop.arriving
        )
        return page.text()


@dataclass
class Exchange:
    scope: Scope
    receive: Receive
    send: Send
    begun: bool = field(default=False)  # the headers are gone

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    async def body(self) -> bytes:
        """Gone if the client left before its end."""
        parts = []
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                return b"".join(parts)

    async def begin(self, status: int, kind: bytes, *more: tuple[bytes, bytes]) -> None:
        self.begun = True
        headers = [(b"content-type", kind), *more]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes, *, more: bool = True) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": more})

    async def whole(self, status: int, data: bytes, kind: bytes = _JSON) -> None:
        await self.begin(status, kind, (b"content-length", str(len(data)).encode()))
        await self.write(data, more=False)

    async def document(self, value: Any, status: int = 200) -> None:
        await self.whole(status, json.dumps(value, separators=(",", ":")).encode())

    async def refuse(self, problem: Problem) -> None:
        """As an answer of its own, or in the stream where the headers are gone."""
        if self.begun:
            await self.write(engine_answers.error_event(problem.document()), more=False)
        else:
            await self.document(problem.document(), problem.status)

    def close(self, garbage: bytes = b"") -> None:
        transport = self.scope[TRANSPORT]
        if garbage:
            transport.write(garbage)
        transport.close()

    def reset(self) -> None:
        transport = self.scope[TRANSPORT]
        now = struct.pack("ii", 1, 0)  # linger for no time at all: a reset instead of an end
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
        transport.abort()


Handler = Callable[[Exchange], Awaitable[None]]


class Application:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._routes: dict[str, tuple[str, Handler]] = {
            "/health": ("GET", self._health),
            "/ping": ("GET POST", self._health),
            "/version": ("GET", self._version),
            "/load": ("GET", self._load),
            "/metrics": ("GET", self._metrics),
            "/v1/models": ("GET", self._models),
            "/tokenize": ("POST", self._tokenize),
            "/detokenize": ("POST", self._detokenize),
            **self._task_routes(),
        }

    def _task_routes(self) -> dict[str, tuple[str, Handler]]:
        """VLLM has a path only for a task that the model has."""
        if self._engine.task == "generate":
            return {api.value: ("POST", self._generate) for api in Api}
        scores = dict.fromkeys(("/score", "/v1/score"), ("POST", self._score))
        ranks = dict.fromkeys(("/rerank", "/v1/rerank", "/v2/rerank"), ("POST", self._rerank))
        embeds = {"/v1/embeddings": ("POST", self._embed)} if self._engine.task == "embed" else {}
        return {**scores, **ranks, **embeds}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._answer(Exchange(scope, receive, send))
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _answer(self, exchange: Exchange) -> None:
        self._engine.in_flight += 1
        try:
            await self._handle(exchange)
        except Problem as problem:
            await exchange.refuse(problem)
        except Refused:
            await exchange.refuse(engine_requests.busy())
        except Aborted:
            await exchange.refuse(engine_requests.dead())
        except Gone:
            pass
        finally:
            self._engine.in_flight -= 1

    async def _handle(self, exchange: Exchange) -> None:
        if not self._permitted(exchange):
            await exchange.document({"error": "Unauthorized"}, 401)
            return
        methods, handler = self._routes.get(exchange.path, ("", None))
        if handler is None:
            await exchange.document({"detail": "Not Found"}, 404)
        elif exchange.scope["method"] not in methods.split():
            await exchange.document({"detail": "Method Not Allowed"}, 405)
        else:
            await handler(exchange)

    def _permitted(self, exchange: Exchange) -> bool:
        if self._engine.api_key is None or not exchange.path.startswith(_GUARDED):
            return True
        given = dict(exchange.scope["headers"]).get(b"authorization", b"")
        return bool(given == b"Bearer " + self._engine.api_key.encode())

    async def _health(self, exchange: Exchange) -> None:
        await exchange.whole(503 if self._engine.dead else 200, b"")

    async def _version(self, exchange: Exchange) -> None:
        await exchange.document({"version": VERSION})

    async def _load(self, exchange: Exchange) -> None:
        engine = self._engine
        await exchange.document({"server_load": engine.loop.in_flight * engine.tracks_load})

    async def _metrics(self, exchange: Exchange) -> None:
        await exchange.whole(200, self._engine.page(), b"text/plain; version=0.0.4; charset=utf-8")

    async def _models(self, exchange: Exchange) -> None:
        cards = [
            {"id": name, "object": "model", "created": 0, "owned_by": "vllm", "root": name,
             "parent": None, "max_model_len": self._engine.max_model_len, "permission": []}
            for name in self._engine.names
        ]  # fmt: skip
        await exchange.document({"object": "list", "data": cards})

    async def _tokenize(self, exchange: Exchange) -> None:
        body = await self._named(exchange)
        chat = "messages" in body
        found = engine_text.chat(body["messages"]) if chat else engine_text.tokens(_prompt(body))
        numbers = [engine_text.number(token) for token in found]
        known = {"count": len(numbers), "max_model_len": self._engine.max_model_len}
        await exchange.document(known | {"tokens": numbers, "token_strs": None})

    async def _detokenize(self, exchange: Exchange) -> None:
        body = await self._named(exchange)
        await exchange.document({"prompt": engine_text.text(body.get("tokens", []))})

    async def _named(self, exchange: Exchange) -> dict[str, Any]:
        """The body of a request for a model that is served. Problem."""
        body = engine_requests.decode(await exchange.body())
        engine_requests.check_model(body, self._engine.names)
        return body

    async def _generate(self, exchange: Exchange) -> None:
        fate = self._engine.fates.next()
        raw = await exchange.body()
        if await self._strike(exchange, fate):
            return
        body = engine_requests.decode(raw)
        engine_requests.check_model(body, self._engine.names)
        question = engine_requests.question(Api(exchange.path), body, self._engine.max_model_len)
        self._admit()
        reason = "stop" if question.ends else "length"
        answer = self._engine.loop.ask(self._engine.asked(question), reason)
        writer = self._writer(question)
        with _watched(exchange, answer, self._engine.loop):
            if question.stream:
                await _stream(exchange, writer, answer, fate.cut_after)
            else:
                await answer.more(len(question.answer) - 1)
                await exchange.document(writer.whole())

    async def _strike(self, exchange: Exchange, fate: Fate) -> bool:
        """Whether the request has met its end."""
        if fate.die:
            os.kill(os.getpid(), signal.SIGKILL)
        if fate.freeze:
            self.freeze()
        await asyncio.sleep(fate.headers_seconds)
        if fate.reset:
            exchange.reset()
        elif fate.garbage:
            exchange.close(_GARBAGE)
        elif fate.error_status == 503:
            await exchange.refuse(engine_requests.busy())
        elif fate.error_status:
            kind = "Too Many Requests" if fate.error_status == 429 else "InternalServerError"
            await exchange.refuse(Problem(fate.error_status, "asked for by the test", kind))
        return fate.reset or fate.garbage or fate.error_status is not None

    def freeze(self) -> None:
        seconds = self._engine.fates.faults.freeze_seconds
        self._engine.loop.frozen_until = asyncio.get_running_loop().time() + seconds

    def _admit(self) -> None:
        """The check at the door, before any header. Problem (500, 503)."""
        if self._engine.crash is not None:
            self._engine.dead = True
            self._engine.crash.set()
        if self._engine.dead:
            raise engine_requests.dead()
        if self._engine.draining:
            raise engine_requests.dead(engine_requests.SHUT_DOWN)
        if self._engine.loop.full:
            self._engine.loop.measured.rejected["max_num_queued_reqs"] += 1
            raise engine_requests.busy()

    def _writer(self, question: Question) -> Writer:
        if self._engine.deterministic:
            created = int.from_bytes(question.key[:4], "big")
            return Writer(question, self._engine.names[0], question.key.hex()[:32], created)
        return Writer(question, self._engine.names[0], uuid.uuid4().hex, int(time.time()))

    async def _embed(self, exchange: Exchange) -> None:
        body = await self._named(exchange)
        inputs = engine_pooling.texts(body.get("input", ""))
        count = await self._pool(exchange, inputs)
        await exchange.document(self._list(engine_pooling.embedded(inputs), count))

    async def _score(self, exchange: Exchange) -> None:
        body = await self._named(exchange)
        query = str(body.get("text_1", body.get("queries", "")))
        documents = engine_pooling.texts(body.get("text_2", body.get("documents", "")))
        count = await self._pool(exchange, [query + text for text in documents])
        await exchange.document(self._list(engine_pooling.scored(query, documents), count))

    async def _rerank(self, exchange: Exchange) -> None:
        body = await self._named(exchange)
        query = str(body.get("query", ""))
        documents = engine_pooling.texts(body.get("documents", []))
        count = await self._pool(exchange, [query + text for text in documents])
        document = {
            "id": f"rerank-{uuid.uuid4().hex}",
            "model": self._engine.names[0],
            "usage": {"prompt_tokens": count, "total_tokens": count},
            "results": engine_pooling.ranked(query, documents, body.get("top_n")),
        }
        await exchange.document(document)

    def _list(self, rows: list[dict[str, Any]], count: int) -> dict[str, Any]:
        usage = {"prompt_tokens": count, "total_tokens": count, "completion_tokens": 0}
        return {
            "id": f"embd-{uuid.uuid4().hex}",
            "object": "list",
            "created": int(time.time()),
            "model": self._engine.names[0],
            "data": rows,
            "usage": usage,
        }

    async def _pool(self, exchange: Exchange, texts: Sequence[str]) -> int:
        """One prefill per text; the number of tokens."""
        self._admit()
        found = [engine_text.tokens(text) or [""] for text in texts]
        for one in found:
            answer = self._engine.loop.ask(Asked(len(one), 1), "stop")
            with _watched(exchange, answer, self._engine.loop):
                await answer.more(0)
        return sum(map(len, found))


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _stream(
    exchange: Exchange, writer: Writer, answer: Answer, cut_after: int | None
) -> None:
    frames, words = writer.frames(), writer.asked.answer
    last = len(words) if cut_after is None else min(cut_after, len(words))
    await exchange.begin(200, _EVENT_STREAM)
    sent, lead = 0, frames.opening
    while sent < last:
        ready = min(await answer.more(sent), last)
        events = [frames.token(place, words[place]) for place in range(sent, ready)]
        sent = ready
        ended = sent == len(words)
        tail = frames.closing(sent) if ended else b""
        await exchange.write(b"".join((lead, *events, tail)), more=not ended)
        lead = b""
    if sent < len(words):
        exchange.close()


@contextmanager
def _watched(exchange: Exchange, answer: Answer, loop: Loop) -> Any:
    """The engine forgets a request whose client has left."""
    gone = asyncio.ensure_future(exchange.receive())
    gone.add_done_callback(lambda _: answer.tell(Gone()))
    try:
        yield
    finally:
        gone.cancel()
        loop.leave(answer)


def _prompt(body: dict[str, Any]) -> str:
    return str(body.get("prompt", ""))

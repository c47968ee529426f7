"""The stand-in's HTTP face: the parts of vLLM's API that Berth and its tests speak to.

Tokens are the words w0, w1, ... at a set speed; at most `max_num_seqs` requests run at once.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

BLOCK_TOKENS = 128
DEFAULT_TOKENS = 16  # vLLM's default for completions


@dataclass
class Engine:
    """The stand-in's state; one event loop touches it."""

    models: list[str]
    max_model_len: int
    max_num_seqs: int
    kv_cache_bytes: int
    tokens_per_second: float
    task: str = "generate"
    frozen: bool = False
    running: int = 0
    waiting: int = 0
    steps: int = 0
    generated: int = 0
    prompted: int = 0
    aborted: asyncio.Event = field(default_factory=asyncio.Event)
    crash_on_request: asyncio.Event | None = None
    places: asyncio.Semaphore | None = None

    def place(self) -> asyncio.Semaphore:
        self.places = self.places or asyncio.Semaphore(self.max_num_seqs)
        return self.places

    async def step(self) -> None:
        if self.frozen:
            await self.aborted.wait()
        await asyncio.sleep(1 / self.tokens_per_second)
        if self.aborted.is_set():
            raise AbortedError
        self.steps += 1
        self.generated += 1


class AbortedError(Exception):
    """SIGTERM or a crash took the engine away under the request."""


DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."


def error(status: int, message: str, kind: str, param: str | None = None) -> JSONResponse:
    body = {"error": {"message": message, "type": kind, "param": param, "code": status}}
    return JSONResponse(body, status)


def application(engine: Engine) -> FastAPI:
    app = FastAPI()

    @app.get("/health")
    async def health() -> Response:
        return Response(status_code=503 if engine.aborted.is_set() else 200)

    @app.get("/version")
    async def version() -> dict[str, str]:
        return {"version": "0.32.0"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        cards = [
            {"id": name, "object": "model", "created": 0, "owned_by": "vllm", "root": name,
             "parent": None, "max_model_len": engine.max_model_len, "permission": []}
            for name in engine.models
        ]  # fmt: skip
        return {"object": "list", "data": cards}

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(page(engine))

    @app.post("/tokenize")
    async def tokenize(request: Request) -> dict[str, Any]:
        words = str((await request.json()).get("prompt", "")).split()
        return {"count": len(words), "max_model_len": engine.max_model_len, "tokens": words}

    if engine.task == "generate":

        @app.post("/v1/chat/completions")
        async def chat(request: Request) -> Response:
            return await _generate(engine, await _body(request), chat=True)

        @app.post("/v1/completions")
        async def completions(request: Request) -> Response:
            return await _generate(engine, await _body(request), chat=False)
    else:

        @app.post("/v1/embeddings")
        async def embeddings(request: Request) -> Response:
            return await _embed(engine, await _body(request))

    return app


async def _body(request: Request) -> dict[str, Any]:
    try:
        value = await request.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _refusal(engine: Engine, body: dict[str, Any]) -> JSONResponse | None:
    name = body.get("model")
    if name not in engine.models:
        return error(404, f"The model `{name}` does not exist.", "NotFoundError", "model")
    tokens = _asked(body)
    if tokens > engine.max_model_len:
        message = (
            f"max_tokens={tokens} cannot be greater than max_model_len={engine.max_model_len}."
        )
        return error(400, message, "BadRequestError", "max_tokens")
    return None


def _asked(body: dict[str, Any]) -> int:
    return int(body.get("max_completion_tokens") or body.get("max_tokens") or DEFAULT_TOKENS)


def _prompt_tokens(body: dict[str, Any]) -> int:
    texts = [str(m.get("content", "")) for m in body.get("messages", [])]
    return len(" ".join([*texts, str(body.get("prompt", ""))]).split())


async def _generate(engine: Engine, body: dict[str, Any], *, chat: bool) -> Response:
    if refusal := _refusal(engine, body):
        return refusal
    if engine.crash_on_request is not None:
        engine.aborted.set()
        engine.crash_on_request.set()
        return error(500, DEAD, "InternalServerError")
    if body.get("stream"):
        return StreamingResponse(_stream(engine, body, chat=chat), media_type="text/event-stream")
    try:
        words = [word async for word in _words(engine, body)]
    except AbortedError:
        return error(500, DEAD, "InternalServerError")
    text = "".join(words)
    choice: dict[str, Any] = {"index": 0, "finish_reason": "length", "logprobs": None}
    choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    answer = _envelope(body, chat=chat, chunk=False)
    return JSONResponse(answer | {"choices": [choice], "usage": _usage(body, len(words))})


async def _words(engine: Engine, body: dict[str, Any]) -> AsyncIterator[str]:
    engine.waiting += 1
    try:
        await engine.place().acquire()
    finally:
        engine.waiting -= 1
    engine.running += 1
    engine.prompted += _prompt_tokens(body)
    try:
        for number in range(_asked(body)):
            await engine.step()
            yield f" w{number}"
    finally:
        engine.running -= 1
        engine.place().release()


async def _stream(engine: Engine, body: dict[str, Any], *, chat: bool) -> AsyncIterator[str]:
    envelope = _envelope(body, chat=chat, chunk=True)
    count = 0
    try:
        if chat:
            yield _event(envelope, {"delta": {"role": "assistant", "content": ""}})
        async for word in _words(engine, body):
            count += 1
            last = "length" if count == _asked(body) else None
            piece = {"delta": {"content": word}} if chat else {"text": word}
            yield _event(envelope, piece | {"finish_reason": last})
    except AbortedError:
        yield f"data: {json.dumps({'error': {'message': DEAD, 'code': 500}})}\n\n"
        yield "data: [DONE]\n\n"
        return
    if (body.get("stream_options") or {}).get("include_usage"):
        usage = {"choices": [], "usage": _usage(body, count)}
        yield f"data: {json.dumps(envelope | usage)}\n\n"
    yield "data: [DONE]\n\n"


def _event(envelope: dict[str, Any], piece: dict[str, Any]) -> str:
    choice = {"index": 0, "finish_reason": None} | piece
    return f"data: {json.dumps(envelope | {'choices': [choice]})}\n\n"


def _envelope(body: dict[str, Any], *, chat: bool, chunk: bool) -> dict[str, Any]:
    kind = ("chat.completion.chunk" if chunk else "chat.completion") if chat else "text_completion"
    prefix = "chatcmpl" if chat else "cmpl"
    return {
        "id": f"{prefix}-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": body["model"],
    }


def _usage(body: dict[str, Any], completion: int) -> dict[str, int]:
    prompt = _prompt_tokens(body)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


async def _embed(engine: Engine, body: dict[str, Any]) -> Response:
    if refusal := _refusal(engine, body):
        return refusal
    texts = body.get("input")
    texts = texts if isinstance(texts, list) else [texts]
    engine.steps += 1
    rows = [
        {"object": "embedding", "index": index, "embedding": [0.0, 0.5, 1.0]}
        for index in range(len(texts))
    ]
    count = sum(len(str(text).split()) for text in texts)
    usage = {"prompt_tokens": count, "total_tokens": count}
    return JSONResponse({"object": "list", "data": rows, "model": body["model"], "usage": usage})


def page(engine: Engine) -> str:
    """The metrics that Berth reads, in vLLM's names and labels."""
    labels = f'engine="0",model_name="{engine.models[0]}"'
    tokens = engine.kv_cache_bytes // 1024 // BLOCK_TOKENS * BLOCK_TOKENS
    cache = (
        f'block_size="{BLOCK_TOKENS}",cache_dtype="auto",engine="0",'
        f'kv_cache_memory_bytes="{engine.kv_cache_bytes}",kv_cache_size_tokens="{tokens}",'
        f'num_gpu_blocks="{tokens // BLOCK_TOKENS}"'
    )
    by_reason = "vllm:num_requests_waiting_by_reason"
    return "\n".join(
        (
            "# HELP vllm:num_requests_running Number of requests in model execution batches.",
            "# TYPE vllm:num_requests_running gauge",
            f"vllm:num_requests_running{{{labels}}} {float(engine.running)}",
            f"vllm:num_requests_waiting{{{labels}}} {float(engine.waiting)}",
            f'{by_reason}{{{labels},reason="capacity"}} {float(engine.waiting)}',
            f"vllm:kv_cache_usage_perc{{{labels}}} {engine.running / engine.max_num_seqs}",
            f"vllm:prompt_tokens_total{{{labels}}} {float(engine.prompted)}",
            f"vllm:generation_tokens_total{{{labels}}} {float(engine.generated)}",
            f"vllm:iteration_tokens_total_count{{{labels}}} {float(engine.steps)}",
            f"vllm:cache_config_info{{{cache}}} 1.0",
            "",
        )
    )

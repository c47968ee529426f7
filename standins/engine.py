"""A stand-in for vLLM: its arguments, log lines, API, metrics, `--middleware` and ways to fail.

    python -m standins.engine --model /model --served-model-name m --port 8000

Knobs are environment variables, so that Berth starts it exactly as it starts vLLM:

    STANDIN_LOAD_SECONDS       from exec to the open port (default 0.2)
    STANDIN_TOKENS_PER_SECOND  of each request (default 200)
    STANDIN_STEP_COSTS         instead: seconds of a step, per prefill token, per sequence, ... as in
                               `engine_steps.Costs`, for example 0.02,0.001,0.0005
    STANDIN_KV_TOKEN_BYTES     of the KV cache per token (default 1024)
    STANDIN_DETERMINISTIC      1: equal requests get equal bytes, ids and times too
    STANDIN_TASK               generate, embed or score
    STANDIN_CRASH              a name in engine_crashes.CRASHES
    STANDIN_CRASH_AT           load (default) or request
    STANDIN_FREE_BYTES         of memory for the KV cache; one that is larger is refused at load
    STANDIN_CARDS              a file of cards (`standins.card`), whose memory it takes as vLLM does
    STANDIN_CARD_KEPT          1: and does not give back when it ends
    STANDIN_HANG               load: never opens the port
    STANDIN_IGNORE_SIGTERM     1: only SIGKILL ends it
    STANDIN_ORPHAN             1: leaves a process behind that outlives it

SIGUSR1 stops its stepping. `engine_faults` has the knobs for failures while it serves.
"""

import argparse
import asyncio
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from standins import card, engine_crashes, engine_faults
from standins.engine_app import TRANSPORT, Application, Asgi, Engine
from standins.engine_faults import Fates, Faults
from standins.engine_loop import Loop
from standins.engine_metrics import Measured
from standins.engine_steps import Costs, Limits, Scheduler

_API = "(APIServer pid=7) INFO 11-21 03:04:39 "
_CORE = "(EngineCore pid=77) INFO 11-21 03:05:19 "
_WORKER = "(Worker pid=78) INFO 11-21 03:05:37 "
DEFAULT_KV_BYTES = 64 * 2**20
# An orphan must outlive any test, and no machine must keep it.
ORPHAN_SECONDS = 60
_DRAIN_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Knobs:
    load_seconds: float
    costs: Costs
    kv_token_bytes: int
    deterministic: bool
    task: str
    crash: str
    crash_at: str
    free_bytes: int | None
    hang: str
    ignore_sigterm: bool
    orphan: bool
    faults: Faults


def knobs(environment: Mapping[str, str]) -> Knobs:
    get = environment.get
    return Knobs(
        load_seconds=float(get("STANDIN_LOAD_SECONDS", "0.2")),
        costs=_costs(environment),
        kv_token_bytes=int(get("STANDIN_KV_TOKEN_BYTES", "1024")),
        deterministic=get("STANDIN_DETERMINISTIC") == "1",
        task=get("STANDIN_TASK", "generate"),
        crash=get("STANDIN_CRASH", ""),
        crash_at=get("STANDIN_CRASH_AT", "load"),
        free_bytes=int(get("STANDIN_FREE_BYTES", "0")) or None,
        hang=get("STANDIN_HANG", ""),
        ignore_sigterm=get("STANDIN_IGNORE_SIGTERM") == "1",
        orphan=get("STANDIN_ORPHAN") == "1",
        faults=engine_faults.faults(environment),
    )


def _costs(environment: Mapping[str, str]) -> Costs:
    if given := environment.get("STANDIN_STEP_COSTS"):
        return Costs(*map(float, given.split(",")))
    return Costs(step=1 / float(environment.get("STANDIN_TOKENS_PER_SECOND", "200")))


def parse(argv: list[str]) -> argparse.Namespace:
    """VLLM's flags that matter here; others are taken and forgotten."""
    argv = argv[1:] if argv[:1] == ["serve"] else argv
    parser = argparse.ArgumentParser(prog="vllm serve")
    parser.add_argument("--model")
    parser.add_argument("--served-model-name", nargs="+")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--middleware", action="append", default=[])
    parser.add_argument("--max-model-len", type=int, default=2048)
    parser.add_argument("--max-num-seqs", type=int, default=128)
    parser.add_argument("--max-num-batched-tokens", type=int, default=2048)
    parser.add_argument("--max-num-queued-reqs", type=int)
    parser.add_argument("--kv-cache-memory-bytes", type=int, default=DEFAULT_KV_BYTES)
    parser.add_argument("--gpu-memory-utilization", type=float, default=0.92)
    parser.add_argument("--block-size", type=int, default=128)
    parser.add_argument("--no-enable-prefix-caching", action="store_true")
    parser.add_argument("--enable-server-load-tracking", action="store_true")
    parser.add_argument("--shutdown-timeout", type=float, default=0)
    parser.add_argument("--api-key")
    tag = argv[0] if argv and not argv[0].startswith("-") else None
    args, _ = parser.parse_known_args(argv)
    args.model = tag or args.model or "Qwen/Qwen3-0.6B"
    args.served_model_name = args.served_model_name or [args.model]
    return args


def say(line: str, end: str = "\n") -> None:
    sys.stdout.write(line + end)
    sys.stdout.flush()


def limits(args: argparse.Namespace, kv_token_bytes: int) -> Limits:
    return Limits(
        max_num_seqs=args.max_num_seqs,
        max_num_batched_tokens=args.max_num_batched_tokens,
        block_tokens=args.block_size,
        blocks=args.kv_cache_memory_bytes // kv_token_bytes // args.block_size,
        prefix_caching=not args.no_enable_prefix_caching,
    )


def log_lines(args: argparse.Namespace, tokens: int) -> Iterator[str]:
    """What vLLM's CPU build prints on its way up, in order; `tokens` fit the KV cache."""
    kv_gib = args.kv_cache_memory_bytes / 2**30
    yield _API + f"[api_utils.py:286] non-default args: {{'model': '{args.model}'}}"
    yield _API + f"[model.py:2152] Using max model len {args.max_model_len}"
    yield _CORE + "[core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: model='m'"
    yield _WORKER + f"[cpu_model_runner.py:68] Starting to load model {args.model}..."
    yield "Loading safetensors checkpoint shards:   0% Completed | 0/2 [00:00<?, ?it/s]"
    yield "Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:00<00:00, 99.12it/s]"
    yield "Loading safetensors checkpoint shards: 100% Completed | 2/2 [00:00<00:00, 99.12it/s]"
    yield _WORKER + "[default_loader.py:501] Loading weights took 0.01 seconds"
    yield _WORKER + (
        f"[cpu_worker.py:260] Explicitly set ({kv_gib:.2f}/23.54) GiB for KV cache on node 0."
    )
    yield _CORE + (
        f"[kv_cache_utils.py:2327] CPU KV cache size: {tokens:,} tokens, Maximum concurrency for "
        f"{args.max_model_len:,} tokens per request: {tokens / args.max_model_len:.2f}x"
    )
    yield _CORE + "[core.py:402] init engine (profile, create kv cache, warmup model) took 0.08 s"
    yield _API + "[entry.py:136] Supported tasks: ['generate']"
    yield _API + f"[entry.py:140] Starting vLLM server on http://{args.host}:{args.port}"


def refuse_kv_cache(asked_bytes: int, free_bytes: int | None) -> None:
    """As CPUWorker.determine_available_memory does."""
    if free_bytes is not None and asked_bytes > free_bytes:
        end(engine_crashes.cpu_kv(asked_bytes, free_bytes))


def refuse_context(args: argparse.Namespace, kv_token_bytes: int, found: Limits) -> None:
    """As kv_cache_utils does: one request of the whole context must fit."""
    fits = found.blocks * found.block_tokens
    if args.max_model_len > fits:
        asked = args.max_model_len * kv_token_bytes
        end(engine_crashes.kv(args.max_model_len, asked, args.kv_cache_memory_bytes, fits))


def take_cards(fraction: float) -> None:
    """As v1/worker/utils.py, request_memory does, before any weight is loaded."""
    cards = card.Cards.of(os.environ)
    if cards is None:
        return
    memory, kept = cards.memory(), os.environ.get("STANDIN_CARD_KEPT") == "1"
    for index in card.visible(os.environ):
        wanted = int(memory[index][0] * fraction)
        if lacking := cards.take(index, wanted, kept):
            end(engine_crashes.busy_gpu(*lacking, fraction))


def crash(name: str) -> None:
    """Prints what vLLM prints and ends this process as vLLM does."""
    end(engine_crashes.CRASHES[name])


def end(found: engine_crashes.Crash) -> None:
    for line in found.lines:
        say(line)
    if found.returncode < 0:
        os.kill(os.getpid(), -found.returncode)
    os._exit(found.returncode)


async def load(args: argparse.Namespace, knobs: Knobs, found: Limits) -> None:
    lines = list(log_lines(args, found.blocks * found.block_tokens))
    for number, line in enumerate(lines):
        say(line, "\r" if "checkpoint shards" in line else "\n")
        if "Starting to load model" in line:
            take_cards(args.gpu_memory_utilization)
        await asyncio.sleep(knobs.load_seconds / len(lines))
        if "Loading weights took" in line:
            refuse_kv_cache(args.kv_cache_memory_bytes, knobs.free_bytes)
            refuse_context(args, knobs.kv_token_bytes, found)
        if knobs.crash and knobs.crash_at == "load" and number == len(lines) // 2:
            crash(knobs.crash)
        if knobs.hang == "load" and number == len(lines) // 2:
            await asyncio.Event().wait()


class Protocol(HttpToolsProtocol):
    """Lets a fault reach the connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[TRANSPORT] = self.transport  # type: ignore[typeddict-unknown-key]


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def engine(args: argparse.Namespace, knobs: Knobs, found: Limits) -> Engine:
    clock = asyncio.get_running_loop().time
    measured = Measured(args.max_model_len, time.time())
    loop = Loop(Scheduler(found, knobs.costs), measured, clock, args.max_num_queued_reqs)
    return Engine(
        names=args.served_model_name,
        max_model_len=args.max_model_len,
        kv_cache_bytes=args.kv_cache_memory_bytes,
        loop=loop,
        fates=Fates(knobs.faults),
        task=knobs.task,
        api_key=args.api_key,
        deterministic=knobs.deterministic,
        tracks_load=args.enable_server_load_tracking,
        crash=asyncio.Event() if knobs.crash and knobs.crash_at == "request" else None,
    )


async def serve(args: argparse.Namespace, knobs: Knobs) -> None:
    found = limits(args, knobs.kv_token_bytes)
    await load(args, knobs, found)
    made = engine(args, knobs, found)
    stepping = asyncio.create_task(made.loop.run())
    application = Application(made)
    config = uvicorn.Config(
        _behind(args.middleware, application),
        args.host,
        args.port,
        log_level="info",
        access_log=False,
        http=Protocol,
    )
    server = _Server(config)
    leaving = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, (lambda: None) if knobs.ignore_sigterm else leaving.set)
    loop.add_signal_handler(signal.SIGINT, leaving.set)
    loop.add_signal_handler(signal.SIGUSR1, application.freeze)
    waiting = asyncio.create_task(_leave(server, made, leaving, args.shutdown_timeout))
    if made.crash is not None:
        serving = asyncio.create_task(server.serve())
        await made.crash.wait()
        await asyncio.sleep(0.05)  # the client's 500 leaves first
        crash(knobs.crash)
        await serving
    await server.serve()
    for task in (waiting, stepping):
        task.cancel()


def _behind(middleware: list[str], application: Asgi) -> Asgi:
    """The last that was named is the outermost."""
    for path in middleware:
        module, _, name = path.rpartition(".")
        application = getattr(importlib.import_module(module), name)(application)
    return application


async def _leave(
    server: uvicorn.Server, made: Engine, leaving: asyncio.Event, drain_seconds: float
) -> None:
    """As vLLM 0.32: by default every stream is cut. One that outlives the drain never ends."""
    await leaving.wait()
    if drain_seconds:
        made.draining = True
        deadline = asyncio.get_running_loop().time() + drain_seconds
        while made.loop.in_flight and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        made.loop.frozen_until = float("inf")
    else:
        made.dead = True
        made.loop.abort()
    server.should_exit = True


def main(argv: list[str] | None = None) -> None:
    arguments = sys.argv[1:] if argv is None else argv
    turned = knobs(os.environ)
    if turned.orphan:
        subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({ORPHAN_SECONDS})"])
    uvloop.run(serve(parse(arguments), turned))


if __name__ == "__main__":
    main()

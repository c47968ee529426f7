"""A stand-in for vLLM: its arguments, log lines, API, metrics, `--middleware` and ways to fail.

    python -m standins.engine --model /model --served-model-name m --port 8000

Knobs are environment variables, so that Berth starts it exactly as it starts vLLM:

    STANDIN_LOAD_SECONDS       from exec to the open port (default 0.2)
    STANDIN_TOKENS_PER_SECOND  of each request (default 200)
    STANDIN_TASK               generate or embed
    STANDIN_CRASH              a name in engine_crashes.CRASHES
    STANDIN_CRASH_AT           load (default) or request
    STANDIN_FREE_BYTES         of memory for the KV cache; one that is larger is refused at load
    STANDIN_HANG               load: never opens the port; step: stops stepping at SIGUSR1
    STANDIN_IGNORE_SIGTERM     1: only SIGKILL ends it
    STANDIN_ORPHAN             1: leaves a process behind that outlives it
"""

import argparse
import asyncio
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from standins import engine_crashes
from standins.engine_app import Engine, application

_API = "(APIServer pid=7) INFO 11-21 03:04:39 "
_CORE = "(EngineCore pid=77) INFO 11-21 03:05:19 "
_WORKER = "(Worker pid=78) INFO 11-21 03:05:37 "
DEFAULT_KV_BYTES = 64 * 2**20
# An orphan must outlive any test, and no machine must keep it.
ORPHAN_SECONDS = 60


@dataclass(frozen=True)
class Knobs:
    load_seconds: float
    tokens_per_second: float
    task: str
    crash: str
    crash_at: str
    free_bytes: int | None
    hang: str
    ignore_sigterm: bool
    orphan: bool


def knobs(environment: Mapping[str, str]) -> Knobs:
    get = environment.get
    return Knobs(
        load_seconds=float(get("STANDIN_LOAD_SECONDS", "0.2")),
        tokens_per_second=float(get("STANDIN_TOKENS_PER_SECOND", "200")),
        task=get("STANDIN_TASK", "generate"),
        crash=get("STANDIN_CRASH", ""),
        crash_at=get("STANDIN_CRASH_AT", "load"),
        free_bytes=int(get("STANDIN_FREE_BYTES", "0")) or None,
        hang=get("STANDIN_HANG", ""),
        ignore_sigterm=get("STANDIN_IGNORE_SIGTERM") == "1",
        orphan=get("STANDIN_ORPHAN") == "1",
    )


def parse(argv: list[str]) -> argparse.Namespace:
    """vLLM's flags that matter here; others are taken and forgotten."""
    argv = argv[1:] if argv[:1] == ["serve"] else argv
    parser = argparse.ArgumentParser(prog="vllm serve")
    parser.add_argument("--model")
    parser.add_argument("--served-model-name", nargs="+")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--middleware", action="append", default=[])
    parser.add_argument("--max-model-len", type=int, default=2048)
    parser.add_argument("--max-num-seqs", type=int, default=128)
    parser.add_argument("--kv-cache-memory-bytes", type=int, default=DEFAULT_KV_BYTES)
    tag = argv[0] if argv and not argv[0].startswith("-") else None
    args, _ = parser.parse_known_args(argv)
    args.model = tag or args.model or "Qwen/Qwen3-0.6B"
    args.served_model_name = args.served_model_name or [args.model]
    return args


def say(line: str, end: str = "\n") -> None:
    sys.stdout.write(line + end)
    sys.stdout.flush()


def log_lines(args: argparse.Namespace) -> Iterator[str]:
    """What vLLM's CPU build prints on its way up, in order."""
    tokens = args.kv_cache_memory_bytes // 1024
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


def crash(name: str) -> None:
    """Prints what vLLM prints and ends this process as vLLM does."""
    end(engine_crashes.CRASHES[name])


def end(found: engine_crashes.Crash) -> None:
    for line in found.lines:
        say(line)
    if found.returncode < 0:
        os.kill(os.getpid(), -found.returncode)
    os._exit(found.returncode)


async def load(args: argparse.Namespace, knobs: Knobs) -> None:
    lines = list(log_lines(args))
    for number, line in enumerate(lines):
        say(line, "\r" if "checkpoint shards" in line else "\n")
        await asyncio.sleep(knobs.load_seconds / len(lines))
        if "Loading weights took" in line:
            refuse_kv_cache(args.kv_cache_memory_bytes, knobs.free_bytes)
        if knobs.crash and knobs.crash_at == "load" and number == len(lines) // 2:
            crash(knobs.crash)
        if knobs.hang == "load" and number == len(lines) // 2:
            await asyncio.Event().wait()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(args: argparse.Namespace, knobs: Knobs) -> None:
    engine = Engine(
        models=args.served_model_name,
        max_model_len=args.max_model_len,
        max_num_seqs=args.max_num_seqs,
        kv_cache_bytes=args.kv_cache_memory_bytes,
        tokens_per_second=knobs.tokens_per_second,
        task=knobs.task,
    )
    if knobs.crash and knobs.crash_at == "request":
        engine.crash_on_request = asyncio.Event()
    await load(args, knobs)
    app = application(engine)
    for path in args.middleware:
        module, _, name = path.rpartition(".")
        app.add_middleware(getattr(importlib.import_module(module), name))
    server = _Server(uvicorn.Config(app, args.host, args.port, log_level="info", access_log=False))
    loop = asyncio.get_running_loop()

    def terminate() -> None:
        engine.aborted.set()
        server.should_exit = True

    def freeze() -> None:
        engine.frozen = True

    loop.add_signal_handler(signal.SIGTERM, (lambda: None) if knobs.ignore_sigterm else terminate)
    loop.add_signal_handler(signal.SIGINT, terminate)
    loop.add_signal_handler(signal.SIGUSR1, freeze)
    serving = loop.create_task(server.serve())
    if engine.crash_on_request is not None:
        await engine.crash_on_request.wait()
        await asyncio.sleep(0.05)  # the client's 500 leaves first
        crash(knobs.crash)
    await serving


def main(argv: list[str] | None = None) -> None:
    arguments = sys.argv[1:] if argv is None else argv
    turned = knobs(os.environ)
    if turned.orphan:
        subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({ORPHAN_SECONDS})"])
    asyncio.run(serve(parse(arguments), turned))


if __name__ == "__main__":
    main()

"""From an order to the first token in a pool's pod, beside `vllm serve` with the same weights.

    BERTH_ENGINE_PYTHON=.../bin/python python3 -m bench.pool_start [--rounds 3] \
        [--model FOLDER] [--ollama BINARY]

Variants take turns, so that a noisy machine is noisy for all: `vllm serve` from its exec, an
engine that a pool's pod executes, and one that it forks from its warm interpreter. What the pod
did before the order, its imports too, is not counted: it is done once, when the pod is made. The
first token is a completion of one token, asked for every 50 ms. All of them must then say the same
words to the same question.

`--model` names a folder with weights instead of a small made model. With `--ollama` an Ollama of
these weights takes its turn too: from a request to its first token, of a model that was unloaded.
Its numbers are of another precision, so its words are its own.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.engine import replica
from bench.prefix import model
from berth_api import names
from berth_api.pool_server import EngineOrder, EngineOrders, PoolConfig
from berth_api.server import CompiledConfig, EngineConfig, Phase, PodStatus
from dev import places
from dev.errors import DevError

POLL_SECONDS = 0.05
# A cold start on two busy cores, with all that is imported.
PATIENCE_SECONDS = 300.0
KEY = "0123456789abcdef"
FLAGS = replica.Flags(max_model_len=2048, max_num_seqs=16, kv_cache_bytes=256 * 2**20)
# What its engines may share, and what each is given: weights, cache and torch's own.
POOL_BYTES = 8 * 2**30
SHARE_BYTES = 3 * 2**30
PLAIN, COLD, WARM = "vllm serve", "a pool's pod, executed", "a pool's pod, forked"
OLLAMA = "Ollama, loading on request"
_ENTRY_POINTS = "[vllm.general_plugins]\nberth = berth_server.plugin:register\n"


@dataclass
class PoolPod:
    status_port: int
    model_dir: Path
    command: list[str]
    log: Path
    eager: bool = True
    sequence: int = 0

    def order(self, *engines: EngineOrder) -> PodStatus:
        self.sequence += 1
        orders = EngineOrders(sequence=self.sequence, engines=list(engines))
        code, body = _call(self.status_port, "PUT", "/engines", orders.wire())
        if code != http.HTTPStatus.OK:
            raise DevError(f"the orders are refused: {body.decode()}")
        return PodStatus.model_validate_json(body)

    def status(self) -> PodStatus:
        return PodStatus.model_validate_json(_call(self.status_port, "GET", "/status")[1])

    def engine(self) -> EngineOrder:
        """One that is like the plain server, with an id that was not there before."""
        config = EngineConfig(
            name=replica.MODEL,
            command=self.command,
            device="cpu",
            port=replica.free_port(),
            model_dir=str(self.model_dir),
            dtype="float32",
            kv_cache_bytes=FLAGS.kv_cache_bytes,
            max_model_len=FLAGS.max_model_len,
            max_num_seqs=FLAGS.max_num_seqs,
            max_num_batched_tokens=FLAGS.max_num_batched_tokens,
            enforce_eager=self.eager,
        )
        return EngineOrder(
            id=f"engine-{self.sequence}",
            config=config,
            key=KEY,
            memory_bytes=SHARE_BYTES,
            max_queued_requests=64,
            stall_timeout_seconds=120,
            start_timeout_seconds=int(PATIENCE_SECONDS),
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=[PLAIN, COLD, WARM])
    parser.add_argument("--model", type=Path, help="a folder with weights")
    parser.add_argument("--ollama", type=Path, help="its binary")
    options = parser.parse_args()
    python = replica.engine_python()
    variants = options.only or [PLAIN, COLD, WARM]
    variants += [OLLAMA] if options.ollama else []
    found: dict[str, list[Start]] = {name: [] for name in variants}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        weights = options.model or made_weights(folder)
        pods = {
            name: stack.enter_context(pool(python, folder, weights, warm=name == WARM))
            for name in variants
            if name in {COLD, WARM}
        }
        starters = {name: partial(ordered, pod) for name, pod in pods.items()}
        starters[PLAIN] = partial(plain, python, weights)
        if options.ollama:
            peer = stack.enter_context(ollama(options.ollama, _made(folder / "ollama"), weights))
            starters[OLLAMA] = partial(asked, peer)
        for turn in range(options.rounds):
            for name, starts in found.items():
                starts.append(starters[name]())
                print(f"round {turn + 1}: {name}: {starts[-1]}", file=sys.stderr, flush=True)
    tell(found, beside=PLAIN)
    return 0


def made_weights(folder: Path) -> Path:
    """A small model's, in a folder of its own."""
    weights = _made(folder / "model")
    model.write(weights)
    return weights


@dataclass(frozen=True)
class Start:
    seconds: float
    words: str


def plain(python: Path, weights: Path) -> Start:
    started = time.monotonic()
    with replica.vllm(python, weights, FLAGS, core=0) as one:
        port = int(one.url.rpartition(":")[2])
        _until(lambda: _answers(port))
        seconds = time.monotonic() - started
        return Start(seconds, _words(port))


def ordered(pod: PoolPod) -> Start:
    """Of one engine, which is unloaded again."""
    engine = pod.engine()
    started = time.monotonic()
    pod.order(engine)
    try:
        _until(lambda: _answers(engine.config.port))
    except DevError as error:
        raise DevError(f"{error}: {pod.log.read_text()[-4000:]}") from error
    seconds = time.monotonic() - started
    words = _words(engine.config.port)
    # What it compiled is kept once the pod has its own first token, and the port answers before.
    _until(lambda: all(one.phase is Phase.SERVING for one in pod.status().engines))
    pod.order()
    _until(lambda: not pod.status().engines)
    return Start(seconds, words)


@contextlib.contextmanager
def ollama(binary: Path, home: Path, weights: Path) -> Iterator[int]:
    """The port of a server that has the weights, and has not loaded them."""
    port = replica.free_port()
    environment = os.environ | {
        "HOME": str(home),
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(home / "models"),
    }
    (home / "Modelfile").write_text(f"FROM {weights}\n")
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [binary, "serve"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _until(lambda: _call(port, "GET", "/api/version")[0] == http.HTTPStatus.OK)
        create = [binary, "create", replica.MODEL, "-f", home / "Modelfile"]
        subprocess.run(create, env=environment, check=True, capture_output=True)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)


def asked(port: int) -> Start:
    """One request to a model that is not loaded, which is unloaded again."""
    question = {
        "model": replica.MODEL,
        "prompt": "w5 w6 w7",
        "raw": True,
        "stream": False,
        "options": {"num_predict": 1, "temperature": 0},
    }
    started = time.monotonic()
    code, body = _call(port, "POST", "/api/generate", json.dumps(question))
    seconds = time.monotonic() - started
    if code != http.HTTPStatus.OK:
        raise DevError(f"Ollama answers {code}: {body.decode()}")
    _call(port, "POST", "/api/generate", json.dumps({"model": replica.MODEL, "keep_alive": 0}))
    _until(lambda: not json.loads(_call(port, "GET", "/api/ps")[1])["models"])
    return Start(seconds, str(json.loads(body)["response"]))


@contextlib.contextmanager
def pool(
    python: Path, folder: Path, weights: Path, *, warm: bool, compiled: Path | None = None
) -> Iterator[PoolPod]:
    """The server as in an image: run by the engine's Python, and a plugin of the engine.

    With `compiled`, a folder, its engines compile, and keep there what they have compiled.
    """
    home = _made(folder / ("warm" if warm else "cold"))
    replica.name_the_wheel(python, home)
    plugin = _made(home / "berth-0.dist-info")
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: berth\nVersion: 0\n")
    (plugin / "entry_points.txt").write_text(_ENTRY_POINTS)
    (home / "key").write_text(KEY)
    command = [str(python), "-m", "vllm.entrypoints.cli.main", "serve"]
    config = PoolConfig(
        namespace="bench",
        pool="bench",
        device="cpu",
        cards=0,
        memory_bytes=POOL_BYTES,
        command=command,
        status_port=replica.free_port(),
        pool_key_file=str(home / "key"),
        run_dir=str(home),
        drain_timeout_seconds=5,
        warm=warm,
        compiled=compiled and CompiledConfig(folder=str(compiled), image="bench"),
    )
    folders = (home, places.REPOSITORY / "crds", places.REPOSITORY / "runtime")
    environment = {
        "BERTH_POOL_CONFIG": config.wire(),
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "HOME": str(home),
    }
    log = home / "log"
    with log.open("wb") as opened:
        process = subprocess.Popen(
            [python, "-m", "berth_server", str(home / "termination-log")],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=opened,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    pod = PoolPod(config.status_port, weights, command, log, eager=compiled is None)
    try:
        _until(lambda: pod.status().phase is Phase.SERVING)
        yield pod
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _answers(port: int) -> bool:
    question = json.dumps({"model": replica.MODEL, "prompt": "w1", "max_tokens": 1})
    return _call(port, "POST", "/v1/completions", question)[0] == http.HTTPStatus.OK


def _words(port: int) -> str:
    question = {
        "model": replica.MODEL,
        "prompt": "w5 w6 w7",
        "max_tokens": 16,
        "temperature": 0,
        "ignore_eos": True,
    }
    body = json.loads(_call(port, "POST", "/v1/completions", json.dumps(question))[1])
    return str(body["choices"][0]["text"])


def _call(port: int, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    headers[names.HEADER_POOL_KEY] = KEY  # one key for both here
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        return reply.status, reply.read()


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if happened():
                return
        time.sleep(POLL_SECONDS)
    raise DevError("it did not happen in time")


def tell(found: dict[str, list[Start]], *, beside: str) -> None:
    """Raises DevError where vLLM's engines do not say the same; Ollama's words are its own."""
    print(f"load average at the end: {os.getloadavg()[0]:.1f}", file=sys.stderr)
    ours = (starts for name, starts in found.items() if name != OLLAMA)
    said = {start.words for starts in ours for start in starts}
    if len(said) > 1:
        raise DevError(f"the engines do not say the same: {said}")
    seconds = {name: [one.seconds for one in starts] for name, starts in found.items()}
    print(table(seconds, beside=beside))


def table(found: dict[str, list[float]], *, beside: str) -> str:
    """Medians, and each in parts of that of `beside`."""
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    whole = medians.get(beside, float("nan"))
    rows = [
        f"| {name} | {', '.join(f'{one:.1f}' for one in found[name])} | {median:.1f} | "
        f"{median / whole:.2f} |"
        for name, median in medians.items()
    ]
    head = "| variant | seconds to the first token | median | ratio |\n|---|---|---:|---:|"
    return "\n".join([head, *rows])


if __name__ == "__main__":
    sys.exit(main())

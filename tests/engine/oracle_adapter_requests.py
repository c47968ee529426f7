"""Runs inside the engine's Python: what an engine that Berth has started says through its adapters.

Reads {model, adapters, asked}: files as base64, those of adapters by their name, and requests
[method, path, body]. Answers [status, body] for each, from one engine behind Berth's middleware.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from berth_api.server import EngineAdapters, EngineConfig
from berth_server import args
from berth_server.binding import Cpus

KEY = "a-key"
PORT = 18431
# Starts take half a minute on two idle cores.
START_SECONDS = 400
# What makes berth_server a plugin in a runtime pod: the distribution's own record.
ENTRY_POINTS = "[vllm.general_plugins]\nberth = berth_server.plugin:register\n"


def written(folder: Path, files: dict) -> str:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(base64.b64decode(content))
    return str(folder)


def command(given: dict, folder: Path) -> args.Command:
    (folder / "key").write_text(KEY)
    adapters = {
        name: written(folder / "adapters" / name, files)
        for name, files in given["adapters"].items()
    }
    engine = EngineConfig(
        name="base",
        command=[sys.executable, "-m", "vllm.entrypoints.cli.main", "serve"],
        device="cpu",
        port=PORT,
        model_dir="",
        dtype="float32",
        max_model_len=512,
        max_num_seqs=4,
        kv_cache_bytes=64 * 2**20,
        enforce_eager=True,
        adapters=EngineAdapters(
            slots=given["slots"],
            max_rank=given["width"],
            modules=given["modules"],
            folders=adapters,
        ),
    )
    ids = tuple(sorted(os.sched_getaffinity(0)))
    door = args.Door(str(folder / "key"), 64)
    return args.command(engine, door, written(folder / "model", given["model"]), Cpus(ids, 1))


def ask(method: str, path: str, body: object) -> list:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return [answer.status, json.loads(answer.read() or b"null")]
    except urllib.error.HTTPError as error:
        return [error.code, json.loads(error.read() or b"null")]


def wait(process: subprocess.Popen) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            sys.exit(f"the engine ended with {process.returncode}")
        try:
            if ask("GET", "/v1/models", None)[0] == 200:
                return
        except OSError:
            time.sleep(0.5)
    sys.exit("the engine did not start")


def main() -> None:
    given = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record = folder / "plugin" / "berth-0.dist-info"
        record.mkdir(parents=True)
        (record / "METADATA").write_text("Metadata-Version: 2.1\nName: berth\nVersion: 0\n")
        (record / "entry_points.txt").write_text(ENTRY_POINTS)
        found = command(given, folder)
        environment = found.applied_to(dict(os.environ))
        environment["PYTHONPATH"] += os.pathsep + str(folder / "plugin")
        process = subprocess.Popen(found.argv, env=environment, stdout=sys.stderr)
        try:
            wait(process)
            answers = [ask(*one) for one in given["asked"]]
        finally:
            process.terminate()
            process.wait(60)
    print(json.dumps(answers))


if __name__ == "__main__":
    main()

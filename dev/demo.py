"""The demo: apply a model, watch it come up, ask it a question, and say how long each step took."""

import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev import places
from dev.errors import DevError
from dev.kubectl import Kubectl

MODEL = "smollm2"
QUESTION = "What is the capital of France?"
EXPECTED = "Paris"
_EXAMPLES = places.REPOSITORY / "examples"
_HUB_SECONDS = 3.0
_SERVING_SECONDS = 900.0
_ANSWER_SECONDS = 120.0
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Address:
    """Where clients reach Berth; `url` is without `/v1`."""

    url: str
    key: str


def manifest() -> Path:
    """The model from the hub where it answers, else from an image with the same weights."""
    return _EXAMPLES / ("smollm2.yaml" if _hub_answers() else "smollm2-oci.yaml")


def run(kubectl: Kubectl, address: Address) -> None:
    """Raises DevError when the model does not serve or the answer is not the right one."""
    kubectl("delete", "modeldeployment", MODEL, "--ignore-not-found", "--wait")
    path = manifest()
    print(f"\n$ kubectl apply -f {path.relative_to(places.REPOSITORY)}")
    started = time.monotonic()
    print(kubectl("apply", "-f", str(path)).strip())
    marks = _watch(kubectl, started)
    print("\n$ kubectl get mdep")
    print(kubectl("get", "mdep").rstrip())
    answer, first, total = _ask(address)
    print(f"\nfirst token after {first:.2f} s, whole answer after {total:.2f} s")
    print("from apply to serving, by phase:")
    for phase, seconds in marks:
        print(f"  {phase:<12} {seconds:6.1f} s")
    if EXPECTED not in answer:
        raise DevError(f"the answer should name {EXPECTED}")
    print('\n`make up` leaves it running, and eval "$(dev/env)" leads there.\n', flush=True)


def _hub_answers() -> bool:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    url = f"{endpoint}/api/models/HuggingFaceTB/SmolLM2-135M-Instruct"
    try:
        with urllib.request.urlopen(url, timeout=_HUB_SECONDS):  # noqa: S310 -- the user's own hub
            return True
    except (OSError, urllib.error.URLError):
        return False


def _watch(kubectl: Kubectl, started: float) -> list[tuple[str, float]]:
    """Print each change until the model serves; return how long each phase took, in seconds."""
    marks: list[tuple[str, float]] = []
    seen = ""
    phase = "Accepted"
    since = started
    while time.monotonic() - started < _SERVING_SECONDS:
        status = kubectl.json("get", "modeldeployment", MODEL).get("status", {})
        line = _line(status)
        now = time.monotonic()
        if line != seen:
            print(f"{now - started:6.1f} s  {line}", flush=True)
            seen = line
        if status.get("phase") and status["phase"] != phase:
            marks.append((phase, now - since))
            phase, since = status["phase"], now
        if phase == "Serving":
            return marks
        time.sleep(_POLL_SECONDS)
    raise DevError(f"{MODEL} does not serve after {_SERVING_SECONDS:.0f} s: {seen}")


def _line(status: dict[str, Any]) -> str:
    parts = [status.get("phase", "-"), status.get("progress", "")]
    if status.get("reason") not in (status.get("phase"), "Activating", None):
        parts += [status["reason"], status.get("message", "")]
    return " ".join(part for part in parts if part)


def _ask(address: Address) -> tuple[str, float, float]:
    """The streamed answer, printed as it comes; seconds to its first token and to its end."""
    print(f"\n> {QUESTION}\n< ", end="", flush=True)
    started = time.monotonic()
    first = 0.0
    words = []
    for word in _stream(address):
        first = first or time.monotonic() - started
        words.append(word)
        print(word, end="", flush=True)
    return "".join(words), first, time.monotonic() - started


def _stream(address: Address) -> Iterator[str]:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": True,
        "temperature": 0,
        "max_tokens": 40,
    }
    headers = {"Authorization": f"Bearer {address.key}", "Content-Type": "application/json"}
    host = urllib.parse.urlsplit(address.url)
    connection = http.client.HTTPConnection(
        host.hostname or "", host.port or 80, timeout=_ANSWER_SECONDS
    )
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    if response.status != http.client.OK:
        raise DevError(f"the gateway answers {response.status}: {response.read(2000)!r}")
    for line in response:
        data = line.decode().strip().removeprefix("data: ")
        if data and data != "[DONE]":
            yield json.loads(data)["choices"][0]["delta"].get("content") or ""

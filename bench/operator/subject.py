"""The operator that is measured, as its own process, and what it says of itself."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from bench.operator import models
from dev import progress

NAMESPACE: Final = "berth-system"
_PORT: Final = 18082
_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 30.0
_LEASE: Final = "Lease"


@dataclass(frozen=True)
class Operator:
    process: subprocess.Popen[bytes]
    log: Path
    started_seconds: float = 0.0  # until it was ready and led

    @property
    def pid(self) -> int:
        return self.process.pid

    def writes(self) -> Counter[str]:
        """So far, by kind; renewals of the Lease are not counted."""
        found: Counter[str] = Counter()
        for sample in self._samples("berth_operator_writes_total"):
            found[sample[0]["kind"]] += int(sample[1])
        found.pop(_LEASE, None)
        return found

    def leading(self) -> bool:
        return any(value == 1 for _, value in self._samples("berth_operator_leading"))

    def _samples(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        url = f"http://127.0.0.1:{_PORT}/metrics?name[]={name}"  # the models' would be work
        with urllib.request.urlopen(url, timeout=30) as answer:
            text = answer.read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name:
                    yield sample.labels, sample.value


@contextmanager
def running(kubeconfig: Path, folder: Path) -> Iterator[Operator]:
    """Leading, with its first lists read."""
    config, log = folder / "operator.json", folder / "operator.log"
    config.write_text(json.dumps(settings()))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": ":".join(sys.path),
        "KUBECONFIG": str(kubeconfig),
        "BERTH_CONFIG": str(config),
    }
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "berth_operator"], env=environment, stdout=sink, stderr=sink
        )
    began, operator = time.monotonic(), Operator(process, log)
    try:
        progress.wait_for("the operator", lambda: _ready(operator), seconds=_START_SECONDS)
        yield replace(operator, started_seconds=time.monotonic() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=_STOP_SECONDS)


def _ready(operator: Operator) -> bool:
    if operator.process.poll() is not None:
        raise RuntimeError(operator.log.read_text()[-3000:])
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{_PORT}/readyz", timeout=5)
    except (urllib.error.URLError, OSError):
        return False
    return operator.leading()


def settings() -> dict[str, object]:
    return {
        "namespace": NAMESPACE,
        "controlImage": "example.test/berth-control:1",
        "url": "http://berth.berth-system.svc/v1",
        "engineProfiles": [
            {
                "name": "vllm",
                "image": "example.test/vllm-openai:v0.32.0",
                "command": ["vllm", "serve"],
                "device": "cuda",
            }
        ],
        "acceleratorProfiles": [
            {"name": "h100", "engineProfile": "vllm", "resource": "nvidia.com/gpu"} | _DECLARED
        ],
        "modelShapes": models.SHAPES,
        "managementPort": _PORT,
    }


# For `bare`, where there are no nodes to read it of.
_DECLARED: Final = {"memory": "80Gi", "gpusPerNode": 8}

"""What happens to a cluster's objects, with the time at which an observer could know it.

Kubernetes' own timestamps have whole seconds; a watch from beside the API server is finer.
"""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dev.kubectl import Kubectl


@dataclass(frozen=True)
class Seen:
    at: float  # time.time()
    kind: str
    type: str  # ADDED, MODIFIED, DELETED
    object: dict[str, Any]


@dataclass
class Log:
    seen: list[Seen] = field(default_factory=list)

    def since(self, at: float) -> list[Seen]:
        return [one for one in list(self.seen) if one.at >= at]


@contextmanager
def watching(kubectl: Kubectl, namespace: str, kinds: tuple[str, ...]) -> Iterator[Log]:
    """Everything that is seen of these kinds while the context lasts."""
    log = Log()
    programs = [_watch(kubectl, namespace, kind) for kind in kinds]
    threads = [
        threading.Thread(target=_read, args=(program, log), daemon=True) for program in programs
    ]
    for thread in threads:
        thread.start()
    try:
        time.sleep(1)  # for the watches to be open
        yield log
    finally:
        for program in programs:
            program.terminate()
        for thread in threads:
            thread.join()


def _watch(kubectl: Kubectl, namespace: str, kind: str) -> "subprocess.Popen[str]":
    flags = ("--watch", "--output-watch-events", "--output=json", f"--namespace={namespace}")
    command = [kubectl.program, "--kubeconfig", kubectl.kubeconfig, "get", kind, *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _read(program: "subprocess.Popen[str]", log: Log) -> None:
    """One JSON document per line."""
    assert program.stdout is not None  # noqa: S101 -- it was asked for
    for line in program.stdout:
        event = json.loads(line)
        found = event["object"]
        log.seen.append(Seen(time.time(), found["kind"], event["type"], found))

"""The gateway's own process with another routing policy in it.

    python3 -m bench.prefix.gateway POLICY --routes FILE ...

Only the two functions of a policy are put in the place of PrefixAware's; a route that names
PrefixAware then runs them. Everything else is `python -m berth_gateway`.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.engine.replica import MODEL, free_port
from bench.prefix.policies import POLICIES
from berth_gateway import __main__ as process
from berth_gateway import calls
from berth_gateway.state import queues
from dev.errors import DevError

START_SECONDS = 60.0
END_SECONDS = 15.0


def main() -> int:
    policy = POLICIES[sys.argv.pop(1)]
    # The names under which the data path calls them.
    vars(calls)["affinity"] = policy.affinity
    vars(queues)["pick_by_prefix"] = policy.pick
    return process.main()


@contextlib.contextmanager
def running(policy: str, replicas: Sequence[str]) -> Iterator[str]:
    """A gateway before the replicas' origins; its own origin, once it serves."""
    with tempfile.TemporaryDirectory() as folder:
        routes = Path(folder) / "routes.yaml"
        route = {"model": MODEL, "endpoints": list(replicas), "policy": "PrefixAware"}
        routes.write_text(json.dumps([route]))
        port, management = free_port(), free_port()
        command = [
            *(sys.executable, "-m", "bench.prefix.gateway", policy),
            *(f"--routes={routes}", "--auth=None"),
            *(f"--port={port}", f"--management-port={management}"),
        ]
        gateway = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url + "/v1/models", gateway)
            yield url
        finally:
            _end(gateway)


def _wait(url: str, gateway: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and gateway.poll() is None:
        with contextlib.suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310
            return
        time.sleep(0.1)
    raise DevError(f"the gateway did not start (exit code {gateway.poll()})")


def _end(gateway: subprocess.Popen[bytes]) -> None:
    """It would let the door stand open for some seconds first."""
    gateway.kill()
    gateway.wait(END_SECONDS)


if __name__ == "__main__":
    sys.exit(main())

"""One scenario through one gateway, with what both sides and everybody else used of the CPU.

A gateway is started anew for every round, so that its cold start and idle memory are measured as
often as its speed.
"""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.gateway import gateways, instruments, scenarios, usage
from bench.gateway.gateways import Command, Gateway, Place
from bench.gateway.instruments import Mock
from bench.gateway.scenarios import Scenario
from dev import locks
from dev.errors import DevError

START_SECONDS = 120.0  # the slowest peer imports for most of a minute on a busy machine
FIRST_ANSWER_POLL_SECONDS = 0.002
STOP_SECONDS = 10.0
LOG_LINES = 20
LOAD_DRAIN_SECONDS = 15.0
LOAD_TIMEOUT_SECONDS = 30.0
# A cell in which others used more of the machine than this is measured again, else marked.
FOREIGN_LIMIT_CORES = 0.15
# How far the window by our clocks may be from the load's: CPU time is divided by what came in it.
CLOCK_SHARE = 0.05
# After an overload a gateway may work on for nobody: it is quiet again, or it is started anew.
QUIET_CORES = 0.05
QUIET_LOOK_SECONDS = 0.5
QUIET_PATIENCE_SECONDS = 15.0


@dataclass(frozen=True)
class Bench:
    """How this run measures."""

    binaries: Path
    folder: Path
    lock: Path
    seconds: float
    gateway_core: int
    load_core: int
    retries: int  # of a cell that others have spoiled

    def pinned(self, core: int) -> list[str]:
        return ["taskset", "-c", str(core)]


@dataclass(frozen=True)
class Cell:
    """`load` is the load generator's own report; CPU is in cores of the window."""

    scenario: str
    gateway: str
    load: dict[str, Any]
    seconds: float
    gateway_cores: float | None  # None: no gateway
    mock_cores: float
    load_cores: float
    foreign_cores: float
    load_average: float
    resident_mb: float | None
    peak_mb: float | None
    gap_us: int
    delivered: float | None
    spoiled: bool
    probes: tuple[dict[str, Any], ...] = ()  # of a search

    def json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Start:
    """A gateway's beginning: seconds to its first answer, memory before any load."""

    gateway: str
    seconds: float
    idle_mb: float
    foreign_cores: float


class Running:
    """A gateway that answers, or the engines themselves."""

    def __init__(
        self, bench: Bench, gateway: Gateway, endpoints: Sequence[str], model: str
    ) -> None:
        self._bench, self._gateway = bench, gateway
        self._endpoints, self._model = endpoints, model
        self._process: subprocess.Popen[bytes] | None = None
        self.targets = endpoints

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> Start | None:
        """None for the engines, which run already."""
        make = self._gateway.command
        if make is None:
            return None
        folder = gateways.fresh(self._bench.folder / self._gateway.name)
        port, management = instruments.free_ports(2)
        command = make(Place(folder, port, management, self._endpoints, self._model))
        self.targets = [f"127.0.0.1:{port}"]
        before = usage.read({})
        began = time.monotonic()
        self._process = _spawn(self._bench.pinned(self._bench.gateway_core), command, folder)
        _first_answer(self._process, port, self._model, folder / "log")
        seconds = time.monotonic() - began
        foreign = usage.between(before, usage.read({})).foreign_cores
        idle, _ = usage.memory_mb(self._process.pid)
        return Start(self._gateway.name, seconds, idle, foreign)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _kill(self._process)
        self._process = None

    def settle(self) -> None:
        """Wait until an overload's work is done; a gateway that goes on and on is started anew."""
        deadline = time.monotonic() + QUIET_PATIENCE_SECONDS
        while self._process is not None and time.monotonic() < deadline:
            before = usage.read({"gateway": self._process.pid})
            time.sleep(QUIET_LOOK_SECONDS)
            spent = usage.between(before, usage.read({"gateway": self._process.pid}))
            if spent.cores("gateway") < QUIET_CORES:
                return
        if self._process is not None:
            self.stop()
            self.start()


@contextlib.contextmanager
def running(
    bench: Bench, gateway: Gateway, endpoints: Sequence[str], model: str = scenarios.MODEL
) -> Iterator[tuple[Running, Start | None]]:
    gateway_here = Running(bench, gateway, endpoints, model)
    try:
        with locks.exclusive(bench.lock):
            start = gateway_here.start()
        yield gateway_here, start
    finally:
        gateway_here.stop()


def measure(bench: Bench, scenario: Scenario, gateway: Gateway, here: Running, mock: Mock) -> Cell:
    """A cell; one that others have spoiled is measured again, and the quietest is kept."""
    run = _search if scenario.search else _once
    tried = [run(bench, scenario, gateway, here, mock)]
    while tried[-1].spoiled and len(tried) <= bench.retries:
        tried.append(run(bench, scenario, gateway, here, mock))
    return min(tried, key=lambda cell: (cell.spoiled, cell.foreign_cores))


def _search(bench: Bench, scenario: Scenario, gateway: Gateway, here: Running, mock: Mock) -> Cell:
    """The highest rate that is delivered, by bisection; what came at the slowest if none is."""
    ladder = scenarios.rates()
    tried: list[Cell] = []

    def holds(rung: int) -> bool:
        cell = _once(bench, scenarios.paced(scenario, ladder[rung]), gateway, here, mock)
        tried.append(cell)
        return holds_rate(cell)

    highest(len(ladder), holds)
    good = [cell for cell in tried if holds_rate(cell)]
    best = max(good, key=lambda cell: cell.load["chunks_per_second"]) if good else tried[-1]
    return replace(
        best,
        spoiled=any(cell.spoiled for cell in tried),
        foreign_cores=max(cell.foreign_cores for cell in tried),
        probes=tuple(_probe(cell) for cell in tried),
    )


def highest(count: int, holds: Callable[[int], bool]) -> int:
    """The last of `count` rungs that holds, if those that hold come first; -1 when none does."""
    low, high = -1, count
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


def holds_rate(cell: Cell) -> bool:
    """Delivered, and no stream failed."""
    success = cell.load["success_rate"]
    return (
        cell.delivered is not None
        and cell.delivered >= scenarios.DELIVERED_SHARE
        and success is not None
        and success >= scenarios.DELIVERED_SHARE
    )


def _probe(cell: Cell) -> dict[str, Any]:
    return {
        "gap_us": cell.gap_us,
        "chunks_per_second": cell.load["chunks_per_second"],
        "delivered": cell.delivered,
        "success_rate": cell.load["success_rate"],
        "gateway_cores": cell.gateway_cores,
        "load_side_cores": cell.mock_cores + cell.load_cores,
        "foreign_cores": cell.foreign_cores,
    }


def _once(bench: Bench, scenario: Scenario, gateway: Gateway, here: Running, mock: Mock) -> Cell:
    with locks.exclusive(bench.lock):
        here.settle()
        mock.pace(scenario.gap_us)
        return _window(bench, scenario, gateway, here, mock)


def _window(bench: Bench, scenario: Scenario, gateway: Gateway, here: Running, mock: Mock) -> Cell:
    trees = {"mock": mock.pid} | ({"gateway": here.pid} if here.pid else {})
    readings: list[usage.Clocks] = []
    seconds = scenario.seconds or bench.seconds
    limit = scenario.warmup_seconds + seconds + LOAD_DRAIN_SECONDS + LOAD_TIMEOUT_SECONDS
    load = instruments.load(
        _load_command(bench, scenario, here, seconds),
        lambda: readings.append(usage.read(trees)),
        limit,
    )
    spent = usage.between(*readings)
    resident, peak = usage.memory_mb(here.pid) if here.pid else (None, None)
    return Cell(
        scenario=scenario.name,
        gateway=gateway.name,
        load=load,
        seconds=spent.seconds,
        gateway_cores=spent.cores("gateway") if here.pid else None,
        mock_cores=spent.cores("mock"),
        load_cores=load["load_cpu_cores"],
        foreign_cores=spent.foreign_cores,
        load_average=os.getloadavg()[0],
        resident_mb=resident,
        peak_mb=peak,
        gap_us=scenario.gap_us,
        delivered=scenarios.delivered(scenario, load),
        spoiled=is_spoiled(spent, seconds),
    )


def is_spoiled(spent: usage.Spent, seconds: float) -> bool:
    """Others took too much, or so much that we read the clocks of our own window late."""
    late = abs(spent.seconds - seconds) > CLOCK_SHARE * seconds
    return late or spent.foreign_cores > FOREIGN_LIMIT_CORES


def _load_command(bench: Bench, scenario: Scenario, here: Running, seconds: float) -> list[str]:
    return [
        *bench.pinned(bench.load_core),
        str(bench.binaries / "load"),
        f"--targets={','.join(here.targets)}",
        f"--model={scenarios.MODEL}",
        f"--key={gateways.KEY}",
        f"--warmup={scenario.warmup_seconds}s",
        f"--duration={seconds}s",
        f"--drain={LOAD_DRAIN_SECONDS}s",
        f"--timeout={LOAD_TIMEOUT_SECONDS}s",
        *scenario.load,
    ]


def _spawn(pinned: Sequence[str], command: Command, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [*pinned, *map(str, command.argv)],
            env=os.environ | dict(command.env),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _first_answer(process: subprocess.Popen[bytes], port: int, model: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(port, model):
        if process.poll() is not None or time.monotonic() > deadline:
            raise DevError(f"no answer from the gateway; its log:\n{_tail(log)}")
        time.sleep(FIRST_ANSWER_POLL_SECONDS)


def _answers(port: int, model: str) -> bool:
    """Whether a completion comes back whole."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    body = {"messages": [{"role": "user", "content": "Hello"}], "model": model, "max_tokens": 1}
    headers = {"Authorization": f"Bearer {gateways.KEY}", "Content-Type": "application/json"}
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        reply = connection.getresponse()
        reply.read()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return reply.status == http.HTTPStatus.OK
    finally:
        connection.close()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])


def _kill(process: subprocess.Popen[bytes]) -> None:
    """With its workers: it has a session of its own."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

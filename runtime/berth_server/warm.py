"""Keeps a process with the engine's imports done, and has engines forked from it.

Whatever goes wrong costs time and nothing else: an engine that cannot be forked is executed.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from berth_server import binding, launch, variables, zygote
from berth_server.args import Command
from berth_server.errors import NotWarm

_log = logging.getLogger("berth.server")

_PROGRAM: Final = "berth_server.zygote"
# What `vllm serve` and its processes import, before they know of any model. A version that lacks
# one of them has no warm starts until this table knows it.
_VLLM: Final = (
    "vllm.entrypoints.cli.main",
    "vllm.entrypoints.cli.serve",
    "vllm.v1.engine.core",
    "vllm.v1.executor.multiproc_executor",
)
_WORKERS: Final = {
    "cpu": ("vllm.v1.worker.cpu_worker", "vllm.v1.worker.cpu_model_runner"),
    "cuda": ("vllm.v1.worker.gpu_worker", "vllm.v1.worker.gpu_model_runner"),
}
# Read when an engine runs, and not when its modules are imported: these may differ from engine to
# engine. Of any other variable that is not known.
LATE: Final = frozenset(
    {
        variables.ENGINE_KEY_FILE,
        variables.MAX_IN_FLIGHT,
        variables.VISIBLE_CARDS,
        binding.VARIABLE,
    }
)
# Twenty seconds of imports, on a disk that has never seen them.
_IMPORT_SECONDS: Final = 600.0
_FORK_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 5.0
# What cannot be imported three times will not be at the fourth.
_MOST_FAILURES: Final = 3
_SHEBANG: Final = b"#!"


def modules(argv: Sequence[str], device: str) -> tuple[str, ...]:
    """What is imported ahead for the program that `argv` runs."""
    target, _ = zygote.program(argv)
    if target.startswith("vllm.") or Path(target).name == "vllm":
        return (*_VLLM, *_WORKERS[device])
    return (target,) if argv[1:2] == ["-m"] else ()


def executable(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The Python that runs `argv`, and `argv` with its program's whole path.

    Raises NotWarm for what no Python runs, or one with flags.
    """
    found = shutil.which(argv[0])
    if found is None:
        raise NotWarm(f"{argv[0]} is not on the PATH")
    if Path(found).name.startswith("python"):
        if argv[1:2] != ["-m"]:
            raise NotWarm(f"{argv[0]} is not given a module")
        return found, [found, *argv[1:]]
    return _interpreter(Path(found)), [found, *argv[1:]]


def _interpreter(script: Path) -> str:
    with script.open("rb") as opened:
        first = opened.readline()
    words = first.removeprefix(_SHEBANG).decode(errors="replace").split()
    if words and Path(words[0]).name == "env":
        words = words[1:]
    if not first.startswith(_SHEBANG) or len(words) != 1 or "python" not in Path(words[0]).name:
        raise NotWarm(f"{script} is no Python script")
    return words[0]


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The variables in which two environments differ, but for those that are read late."""
    names = (one.keys() | other.keys()) - LATE
    return sorted(name for name in names if one.get(name) != other.get(name))


class Warm:
    """`know` is told of every process that is started here, at once: it may have ended already.

    `settled` is set when it is known whether engines are forked.
    """

    def __init__(
        self,
        command: Sequence[str],
        device: str,
        environment: Mapping[str, str],
        know: Callable[[launch.Process], None],
    ) -> None:
        self.settled = asyncio.Event()
        self._command = list(command)
        self._device = device
        self._environment = dict(environment)
        self._know = know
        self._process: launch.Process | None = None
        self._channel: socket.socket | None = None
        self._turn = asyncio.Lock()

    async def keep(self, changed: Callable[[], None]) -> None:
        """Makes one, and another when it has ended; returns when there is no making one.

        `changed` is called whenever there is one more or one less.
        """
        failures = 0
        while failures < _MOST_FAILURES:
            try:
                process = await self._make()
                failures = 0
                self.settled.set()
                changed()
                _log.info("engines are forked from a warm interpreter")
                await process.wait()
                _log.warning("the warm interpreter has ended; another one is made")
            except NotWarm as error:
                failures += 1
                _log.warning("no warm interpreter, starts are slower: %s", error)
            finally:
                await self.end()
            self.settled.set()
            changed()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def end(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel = None
        if self._process is not None:
            await self._process.destroy()
        self._process = None

    async def _make(self) -> launch.Process:
        python, argv = executable(self._command)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fd = str(theirs.fileno())
            program = [python, "-m", _PROGRAM, fd, *modules(argv, self._device)]
            command = Command(program, {}, unset=())
            try:
                self._process = launch.start(
                    command,
                    self._environment,
                    lambda _: None,
                    prefix="[warm] ",
                    keep=[theirs.fileno()],
                )
            except OSError as error:
                ours.close()
                raise NotWarm(str(error)) from error
        self._know(self._process)
        ours.setblocking(False)
        await self._answer(ours, _IMPORT_SECONDS)
        self._channel = ours
        return self._process

    async def fork(
        self,
        command: Command,
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
        prefix: str,
    ) -> launch.Process:
        """An engine, as `launch.start` would have it. Raises NotWarm."""
        if differs := differing(self._environment, environment):
            raise NotWarm(f"{', '.join(differs)} must be known before the imports")
        _, argv = executable(command.argv)
        if executable(self._command)[1] != argv[: len(self._command)]:
            raise NotWarm(f"the warm interpreter runs {' '.join(self._command)}")
        async with self._turn:
            if self._channel is None:
                raise NotWarm("there is no warm interpreter now")
            told = zygote.Become(argv, dict(environment)).told()
            return await self._forked(self._channel, told, on_line, prefix)

    async def _forked(
        self, channel: socket.socket, told: bytes, on_line: Callable[[str], None], prefix: str
    ) -> launch.Process:
        log, its_log = os.pipe()
        its_known, known = os.pipe()
        try:
            socket.send_fds(channel, [told], [its_log, its_known])
            answer = await self._answer(channel, _FORK_SECONDS)
        except BaseException as error:
            for fd in (log, known):
                os.close(fd)
            self._abandon()  # an answer that nobody has waited for would be the next one's
            if isinstance(error, OSError):
                raise NotWarm(str(error)) from error
            raise
        finally:
            for fd in (its_log, its_known):
                os.close(fd)
        process = launch.Process(launch.Adopted(answer["pid"]), log, on_line, prefix)
        self._know(process)
        with contextlib.suppress(OSError):  # it was killed meanwhile
            os.write(known, b"1")
        os.close(known)
        return process

    def _abandon(self) -> None:
        """Its end is what `keep` waits for."""
        if self._channel is not None:
            self._channel.close()
        self._channel = None
        if self._process is not None:
            self._process.terminate()

    async def _answer(self, channel: socket.socket, seconds: float) -> dict[str, Any]:
        """Raises NotWarm if there is none."""
        loop = asyncio.get_running_loop()
        try:
            told = await asyncio.wait_for(loop.sock_recv(channel, zygote.MOST_BYTES), seconds)
        except (OSError, asyncio.TimeoutError) as error:
            raise NotWarm(f"it does not answer: {error!r}") from error
        if not told:
            last = self._process.tail[-1] if self._process and self._process.tail else "it ended"
            raise NotWarm(last)
        answer: dict[str, Any] = json.loads(told)
        return answer

"""The engine as a process: started in a group of its own, its log pumped, its end noticed.

As PID 1 the wrapper also inherits every orphan of the pod and must reap it.
"""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from berth_server.args import Command

# A CUDA out-of-memory report of eight ranks, each with its traceback, is some 300 lines.
TAIL_LINES: Final = 600
MAX_LINE_BYTES: Final = 16 * 1024
_CHUNK_BYTES: Final = 64 * 1024
# Workers of a dead engine hold its pipe until the group's SIGKILL has reached them.
_PUMP_END_SECONDS: Final = 5.0
# tqdm draws over its line with a carriage return.
_LINE_END: Final = re.compile(rb"[\r\n]+")


class Lines:
    """Bytes in any pieces, to whole lines of text. A line without end is cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[str]:
        *whole, self._rest = _LINE_END.split(self._rest + chunk)
        if len(self._rest) > MAX_LINE_BYTES:
            whole.append(self._rest)
            self._rest = b""
        return [line[:MAX_LINE_BYTES].decode(errors="replace") for line in whole if line]


class Child(Protocol):
    """As `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def send_signal(self, sig: int, /) -> None: ...


class Adopted:
    """A child of ours that another process has forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            try:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # it was killed before it was known
                self._code = -signal.SIGKILL
            else:
                self._code = os.waitstatus_to_exitcode(status) if ended else None
        return self._code

    def send_signal(self, sig: int, /) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)


class Process:
    """One engine. Make it with `start`, in the event loop that `reap` is called in.

    `output` is the file descriptor of its log, closed when the log has ended; each line on the
    pod's own output begins with `prefix`.
    """

    def __init__(
        self, child: Child, output: int, on_line: Callable[[str], None], prefix: str = ""
    ) -> None:
        self.pid = child.pid
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._child = child
        self._on_line = on_line
        self._prefix = prefix
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[int] = self._loop.create_future()
        self._pump = threading.Thread(target=self._read, args=(output,), daemon=True)
        self._pump.start()

    async def wait(self) -> int:
        """The exit code, negative for a signal; again and again the same."""
        return await asyncio.shield(self._exit)

    def poll(self) -> None:
        """Looks whether the child has ended; called for every SIGCHLD."""
        code = self._child.poll()
        if code is not None and not self._exit.done():
            self._exit.set_result(code)

    @property
    def ended(self) -> bool:
        return self._exit.done()

    def terminate(self) -> None:
        """Asks the engine's API server, which ends its own workers."""
        if not self.ended:
            self._child.send_signal(signal.SIGTERM)

    async def destroy(self) -> None:
        """Ends every process of the engine's group and reads its last lines."""
        with contextlib.suppress(ProcessLookupError):  # all of them have ended
            os.killpg(self.pid, signal.SIGKILL)
        await self.wait()
        await asyncio.to_thread(self._pump.join, _PUMP_END_SECONDS)

    def _read(self, output: int) -> None:
        """In a thread: a log that blocks stops the engine's output, not the status page."""
        lines = Lines()
        while chunk := os.read(output, _CHUNK_BYTES):
            whole = lines.feed(chunk)
            with contextlib.suppress(OSError):  # nobody reads us; the engine must not block
                sys.stdout.buffer.write(self._shown(chunk, whole))
                sys.stdout.buffer.flush()
            self._loop.call_soon_threadsafe(self._take, whole)
        os.close(output)

    def _shown(self, chunk: bytes, whole: list[str]) -> bytes:
        """As it came, where there is one engine; by lines, where several speak at once."""
        if not self._prefix:
            return chunk
        return "".join(f"{self._prefix}{line}\n" for line in whole).encode()

    def _take(self, lines: list[str]) -> None:
        for line in lines:
            self.tail.append(line)
            self._on_line(line)


def start(
    command: Command,
    inherited: dict[str, str],
    on_line: Callable[[str], None],
    *,
    prefix: str = "",
    keep: Sequence[int] = (),
) -> Process:
    """Executes `command`, with the file descriptors `keep` as they are.

    Raises OSError if its program is not there.
    """
    read, write = os.pipe()
    try:
        child = subprocess.Popen(  # noqa: S603 -- an argument list from the operator, no shell
            command.argv,
            env=command.applied_to(inherited),
            stdin=subprocess.DEVNULL,
            stdout=write,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=keep,
        )
    except OSError:
        os.close(read)
        raise
    finally:
        os.close(write)
    return Process(child, read, on_line, prefix)


def reap(ours: dict[int, Process]) -> None:
    """Collects every child that has ended: our engines by their own, orphans at once."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        if engine := ours.get(ended.si_pid):
            engine.poll()
        else:
            with contextlib.suppress(ChildProcessError):  # the thread that ran it was faster
                os.waitpid(ended.si_pid, os.WNOHANG)

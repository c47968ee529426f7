"""`python -m berth_server.zygote FD`: imports what engines import, once, and forks each from it.

Over nine tenths of a small engine's start are imports. The pod's wrapper runs this with the
engine's own Python and talks to it over the socket FD, one message each way: what to become, with
two file descriptors, and the process id that came of it.

A fork copies one thread and no device: with a second thread, or with an accelerator opened, this
process ends before it promises anything, and the wrapper executes engines as ever.

The engine is forked twice, so that its parent is the wrapper, which waits for it like for any
other: as PID 1, or as the subreaper that it makes itself. It does nothing until the wrapper knows
it. Standard library only, and nothing of the wrapper but `fork`.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from berth_server import fork

# argv and environment of an engine are some 10 KB.
MOST_BYTES: Final = 128 * 1024
# The engine's log, and the pipe on which it waits to be known.
_FDS: Final = 2
_DESCRIPTORS: Final = Path("/proc/self/fd")
# Open from the moment that a process has used an accelerator.
_DEVICES: Final = ("/dev/nvidia", "/dev/kfd", "/dev/dri")


@dataclass(frozen=True)
class Become:
    """What a forked engine is to be. `argv` is what would have been executed."""

    argv: list[str]
    environment: dict[str, str]

    def told(self) -> bytes:
        return json.dumps({"argv": self.argv, "environment": self.environment}).encode()


def main(arguments: Sequence[str]) -> None:
    channel = socket.socket(fileno=int(arguments[0]))
    for module in arguments[1:]:
        importlib.import_module(module)
    if why := unsafe():
        sys.exit(f"engines cannot be forked: {why}")
    # What is here now is shared with every engine as long as nobody writes to it, and the
    # collector writes to what it looks at.
    gc.collect()
    gc.freeze()
    _tell(channel, ready=True)
    run(_wait(channel))


def unsafe() -> str | None:
    """Why this process must not be forked; None if it may."""
    threads = fork.settled_threads()
    if not fork.safe(threads):
        return f"its threads are {', '.join(threads)}"
    opened = [path for path in _opened() if path.startswith(_DEVICES)]
    return f"{opened[0]} is open" if opened else None


def _opened() -> Iterable[str]:
    return filter(None, map(_opened_as, _DESCRIPTORS.iterdir()))


def _opened_as(entry: Path) -> str | None:
    try:
        return str(entry.readlink())
    except OSError:
        return None  # the one that lists them


def _wait(channel: socket.socket) -> Become:
    """Forks as it is told to. Returns in the engines only."""
    while True:
        message, fds, _, _ = socket.recv_fds(channel, MOST_BYTES, _FDS)
        if not message:
            sys.exit(0)  # the wrapper has ended
        become = Become(**json.loads(message))
        if _forked(channel):
            channel.close()
            _take_place(become, *fds)
            return become
        for fd in fds:
            os.close(fd)


def _forked(channel: socket.socket) -> bool:
    """Whether this is the engine. Its process id is told once its parent is the wrapper."""
    read, write = os.pipe()
    between = os.fork()
    if between == 0:
        if os.fork() == 0:
            os.close(read)
            os.write(write, str(os.getpid()).encode())
            os.close(write)
            return True
        os._exit(0)
    os.close(write)
    os.waitpid(between, 0)
    pid = os.read(read, 32)
    os.close(read)
    _tell(channel, pid=int(pid))
    return False


def _tell(channel: socket.socket, **what: Any) -> None:
    channel.send(json.dumps(what).encode())


def _take_place(become: Become, log: int, known: int) -> None:
    """What a fresh process would have been given, before any of the engine's code runs."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    for fd, standard in ((null, 0), (log, 1), (log, 2)):
        os.dup2(fd, standard)
    for fd in (null, log):
        os.close(fd)
    if not os.read(known, 1):  # the wrapper has ended before it has written down who we are
        os._exit(1)
    os.close(known)
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):  # a library's, of its import
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(become.environment)


def run(become: Become) -> None:
    """As Python runs a program: `python -m module ...`, or a script."""
    target, arguments = program(become.argv)
    sys.argv = [target, *arguments]
    if target == become.argv[0]:
        sys.path[0] = str(Path(target).parent)
        runpy.run_path(target, run_name="__main__")
    else:
        if not hasattr(sys.modules.get(target), "__path__"):
            sys.modules.pop(target, None)  # it was imported, and is now run
        runpy.run_module(target, run_name="__main__", alter_sys=True)


def program(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The module or the script that `argv` runs, and its arguments."""
    if argv[1:2] == ["-m"]:
        return argv[2], list(argv[3:])
    return argv[0], list(argv[1:])


if __name__ == "__main__":
    main(sys.argv[1:])

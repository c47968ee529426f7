"""Long steps that say how long they have taken, and commands whose output is shown on failure."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dev.errors import CommandFailedError, DevError

HEARTBEAT_SECONDS = 10.0
POLL_SECONDS = 0.1


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(title: str, detail: Callable[[], str] = str) -> Iterator[None]:
    """Print when the step ends, and every few seconds until then that it still runs."""
    started = time.monotonic()
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            say(f"  ... {title}: {time.monotonic() - started:.0f} s {detail()}".rstrip())

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    say(f"  {title}: {time.monotonic() - started:.1f} s")


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    on_line: Callable[[str], None] | None = None,
) -> str:
    """Run a command to its end and return what it wrote; raise with the tail if it failed.

    `env` is added to this process's environment. `on_line` sees each line as it is written.
    """
    command = [str(part) for part in argv]
    process = subprocess.Popen(
        command,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if stdin is not None and process.stdin is not None:
        process.stdin.write(stdin)
        process.stdin.close()
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        if on_line is not None:
            on_line(line)
    output = "".join(lines)
    if status := process.wait():
        raise CommandFailedError(command, status, output)
    return output


def pipe(
    source: Sequence[str | Path], sink: Sequence[str | Path], *, env: Mapping[str, str]
) -> None:
    """Run `source | sink`, `env` added for the source; raise for the first that failed."""
    commands = [[str(part) for part in argv] for argv in (source, sink)]
    with tempfile.TemporaryFile("w+") as errors:
        writer = subprocess.Popen(
            commands[0], env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=errors
        )
        reader = subprocess.Popen(
            commands[1], stdin=writer.stdout, stdout=subprocess.DEVNULL, stderr=errors
        )
        if writer.stdout is not None:
            writer.stdout.close()  # the reader has it; the writer must notice when that ends
        reader_status = reader.wait()
        for command, status in zip(commands, (writer.wait(), reader_status), strict=True):
            if status:
                errors.seek(0)
                raise CommandFailedError(command, status, errors.read())


def succeeds(argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> bool:
    try:
        run(argv, env=env)
    except (CommandFailedError, FileNotFoundError):
        return False
    return True


def wait_for(what: str, ready: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise DevError(f"gave up after {seconds:.0f} s waiting for {what}")
        time.sleep(POLL_SECONDS)

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_server import launch
from berth_server.args import Command


@given(st.lists(st.sampled_from(["one", "two three", "ä€", "x" * 50]), max_size=6), st.data())
def test_lines_are_whole_however_the_bytes_arrive(lines, data):
    whole = "".join(f"{line}\n" for line in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    splitter = launch.Lines()
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert [line for piece in pieces for line in splitter.feed(piece)] == lines


def test_a_progress_bar_that_draws_over_its_line_is_many_lines():
    assert launch.Lines().feed(b"  0% Completed\r 50% Completed\r") == [
        "  0% Completed",
        " 50% Completed",
    ]


def test_a_line_without_end_is_cut():
    splitter = launch.Lines()
    [line] = splitter.feed(b"x" * (launch.MAX_LINE_BYTES + 1))
    assert len(line) == launch.MAX_LINE_BYTES
    assert splitter.feed(b"y\n") == ["y"]


def shell(script: str) -> Command:
    return Command(argv=["/bin/sh", "-c", script], environment={})


@pytest.fixture
async def started():
    """Starts engines and reaps them as PID 1 does."""
    loop = asyncio.get_running_loop()
    ours = {}

    def start(script: str, on_line=lambda _: None, prefix="") -> launch.Process:
        engine = launch.start(shell(script), dict(os.environ), on_line, prefix=prefix)
        ours[engine.pid] = engine
        engine.poll()
        return engine

    loop.add_signal_handler(signal.SIGCHLD, lambda: [engine.poll() for engine in ours.values()])
    yield start
    loop.remove_signal_handler(signal.SIGCHLD)


async def test_an_engines_log_and_exit_code_are_kept(started):
    engine = started("echo hello; echo oh >&2; exit 3")
    assert await asyncio.wait_for(engine.wait(), 5) == 3
    await engine.destroy()
    assert list(engine.tail) == ["hello", "oh"]
    assert engine.ended


async def test_where_several_engines_speak_each_line_says_whose_it_is(started, capfdbinary):
    engine = started("printf 'one\\rtwo\\n'", prefix="[a] ")
    await asyncio.wait_for(engine.wait(), 5)
    await engine.destroy()
    assert list(engine.tail) == ["one", "two"]
    assert b"[a] one\n[a] two\n" in capfdbinary.readouterr().out


def test_what_another_process_has_forked_is_waited_for_and_signalled():
    child = subprocess.Popen(["sleep", "60"])
    adopted = launch.Adopted(child.pid)
    assert adopted.poll() is None
    adopted.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 5
    while adopted.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert adopted.poll() == -signal.SIGTERM
    adopted.send_signal(signal.SIGTERM)  # it is gone, and its number may be another's
    child.wait()


def test_what_was_killed_before_it_was_known_was_killed():
    assert launch.Adopted(2**22 + 1).poll() == -signal.SIGKILL


async def test_destroying_an_engine_ends_its_whole_group(started):
    said = asyncio.Event()
    engine = started("sleep 60 & echo $!; wait", lambda _: said.set())
    await asyncio.wait_for(said.wait(), 5)
    worker = int(engine.tail[0])
    await asyncio.wait_for(engine.destroy(), 5)
    assert await engine.wait() == -signal.SIGKILL
    assert await _ends(worker)


async def _ends(pid: int) -> bool:
    """What was killed has closed its files a moment before the kernel calls it dead."""
    deadline = time.monotonic() + 5
    while (running := runs(pid)) and time.monotonic() < deadline:  # noqa: ASYNC110 -- not ours
        await asyncio.sleep(0.01)
    return not running


def runs(pid: int) -> bool:
    """A zombie does not; it waits for this machine's PID 1, which is not us here."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_a_missing_program_is_an_os_error():
    with pytest.raises(FileNotFoundError):
        launch.start(Command(argv=["/no/such/engine"], environment={}), {}, lambda _: None)


def test_orphans_are_reaped_and_our_own_engine_is_asked():
    """In a process of its own, because reaping takes every child there is."""
    script = (
        "import os, time\n"
        "from berth_server import launch\n"
        "class Ours:\n"
        "    polled = 0\n"
        "    def poll(self): self.polled += 1; os.waitpid(mine, 0)\n"
        "mine, orphan = os.fork(), 0\n"
        "if mine == 0: os._exit(0)\n"
        "orphan = os.fork()\n"
        "if orphan == 0: os._exit(0)\n"
        "ours = Ours()\n"
        "for _ in range(500):\n"
        "    launch.reap({mine: ours})\n"
        "    try: os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)\n"
        "    except ChildProcessError: break\n"
        "    time.sleep(0.01)\n"
        "else: raise SystemExit('zombies are left')\n"
        "assert ours.polled == 1\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def test_a_child_that_another_thread_has_collected_first_is_no_error(monkeypatch):
    """As the driver's tool is, which is run in a thread: it was there a moment ago."""
    child = subprocess.Popen(["true"])
    seen = iter([os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT), None])
    child.wait()
    monkeypatch.setattr(os, "waitid", lambda *_: next(seen))
    launch.reap({})
    assert next(seen, "asked for all") == "asked for all"

"""What it forks is seen in tests/faults/berth_server, where there is a process to fork from."""

import json
import os
import socket
import subprocess
import sys

import pytest

from berth_server import zygote
from berth_server.zygote import Become


@pytest.mark.parametrize(
    ("argv", "runs"),
    [
        (["python3", "-m", "vllm.cli", "serve", "/m"], ("vllm.cli", ["serve", "/m"])),
        (["/usr/bin/vllm", "serve", "/m"], ("/usr/bin/vllm", ["serve", "/m"])),
    ],
)
def test_a_program_is_a_module_or_a_script(argv, runs):
    assert zygote.program(argv) == runs


def test_an_order_crosses_the_socket_whole():
    become = Become(["vllm", "serve", "ä"], {"A": "1\n2"})
    assert Become(**json.loads(become.told())) == become


def test_an_accelerator_that_was_opened_forbids_a_fork(monkeypatch):
    monkeypatch.setattr(zygote.fork, "settled_threads", lambda: ["python3"])
    monkeypatch.setattr(zygote, "_opened", lambda: ["/dev/null", "/dev/nvidiactl"])
    assert zygote.unsafe() == "/dev/nvidiactl is open"
    monkeypatch.setattr(zygote, "_opened", lambda: ["/dev/null", "pipe:[1]"])
    assert zygote.unsafe() is None


def test_a_second_thread_forbids_a_fork(monkeypatch):
    monkeypatch.setattr(zygote.fork, "settled_threads", lambda: ["python3", "tokio-runtime-w"])
    assert zygote.unsafe() == "its threads are python3, tokio-runtime-w"


def test_what_is_open_is_seen(tmp_path):
    with (tmp_path / "file").open("w"):
        assert str(tmp_path / "file") in set(zygote._opened())


def begun(*modules: str) -> tuple[subprocess.Popen, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        child = subprocess.Popen(
            [sys.executable, "-m", "berth_server.zygote", str(theirs.fileno()), *modules],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
        )
    ours.settimeout(30)
    return child, ours


def test_it_ends_with_its_wrapper():
    child, channel = begun("json")
    assert json.loads(channel.recv(1000)) == {"ready": True}
    channel.close()
    assert child.wait(10) == 0
    child.stderr.close()


def test_what_cannot_be_imported_is_told_and_ends_it():
    child, channel = begun("no_such_module")
    assert channel.recv(1000) == b""
    assert b"no_such_module" in child.communicate(timeout=10)[1]
    channel.close()


SCRIPT = """
import os, signal, sys
print(sys.argv, os.environ["WORD"], os.getpid() == os.getsid(0), "GONE" in os.environ)
print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, __name__, sys.path[0])
sys.exit(3)
"""


@pytest.fixture
def forked(tmp_path):
    """`forked(argv, known)`: what a forked program printed."""
    child, channel = begun("json")
    channel.recv(1000)

    def run(argv, known=b"1") -> str:
        log, its_log = os.pipe()
        its_known, we_know = os.pipe()
        told = Become(argv, {"WORD": "hello", "PATH": os.environ["PATH"]}).told()
        socket.send_fds(channel, [told], [its_log, its_known])
        for fd in (its_log, its_known):
            os.close(fd)
        assert json.loads(channel.recv(1000))["pid"] > 0
        os.write(we_know, known)
        os.close(we_know)
        with os.fdopen(log) as opened:
            return opened.read()

    yield run
    channel.close()
    child.wait(10)
    child.stderr.close()


def test_a_forked_script_is_as_one_that_was_executed(forked, tmp_path, monkeypatch):
    monkeypatch.setenv("GONE", "1")
    script = tmp_path / "program"
    script.write_text(SCRIPT)
    first, second = forked([str(script), "serve", "/m"]).splitlines()
    assert first == f"['{script}', 'serve', '/m'] hello True False"
    assert second == f"True __main__ {tmp_path}"


def test_a_forked_module_runs_as_the_main_one(forked):
    said = forked([sys.executable, "-m", "json.tool", "--help"])
    assert said.startswith("usage: ")


def test_an_engine_that_nobody_has_written_down_does_not_run(forked, tmp_path):
    script = tmp_path / "program"
    script.write_text(SCRIPT)
    assert forked([str(script)], known=b"") == ""

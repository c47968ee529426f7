"""`berth run`: one answer or a chat; how a model comes up is told, and Ctrl-C ends an answer only."""

import asyncio
import io
import signal
import sys
import threading
import time
from contextlib import asynccontextmanager

import pytest
import terminal_world as world
from fakes.terminal import DONE, PARIS, USAGE, OpenAI, chunk

from berth_api.status import Status
from berth_cli import __main__ as cli
from berth_cli import access, chat, conversation
from berth_cli.answers import Piece, Usage
from berth_cli.conversation import Heard

CAPITAL = "The capital is Paris.\n"


class Tty(io.StringIO):
    def isatty(self):
        return True


class Lines:
    """A person at a terminal: what is typed, line by line; an exception stands for Ctrl-C."""

    def __init__(self, *typed):
        self.typed = list(typed)
        self.prompts = []

    def __call__(self, prompt=""):
        self.prompts.append(prompt)
        if not self.typed:
            raise EOFError
        found = self.typed.pop(0)
        if isinstance(found, BaseException):
            raise found
        return found


@pytest.fixture
def server(monkeypatch):
    """The gateway behind the cluster, in the terminal's own loop."""
    found, cluster = OpenAI(), world.cluster()

    @asynccontextmanager
    async def session(site, environ):
        async with found.running(), cluster.session(site, environ) as reached:
            cluster.gateway = found
            yield reached

    monkeypatch.setattr(access, "session", session)
    monkeypatch.setattr("sys.stdin", Tty())
    return found


@pytest.fixture
def berth(server, capsys):
    def run(*words):
        code = cli.main(["run", "smollm2", "--key", "k", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def typed(monkeypatch, *lines):
    person = Lines(*lines)
    monkeypatch.setattr("builtins.input", person)
    return person


def asked(server):
    return [one["messages"][-1]["content"] for one in server.asked]


def test_a_prompt_has_one_answer(berth, server):
    assert berth("What is the capital of France?") == (0, CAPITAL, "")
    assert asked(server) == ["What is the capital of France?"]
    assert server.asked[0]["model"] == "smollm2.team-a"


def test_standard_input_is_added_to_the_prompt(berth, server, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a long text\n"))
    assert berth("Summarise:")[0] == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("a long text\n"))
    assert berth()[0] == 0
    assert asked(server) == ["Summarise:\n\na long text\n", "a long text\n"]


def test_verbose_tells_the_tokens_and_their_rate(berth):
    _, out, err = berth("Hi", "--verbose")
    assert out == CAPITAL
    assert "3 tokens, " in err
    assert "a prompt of 9" in err


def test_a_chat_remembers_until_it_is_told_to_forget(berth, server, monkeypatch):
    person = typed(monkeypatch, "One?", "", "Two?", "/clear", "Three?", "/what", "/bye", "Never")
    code, out, _ = berth()
    assert code == 0
    assert out.count(CAPITAL) == 3
    assert chat._HELP in out
    assert [len(one["messages"]) for one in server.asked] == [1, 3, 1]
    assert server.asked[1]["messages"][1] == {"role": "assistant", "content": CAPITAL.strip()}
    assert person.typed == ["Never"]


def test_several_lines_are_one_message(berth, server, monkeypatch):
    typed(monkeypatch, '"""one', "two", 'three"""', '"""four"""')
    berth()
    assert asked(server) == ["one\ntwo\nthree", "four"]


def test_ctrl_c_at_the_prompt_says_how_to_leave(berth, server, monkeypatch):
    typed(monkeypatch, KeyboardInterrupt(), "Hi")
    code, out, _ = berth()
    assert code == 0
    assert "/bye leaves" in out
    assert asked(server) == ["Hi"]


@pytest.fixture
def terminal_signals():
    """A shell that starts the tests in the background has them ignore what its keys send."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _interrupt_once_heard(server):
    """As the terminal does, once some of the answer is there."""
    main = threading.main_thread().ident

    def press():
        for _ in range(1000):
            if server.asked:
                break
            time.sleep(0.01)
        time.sleep(0.3)
        signal.pthread_kill(main, signal.SIGINT)  # it waits for sockets, which a signal ends

    thread = threading.Thread(target=press)
    thread.start()
    return thread


@pytest.mark.usefixtures("terminal_signals")
def test_ctrl_c_ends_an_answer_and_not_the_chat(berth, server, monkeypatch):
    server.lines, server.stalls = PARIS[:1], True
    second = threading.Event()

    class Person(Lines):
        def __call__(self, prompt=""):
            if len(self.typed) == 1:
                second.set()
                server.lines, server.stalls = PARIS, False
            return super().__call__(prompt)

    monkeypatch.setattr("builtins.input", Person("One?", "Two?"))
    thread = _interrupt_once_heard(server)
    code, out, _ = berth()
    thread.join()
    assert (code, second.is_set()) == (0, True)
    assert out.endswith(CAPITAL)
    assert server.asked[1]["messages"][1] == {"role": "assistant", "content": "The capital "}
    assert server.left == 1


@pytest.mark.usefixtures("terminal_signals")
def test_ctrl_c_ends_a_single_answer_with_130(berth, server):
    server.lines, server.stalls = PARIS[:1], True
    thread = _interrupt_once_heard(server)
    code, out, _ = berth("Hi")
    thread.join()
    assert (code, out) == (cli.EXIT_INTERRUPTED, "The capital \n")


def test_a_refusal_ends_a_single_answer_with_1_and_a_chat_goes_on(berth, server, monkeypatch):
    server.status, server.lines = 503, ['{"error": {"message": "paused"}}']
    code, out, err = berth("Hi")
    assert (code, out) == (1, "")
    assert err == "berth run: the gateway refuses: paused (HTTP 503)\n"
    typed(monkeypatch, "One?", "Two?")
    code, _, err = berth()
    assert (code, err.count("paused")) == (0, 2)


def test_a_model_that_is_not_there_is_named(server, capsys):
    assert cli.main(["run", "nobody", "Hi"]) == cli.EXIT_INPUT
    assert "MODEL nobody: there is no ModelDeployment of that name" in capsys.readouterr().err


def test_an_address_needs_no_cluster(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", Tty())
    server, ready, over = OpenAI(), threading.Event(), threading.Event()

    async def serve():
        async with server.running():
            ready.set()
            await asyncio.to_thread(over.wait, 30)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait(30)
    code = cli.main(["run", "gpt-4o", "Hi", "--url", f"{server.url}/v1/", "--key", "k"])
    over.set()
    thread.join()
    assert (code, capsys.readouterr().out) == (0, CAPITAL)
    assert server.asked[0]["model"] == "gpt-4o"


def test_what_a_model_writes_does_not_reach_a_terminal_as_controls(berth, server, monkeypatch):
    server.lines = [chunk("a\x1b[2Jb\tc"), chunk("", reasoning="Hm"), USAGE, DONE]
    assert berth("Hi")[1] == "a\x1b[2Jb\tc\n"
    screen = Tty()
    monkeypatch.setattr("sys.stdout", screen)
    cli.main(["run", "smollm2", "Hi", "--key", "k"])
    assert screen.getvalue() == "a\\x1b[2Jb\tc\x1b[2mHm\x1b[0m\n"


async def test_while_a_model_starts_its_phase_is_shown_until_the_first_word(monkeypatch):
    line = Tty()
    monkeypatch.setattr("sys.stderr", line)
    looks = iter(
        [
            Status(phase="Fetching", progress="10%"),
            Status.model_validate(
                {"phase": "Loading", "load": {"phase": "Loading", "etaSeconds": 12}}
            ),
        ]
    )
    monkeypatch.setattr(conversation, "LOOK_SECONDS", 0.0)
    shown = conversation.StatusLine()

    async def look():
        found = next(looks, None)
        if found is None:
            await asyncio.sleep(60)
        return found

    watching = asyncio.create_task(conversation.watch(shown, look))
    await asyncio.sleep(0.05)
    watching.cancel()
    shown.clear()
    assert line.getvalue() == "\r\x1b[KFetching 10%\r\x1b[KLoading, about 12 s left\r\x1b[K"


def test_what_serves_needs_no_status_line():
    assert conversation.progress(Status(phase="Serving", ready_replicas=1)) == ""


def test_a_rate_is_of_the_tokens_behind_the_first():
    heard = Heard(asked_at=10.0)
    heard.add(Piece("a"), 11.0)
    heard.add(Piece("b"), 13.0)
    assert conversation.figures(heard) == "tokens: not told"
    heard.usage = Usage(7, 5)
    assert (
        conversation.figures(heard)
        == "5 tokens, 2.0 tokens/s, the first after 1.00 s; a prompt of 7"
    )


def test_where_nothing_can_be_read_there_is_no_question(berth, server, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert chat._given("Hi") == "Hi"
    code, _, err = berth()
    assert (code, server.asked) == (cli.EXIT_INPUT, [])
    assert "PROMPT: none is given, and standard input is empty; write one" in err
    monkeypatch.setattr("sys.stdin", Tty())
    assert chat._given(None) is None
    assert sys.stdin.isatty()

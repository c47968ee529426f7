"""The command lines of what speaks to a cluster."""

from pathlib import Path

import pytest

from berth_cli import arguments
from berth_cli.commands import Create, Load, Logs, Ps, Run, Site, Unload, Way, Why

USUAL = Site(None, None, None, "berth-system")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["ps"], Ps(USUAL, False, "text")),
        (["ps", "-A", "-o", "wide"], Ps(USUAL, True, "wide")),
        (["why", "m", "-o", "json"], Why(USUAL, "m", "json")),
        (["run", "m"], Run(USUAL, "m", None, Way(None, None), verbose=False)),
        (
            ["run", "m", "Hi", "--url", "http://a/v1/", "--key=k", "--verbose"],
            Run(USUAL, "m", "Hi", Way("http://a", "k"), verbose=True),
        ),
        (
            ["run", "m", "--verbose", "What", "is", "it?"],
            Run(USUAL, "m", "What is it?", Way(None, None), verbose=True),
        ),
        (["load", "m", "--keep-alive", "-1"], Load(USUAL, "m", "-1", Way(None, None), "text")),
        (["unload", "m"], Unload(USUAL, "m", "text")),
        (["logs", "m", "-fp", "--pod", "x"], Logs(USUAL, "m", True, True, "x")),
        (["create", "m"], Create(USUAL, "m", Path("Modelfile"), False, None)),
        (
            ["create", "m", "-f", "-", "--dry-run", "-o", "yaml"],
            Create(USUAL, "m", Path("-"), True, "yaml"),
        ),
        (
            ["ps", "--kubeconfig", "k", "--context=c", "-n=n", "--release=r"],
            Ps(Site(Path("k"), "c", "n", "r"), False, "text"),
        ),
    ],
)
def test_words_are_read(words, found):
    assert arguments.parse(words) == found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ps", "-A", "-n", "x"], "--namespace: x says nothing with -A; remove one"),
        (["run", "m", "--url", "gateway"], "'gateway' is no address of a gateway; write for"),
        (["load", "m", "--keep-alive", "soon"], "'soon' is not a duration; write for example"),
        (["why"], "the following arguments are required: MODEL"),
        (["why", "m", "-o", "yaml"], "invalid choice: 'yaml'"),
        (["run", "m", "--what", "Hi"], "unrecognized arguments: --what Hi; see berth run --help"),
        (["ps", "m"], "unrecognized arguments: m; see berth ps --help"),
        (["stop"], "invalid choice: 'stop'"),
    ],
)
def test_what_cannot_be_read_is_named(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        arguments.parse(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["ps", "why", "run", "load", "unload", "logs", "create"])
def test_every_command_tells_its_exit_codes(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        arguments.parse([verb, "--help"])
    assert ended.value.code == 0
    assert "exit codes: 0 done" in capsys.readouterr().out

"""`berth create`: a Modelfile as a ModelDeployment, printed or applied."""

import io
import json

import pytest
import terminal_world as world
import yaml

from berth_cli import __main__ as cli
from berth_cli import access
from berth_cli.errors import InputError
from berth_operator.cluster import kinds

MODELFILE = (
    "FROM hf.co/Qwen/Qwen3-8B\nPARAMETER temperature 0.7\nPARAMETER num_gpu 1\nSYSTEM Be brief.\n"
)


@pytest.fixture
def cluster(monkeypatch):
    found = world.cluster()
    monkeypatch.setattr(access, "session", found.session)
    return found


@pytest.fixture
def berth(tmp_path, capsys):
    def run(text, *words, name="mario"):
        path = tmp_path / "Modelfile"
        path.write_text(text)
        code = cli.main(["create", name, "-f", str(path), *words])
        said = capsys.readouterr()
        return code, said.out, said.err.replace(str(tmp_path) + "/", "")

    return run


@pytest.fixture
def nowhere(monkeypatch):
    """No cluster: whoever asks for one fails."""

    def session(site, environ):
        raise InputError("no cluster")

    monkeypatch.setattr(access, "session", session)


def test_a_dry_run_prints_the_object_and_needs_no_cluster(berth, nowhere):
    code, out, err = berth(MODELFILE, "--dry-run")
    assert code == 0
    assert yaml.safe_load(out)["spec"]["defaults"] == {
        "parameters": {"temperature": "0.7"},
        "system": "Be brief.",
    }
    assert err == (
        "berth create: -f Modelfile: line 3: PARAMETER num_gpu 1: Berth plans it from the model and "
        "the accelerator; see spec.parallelism.tensor\n"
    )
    assert json.loads(berth(MODELFILE, "--dry-run", "-o", "json")[1]) == yaml.safe_load(out)


def test_all_problems_are_told_with_their_lines(berth, nowhere):
    code, out, err = berth("FROM hf://a/b\nTEMPLATE x\nPARAMETER top_p 2\n", "--dry-run")
    assert (code, out) == (cli.EXIT_INPUT, "")
    assert err.startswith("berth create: -f Modelfile: line 2: TEMPLATE is a template of Go")
    assert "\n-f Modelfile: line 3: PARAMETER top_p 2: must be a number above 0" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SYSTEM a", "-f Modelfile: line 1: there is no FROM; add for example FROM hf://Qwen"),
        ("FROM hf://a/b\nADAPTER pvc://a/../c", "-f Modelfile: spec.adapters[0].source: "),
    ],
)
def test_what_would_be_refused_is_refused_here(berth, nowhere, text, said):
    code, _, err = berth(text, "--dry-run")
    assert code == cli.EXIT_INPUT
    assert said in err


def test_a_file_that_is_not_there_is_named(capsys, nowhere):
    assert cli.main(["create", "m", "-f", "/nowhere"]) == cli.EXIT_INPUT
    assert "-f /nowhere: " in capsys.readouterr().err


def test_standard_input_is_a_file(capsys, nowhere, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(MODELFILE.encode())))
    assert cli.main(["create", "m", "-f", "-", "--dry-run"]) == 0
    assert "hf://Qwen/Qwen3-8B" in capsys.readouterr().out


def test_it_is_created_once_and_then_changed_or_left(berth, cluster):
    told = "modeldeployment.berth.dev/mario"
    assert berth(MODELFILE)[:2] == (0, f"{told} created\n")
    assert berth(MODELFILE)[1] == f"{told} unchanged\n"
    assert berth(MODELFILE.replace("brief", "long"))[1] == f"{told} configured\n"
    stored = cluster.find(kinds.MODEL, "team-a", "mario")
    assert stored["spec"]["defaults"]["system"] == "Be long."
    assert yaml.safe_load(berth(MODELFILE, "-o", "yaml")[1])["metadata"]["namespace"] == "team-a"


def test_a_model_of_the_cluster_can_be_the_base(berth, cluster):
    code, out, err = berth("FROM qwen3\nSYSTEM Be brief.", "--dry-run")
    assert code == 0
    assert yaml.safe_load(out)["spec"]["model"]["source"] == "hf://organisation/qwen3"
    assert "line 1: its engine is qwen3's, word for word" in err
    assert cluster.writes == []


def test_a_name_that_nobody_has_is_taken_for_ollamas(berth, cluster):
    code, _, err = berth("FROM llama3.2")
    assert code == cli.EXIT_INPUT
    assert "no ModelDeployment has this name, and what Ollama's library has" in err


def test_a_name_of_ollamas_kind_is_kept_for_clients(berth, nowhere):
    found = yaml.safe_load(berth(MODELFILE, "--dry-run", name="Qwen3:8b")[1])
    assert (found["metadata"]["name"], found["spec"]["model"]["name"]) == ("qwen3-8b", "Qwen3:8b")

"""`berth ps`, `why`, `load`, `unload`, `create` and `logs` against a real API server."""

import json
from collections.abc import Callable

import pytest
import yaml
from operator_process import Models
from said_gateway import SaidGateway
from terminal_world import SERVING, UNPLACED, UNSCHEDULED

from berth_cli import __main__ as cli
from dev.kubectl import Kubectl

Berth = Callable[..., tuple[int, str, str]]


@pytest.fixture
def berth(kubectl: Kubectl, namespace: str, capsys: pytest.CaptureFixture[str]) -> Berth:
    def run(*words: str) -> tuple[int, str, str]:
        where = ("-n", namespace, "--release", namespace, "--kubeconfig", str(kubectl.kubeconfig))
        code = cli.main([*words, *where])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def smol(kubectl: Kubectl, models: Models) -> str:
    """A model as an operator would have left it, without one that would change it."""
    models.create("smol")
    _tell(kubectl, models.namespace, "smol", SERVING["status"])
    return "smol"


def _tell(kubectl: Kubectl, namespace: str, name: str, status: object) -> None:
    patch = json.dumps({"status": status})
    where = ("--namespace", namespace, "mdep", name, "--subresource=status", "--type=merge")
    kubectl("patch", *where, "-p", patch)


def replicas(models: Models) -> int:
    found: int = models.get("mdep", "smol")["spec"]["replicas"]
    return found


def test_ps_guesses_no_requests_where_a_gateway_is_not_reached(
    berth: Berth, smol: str, kubectl: Kubectl, namespace: str
) -> None:
    code, out, err = berth("ps")
    assert (code, out.splitlines()[1].split()[:3]) == (0, ["smol", "Serving", "CPU"])
    assert "requests are not known: no gateway of Berth's is ready" in err
    # The API server leads nobody to its own machine, where this gateway is.
    with SaidGateway(kubectl, namespace).running():
        code, out, err = berth("ps", "-o", "json")
    assert "requests are not known: " in err
    assert "/proxy/demand?once=true answered 400" in err
    (found,) = json.loads(out)["models"]
    assert (code, found["inFlight"], found["held"]) == (0, None, None)
    assert found["until"] == "forever"


def test_why_has_the_schedulers_words(
    berth: Berth, smol: str, kubectl: Kubectl, namespace: str
) -> None:
    _tell(kubectl, namespace, smol, UNPLACED["status"])
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "smol-x", "namespace": namespace, "labels": {"berth.dev/model": smol}},
        "spec": {
            "containers": [{"name": "engine", "image": "example.test/vllm:1"}],
            "schedulerName": "none",
        },
    }
    kubectl("create", "-f", "-", stdin=json.dumps(pod))
    status = json.dumps({"status": UNSCHEDULED})
    where = ("--namespace", namespace, "pod", "smol-x", "--subresource=status", "--type=merge")
    kubectl("patch", *where, "-p", status)
    code, out, _ = berth("why", smol)
    assert code == cli.EXIT_DOES_NOT_FIT
    assert "It waits for Scheduled: InsufficientGPU" in out
    assert "0/3 nodes are available: 3 Insufficient nvidia.com/gpu." in out


def test_a_fixed_model_goes_and_comes_by_its_scale_subresource(
    berth: Berth, smol: str, models: Models
) -> None:
    assert berth("unload", smol)[:2] == (0, "smol: spec.replicas is 0 now\n")
    assert replicas(models) == 0
    assert berth("load", smol)[:2] == (0, "smol: spec.replicas is 1 now\n")
    assert replicas(models) == 1
    fields = models.get("mdep", f"{smol}").get("metadata", {}).get("managedFields", [])
    assert fields == [] or any(one["manager"] == "berth-cli" for one in fields)


def test_a_modelfile_becomes_a_model_of_the_cluster(
    berth: Berth, models: Models, tmp_path, kubectl: Kubectl, namespace: str
) -> None:
    path = tmp_path / "Modelfile"
    path.write_text(
        "FROM hf.co/Qwen/Qwen3-8B\nPARAMETER temperature .7\nPARAMETER stop a\n"
        'PARAMETER seed 1\nSYSTEM """Be\nbrief."""\nMESSAGE user Hi\nMESSAGE assistant Hello\n'
    )
    create = ("create", "Mario:8b", "-f", str(path))
    assert berth(*create)[:2] == (0, "modeldeployment.berth.dev/mario-8b created\n")
    assert berth(*create)[1].endswith("/mario-8b unchanged\n")
    stored = models.get("mdep", "mario-8b")["spec"]
    assert stored["model"] == {"source": "hf://Qwen/Qwen3-8B", "name": "Mario:8b"}
    assert stored["defaults"] == yaml.safe_load(berth(*create, "--dry-run")[1])["spec"]["defaults"]
    kubectl("apply", "--server-side", "--field-manager", "argocd", "--force-conflicts", "-f", "-",
        stdin=json.dumps({
            "apiVersion": "berth.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": "mario-8b", "namespace": namespace},
            "spec": {"model": {"source": "hf://Qwen/Qwen3-14B"}},
        }),
    )  # fmt: skip
    code, _, err = berth(*create)
    assert (code, models.get("mdep", "mario-8b")["spec"]["model"]["source"]) == (
        cli.EXIT_DOES_NOT_FIT,
        "hf://Qwen/Qwen3-14B",
    )
    assert '"argocd"' in err
    assert "another owner of that field keeps it: change it there" in err


def test_a_model_made_of_another_has_its_engine(
    berth: Berth, smol: str, models: Models, tmp_path
) -> None:
    path = tmp_path / "Modelfile"
    path.write_text("FROM smol\nSYSTEM Be brief.")
    assert berth("create", "brief", "-f", str(path))[0] == 0
    assert models.get("mdep", "brief")["spec"]["model"] == models.get("mdep", smol)["spec"]["model"]


def test_what_is_not_there_ends_with_2(berth: Berth, definition: None) -> None:
    for verb in ("why", "load", "unload", "logs"):
        code, out, err = berth(verb, "nobody")
        assert (code, out) == (cli.EXIT_INPUT, "")
        assert f"berth {verb}: MODEL nobody: there is no ModelDeployment of that name" in err


def test_a_model_without_pods_has_no_log(berth: Berth, smol: str) -> None:
    code, _, err = berth("logs", smol)
    assert code == cli.EXIT_INPUT
    assert "it has no pod; `berth why smol` says what it waits for" in err

"""The commands that speak to a cluster: what they print, what they write, and how they end."""

import json
from datetime import datetime

import pytest
import terminal_world as world
from fakes.cluster import Call, Fault
from fakes.terminal import OpenAI

from berth_api import names
from berth_cli import __main__ as cli
from berth_cli import access
from berth_operator.cluster import kinds
from berth_operator.errors import Conflict, Denied, Unavailable


@pytest.fixture
def cluster(monkeypatch):
    found = world.cluster()
    monkeypatch.setattr(access, "session", found.session)
    return found


@pytest.fixture
def berth(cluster, capsys):
    def run(*words):
        code = cli.main(words)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def spec(cluster, name):
    return cluster.find(kinds.MODEL, world.NAMESPACE, name)["spec"]


def test_ps_shows_every_model_of_the_namespace(berth):
    code, out, err = berth("ps")
    assert (code, err) == (0, "")
    header, *rows = out.splitlines()
    assert header.split()[:4] == ["NAME", "PHASE", "PROCESSOR", "MEMORY"]
    assert [row.split()[0] for row in rows] == sorted(
        one["metadata"]["name"] for one in world.MODELS
    )


def test_ps_of_all_namespaces_tells_which(berth):
    assert berth("ps", "-A")[1].splitlines()[1].split()[:2] == ["team-a", "deepseek"]


def test_ps_of_another_namespace_is_empty(berth):
    assert berth("ps", "-n", "elsewhere")[:2] == (
        0,
        "no ModelDeployments; `berth create`, or kubectl apply\n",
    )


def test_ps_in_json_has_null_for_what_is_not_known(berth):
    models = {one["name"]: one for one in json.loads(berth("ps", "-o", "json")[1])["models"]}
    assert models["smollm2"]["inFlight"] == 3
    assert models["llama-70b"]["memory"] == {"plannedBytes": 73 * 2**30, "measuredBytes": None}
    assert models["llama-70b"]["until"] == "10m idle"
    assert models["qwen3"]["until"] is None
    assert models["gpt-oss"]["replicas"] == {"ready": 0, "current": 2, "wanted": 2}


def test_a_gateway_that_does_not_tell_leaves_dashes_and_a_word(berth, cluster):
    cluster.put(world.gateway_pod("berth-gateway-2"))
    code, out, err = berth("ps")
    assert code == 0
    assert err.startswith("berth ps: requests are not known: no answer from berth-gateway-2")
    assert "  -          -     1/1" in out


def test_a_release_elsewhere_is_said_to_have_no_gateway(berth):
    assert "in namespace other; see --release" in berth("ps", "--release", "other")[2]


def test_why_ends_with_0_where_it_serves_and_1_where_it_does_not(berth):
    assert berth("why", "smollm2")[0] == 0
    assert berth("why", "qwen3")[0] == 0
    assert berth("why", "llama-70b")[0] == cli.EXIT_DOES_NOT_FIT


def test_a_model_that_is_not_there_is_an_input_that_cannot_be_read(berth):
    for verb in ("why", "load", "unload", "logs"):
        code, out, err = berth(verb, "nobody")
        assert (code, out) == (cli.EXIT_INPUT, "")
        assert err.startswith(
            f"berth {verb}: MODEL nobody: there is no ModelDeployment of that name"
        )


def test_a_fixed_model_is_unloaded_and_loaded_by_the_scale_subresource(berth, cluster):
    assert berth("unload", "smollm2")[:2] == (0, "smollm2: spec.replicas is 0 now\n")
    assert spec(cluster, "smollm2")["replicas"] == 0
    assert berth("unload", "smollm2")[1] == "smollm2 has spec.replicas 0 already\n"
    assert berth("load", "smollm2")[1] == "smollm2: spec.replicas is 1 now\n"
    assert json.loads(berth("load", "smollm2", "-o", "json")[1]) == {
        "namespace": "team-a",
        "name": "smollm2",
        "done": "Nothing",
        "replicas": None,
        "message": "smollm2 has spec.replicas 1 already",
    }


def test_what_is_not_done_ends_with_1_and_the_fix(berth, cluster):
    code, out, err = berth("unload", "llama-70b")
    assert (code, out) == (1, "")
    assert "leaves by itself 10m after its last request; to have that sooner: kubectl" in err
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Denied('modeldeployments is forbidden: User "u"'), 1, "is forbidden"),
        (Unavailable("no answer: connection refused"), 2, "see --kubeconfig, --context"),
        (Conflict("conflict with argocd"), 1, "another owner of that field keeps it"),
    ],
)
def test_the_api_servers_words_are_told_and_decide_the_exit_code(berth, cluster, error, code, said):
    cluster.faults.append(Fault(error, verb="list"))
    found = berth("ps")
    assert found[0] == code
    assert str(error) in found[2]
    assert said in found[2]


def test_logs_are_those_of_the_newest_engine(cluster, capfdbinary):
    cluster.logged["llama-70b-5c6d-x"] = [b"INFO loading\n", b"\xff raw\n"]
    assert cli.main(["logs", "llama-70b"]) == 0
    assert capfdbinary.readouterr().out == b"INFO loading\n\xff raw\n"


def test_a_pod_of_another_model_has_no_logs_here(berth):
    code, _, err = berth("logs", "llama-70b", "--pod", "llama-70b-shape-x")
    assert code == cli.EXIT_INPUT
    assert "--pod llama-70b-shape-x: llama-70b's pods are llama-70b-5c6d-x; name one" in err
    assert "it has no pod; `berth why qwen3` says" in berth("logs", "qwen3")[2]


def test_a_restarted_engines_log_is_asked_for_and_followed(berth, cluster):
    cluster.logged["llama-70b-5c6d-x"] = []
    assert berth("logs", "llama-70b", "-f")[0] == 0
    assert berth("logs", "llama-70b", "-p")[0] == 0
    pod = "llama-70b-5c6d-x"
    assert cluster.log_asked == [(pod, True, False), (pod, False, True)]


POOL_LOG = [
    b"INFO pool: engine 1a2b3c4d5e starts\n[1a2b3c4d5e] INFO loading\n[5f6a7b8",
    b"c9d] INFO another's\n[warm] imports\n[1a2b",
    b"3c4d5e] \xff raw\n[1a2b3c4d5e] [5f6a7b8c9d] quoted",
]


@pytest.mark.parametrize("options", [(), ("-f",), ("-p",), ("--pod", "small-pool-1f-x")])
def test_logs_of_a_pools_model_are_its_engines_lines(cluster, capfdbinary, options):
    cluster.logged["small-pool-1f-x"] = POOL_LOG
    assert cli.main(["logs", "mistral", *options]) == 0
    said = capfdbinary.readouterr().out
    assert said == b"INFO loading\n\xff raw\n[5f6a7b8c9d] quoted"
    assert cluster.log_asked == [("small-pool-1f-x", "-f" in options, "-p" in options)]


def test_logs_are_of_the_pod_that_holds_the_engine_and_not_of_the_newest(berth, cluster):
    cluster.put(world.pool_pod("small-pool-1f-y", born="2026-01-02T03:04:05Z"))
    cluster.logged["small-pool-1f-x"] = [b"[1a2b3c4d5e] here\n"]
    assert berth("logs", "mistral")[:2] == (0, "here\n")


def test_a_pools_model_that_is_loaded_nowhere_says_so_and_where_it_may_have_been(berth, cluster):
    code, out, err = berth("logs", "gemma")
    assert (code, out) == (cli.EXIT_INPUT, "")
    assert "MODEL gemma: pool small has it loaded nowhere; `berth why gemma` says" in err
    assert "and --pod small-pool-1f-x shows what it wrote there before" in err
    cluster.logged["small-pool-1f-x"] = [b"[5f6a7b8c9d] out of memory\n"]
    assert berth("logs", "gemma", "--pod", "small-pool-1f-x")[:2] == (0, "out of memory\n")


def test_a_pool_that_is_not_there_or_says_nothing_of_a_model_has_no_log_of_it(berth, cluster):
    cluster.put(world.model("lost", {"pool": "nowhere"}))
    cluster.put(world.model("young", {"pool": "small"}))
    assert "there is no ModelPool nowhere in its namespace; create it" in berth("logs", "lost")[2]
    err = berth("logs", "young")[2]
    assert "pool small has it loaded nowhere" in err
    assert "--pod" not in err


def test_a_pod_of_another_pool_has_no_logs_of_a_model(berth, cluster):
    cluster.put(world.pool_pod("large-pool-2e-x", of="large"))
    code, _, err = berth("logs", "mistral", "--pod", "large-pool-2e-x")
    assert code == cli.EXIT_INPUT
    assert "--pod large-pool-2e-x: mistral's pods are small-pool-1f-x; name one" in err


def test_a_model_that_moves_into_a_pool_has_the_logs_of_its_own_pods_until_it_is_there(
    berth, cluster
):
    cluster.put(world.pod("gemma-7f-x", "gemma"))
    cluster.logged["gemma-7f-x"] = [b"as it came\n"]
    assert berth("logs", "gemma")[:2] == (0, "as it came\n")
    cluster.put(world.pod("mistral-7f-x", "mistral"))
    cluster.logged |= {"mistral-7f-x": [b"old\n"], "small-pool-1f-x": [b"[1a2b3c4d5e] new\n"]}
    assert berth("logs", "mistral")[1] == "new\n"
    assert berth("logs", "mistral", "--pod", "mistral-7f-x")[1] == "old\n"


def test_a_sleeping_model_is_loaded_by_a_request_of_nothing(berth, cluster, monkeypatch):
    server = OpenAI(lines=['{"count": 1}'])
    _with(monkeypatch, cluster, server)
    code, out, err = berth("load", "qwen3", "--keep-alive", "30m", "--key", "sk-1")
    assert (code, out) == (0, "qwen3 is loaded; spec.keepAlive is 30m now\n"), err
    assert spec(cluster, "qwen3")["keepAlive"] == "30m"
    assert (server.paths, server.keys) == (["/tokenize"], ["Bearer sk-1"])
    assert server.asked == [{"model": "qwen3.team-a", "prompt": "."}]
    assert cluster.forwarded == [("berth-system", "berth-gateway-1", 8080)]


def annotations(cluster, name):
    return cluster.find(kinds.MODEL, world.NAMESPACE, name)["metadata"].get("annotations", {})


def test_a_pools_model_is_pinned_and_then_waited_for(berth, cluster, monkeypatch):
    server = OpenAI(lines=['{"count": 1}'])
    _with(monkeypatch, cluster, server)
    code, out, err = berth("load", "gemma", "--key", "sk-1", "-o", "json")
    assert (code, json.loads(out)["done"]) == (0, "Loaded"), err
    assert datetime.fromisoformat(annotations(cluster, "gemma")[names.ANNOTATION_LOAD]).tzinfo
    assert server.asked == [{"model": "gemma.team-a", "prompt": "."}]


def test_a_pools_model_is_told_to_go(berth, cluster):
    said = "mistral leaves pool small once its requests are answered\n"
    assert berth("unload", "mistral")[:2] == (0, said)
    assert set(annotations(cluster, "mistral")) == {names.ANNOTATION_UNLOAD}
    assert "replicas" not in spec(cluster, "mistral")


def test_why_of_a_model_whose_pool_is_not_there_says_so(berth, cluster):
    cluster.put(world.model("lost", {"pool": "nowhere"}))
    code, out, _ = berth("why", "lost")
    assert code == cli.EXIT_DOES_NOT_FIT
    assert "there is no ModelPool nowhere in its namespace; create it, or change" in out


def test_pools_are_listed_by_namespace(berth):
    assert berth("pools", "-A")[1].splitlines()[1].split()[:3] == ["team-a", "small", "h100"]
    assert "no ModelPools" in berth("pools", "-n", "elsewhere")[1]
    (pool,) = json.loads(berth("pools", "-o", "json")[1])["pools"]
    assert (pool["name"], pool["loaded"], pool["waiting"]) == ("small", 1, 1)


def test_a_namespace_without_pooled_models_asks_for_no_pools(berth, cluster):
    asks = Call("list", "ModelPool", "")
    berth("ps", "-n", "elsewhere")
    assert asks not in cluster.calls
    berth("ps")
    assert asks in cluster.calls


def test_reading_writes_nothing(berth, cluster):
    for words in (["ps"], ["pools"], ["why", "gpt-oss"], ["ps", "-A", "-o", "wide"]):
        berth(*words)
    assert cluster.writes == []
    assert Call("list", "Secret", "") not in cluster.calls


def _with(monkeypatch, cluster, server):
    """The gateway runs as long as the session does, and in its loop."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def session(site, environ):
        async with server.running(), cluster.session(site, environ) as found:
            cluster.gateway = server
            yield found

    monkeypatch.setattr(access, "session", session)

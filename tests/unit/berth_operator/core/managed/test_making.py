"""ModelDeployments for what Ollama's clients ask for, and names that cannot be given."""

import pytest

from berth_api.model_deployment import ModelDeployment
from berth_api.modelfile import document
from berth_api.models_api import ModelOrder, Place
from berth_operator.core.managed import making
from berth_operator.core.managed.making import Made, Refused

SOURCE = "hf://Qwen/Qwen3-8B"
OURS = {"app.kubernetes.io/managed-by": "berth-models"}
ON_DEMAND = {"mode": "Auto", "minReplicas": 0}
QWEN = {
    "metadata": {"name": "qwen3", "namespace": "team", "uid": "uid-1"},
    "spec": {
        "model": {"source": SOURCE, "name": "qwen3:8b", "aliases": ["gpt-4o"]},
        "runtime": {"maxModelLen": 8192},
        "replicas": 3,
        "paused": True,
        "scaling": {"mode": "Fixed", "minReplicas": 2, "maxReplicas": 4},
        "queue": {"maxPending": 7},
        "keepAlive": "1h",
        "defaults": {"system": "Be brief."},
    },
}


def place(name: str = "qwen3", namespace: str = "team") -> Place:
    return Place(namespace=namespace, name=name, uid="uid-1")


def made(found: Made | Refused) -> dict:
    assert isinstance(found, Made)
    ModelDeployment.model_validate(found.model)
    return found.model


def create(fields: dict, name: str = "mario", base: dict | None = None) -> Made | Refused:
    return making.created(ModelOrder(name=name), document.modelfile(fields), base)


def test_what_is_created_waits_for_its_first_request():
    found = made(create({"from": SOURCE, "system": "You are Mario."}))
    assert found["metadata"] == {"name": "mario", "labels": OURS}
    assert found["spec"] == {
        "model": {"source": SOURCE},
        "defaults": {"system": "You are Mario."},
        "scaling": ON_DEMAND,
    }


def test_what_is_made_of_a_model_has_its_engine_by_whatever_name_it_was_called():
    found = made(create({"from": "gpt-4o", "parameters": {"top_k": 9}}, base=QWEN))
    assert found["spec"] == {
        "model": {"source": SOURCE},
        "runtime": {"maxModelLen": 8192},
        "defaults": {"system": "Be brief.", "parameters": {"topK": 9}},
        "scaling": ON_DEMAND,
    }


def test_what_cannot_be_served_is_refused_with_every_reason():
    refused = create({"from": "llama3.2", "template": "{{ .Prompt }}"})
    assert isinstance(refused, Refused)
    assert refused.status == 400
    assert "no ModelDeployment has this name" in refused.reason
    assert "TEMPLATE is a template of Go" in refused.reason


def test_what_changes_nothing_here_is_told():
    found = create({"from": SOURCE, "parameters": {"num_gpu": 1}})
    assert isinstance(found, Made)
    assert found.remarks[0].startswith("PARAMETER num_gpu 1: ")


def test_a_pulled_model_keeps_the_name_that_it_was_pulled_by():
    found = made(making.pulled(ModelOrder(name="hf.co/Qwen/Qwen3-8B")))
    assert found["metadata"]["name"] == "hf-co-qwen-qwen3-8b"
    assert found["spec"]["model"] == {"source": SOURCE, "name": "hf.co/Qwen/Qwen3-8B"}


@pytest.mark.parametrize("name", ["llama3.2", "hf.co/a/b:Q4_K_M", "a b"])
def test_what_has_no_safetensors_or_no_name_is_not_pulled(name):
    refused = making.pulled(ModelOrder(name=name))
    assert isinstance(refused, Refused)
    assert not refused.reason.startswith("FROM")


def test_a_copy_has_all_of_its_source_but_its_names_and_its_size():
    found = made(making.copied(ModelOrder(name="mario:it"), QWEN))
    assert found["metadata"] == {"name": "mario-it", "labels": OURS}
    assert found["spec"] == {
        "model": {"source": SOURCE, "name": "mario:it"},
        "runtime": {"maxModelLen": 8192},
        "scaling": {"mode": "Auto", "minReplicas": 0, "maxReplicas": 4},
        "queue": {"maxPending": 7},
        "keepAlive": "1h",
        "defaults": {"system": "Be brief."},
    }


def test_a_copy_under_a_name_that_nobody_could_ask_for_is_refused():
    assert isinstance(making.copied(ModelOrder(name="a b"), QWEN), Refused)


def test_a_name_that_nobody_has_is_free():
    assert making.refused_name(ModelOrder(name="mario"), "team", None) is None


def test_what_this_api_made_is_written_over():
    ours = QWEN | {"metadata": QWEN["metadata"] | {"labels": OURS}}
    order = ModelOrder(name="qwen3:8b", place=place())
    # Its object would be called qwen3-8b.
    assert "choose another" in making.refused_name(order, "team", ours).reason
    assert making.refused_name(ModelOrder(name="qwen3", place=place()), "team", ours) is None


def test_what_others_made_is_not():
    refused = making.refused_name(ModelOrder(name="qwen3", place=place()), "team", QWEN)
    assert (refused.status, "delete it first" in refused.reason) == (409, True)


@pytest.mark.parametrize("there", [place("other"), place("gpt-4o", "elsewhere")])
def test_a_name_that_leads_to_another_model_is_taken(there):
    refused = making.refused_name(ModelOrder(name="gpt-4o", place=there), "team", None)
    assert refused.status == 409
    assert f"ModelDeployment {there.name} in namespace {there.namespace}" in refused.reason


def test_an_object_name_that_another_model_has_is_taken():
    """`a.b` and `a-b` would be one object."""
    other = {"metadata": {"name": "a-b"}, "spec": {"model": {"source": SOURCE}}}
    refused = making.refused_name(ModelOrder(name="a.b"), "team", other)
    assert "another model's name" in refused.reason

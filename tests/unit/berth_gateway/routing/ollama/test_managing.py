"""Orders for the operator: names looked up as the key's holder may use them."""

import pytest

from berth_api.models_api import Place, Verb
from berth_gateway.errors import Refusal
from berth_gateway.routing.keyring import ApiKey
from berth_gateway.routing.ollama import managing
from berth_gateway.routing.ollama.managing import Names
from berth_gateway.routing.snapshot import Model, build

LLAMA = Model(key="uid-1", name="llama", namespace="team", aliases=("nickname",), created_seconds=1)
SECRET = Model(key="uid-2", name="secret", namespace="team", created_seconds=2)
PLACE = Place(namespace="team", name="llama", uid="uid-1")
MANAGER = ApiKey("all", "00", manages=True)


def order(verb, found, key=MANAGER):
    return managing.order(verb, found, Names(build([LLAMA, SECRET]), key))


def limited(*models):
    return ApiKey("some", "00", models=models, manages=True)


def refusal(verb, found, key=MANAGER):
    with pytest.raises(Refusal) as refused:
        order(verb, found, key)
    return refused.value


@pytest.mark.parametrize("name", ["llama", "llama:latest", "nickname", "llama.team"])
def test_a_deletion_is_of_the_object_that_the_name_leads_to(name):
    assert order(Verb.DELETE, {"model": name}).place == PLACE


def test_older_clients_call_the_model_a_name():
    assert order(Verb.DELETE, {"name": "llama"}).place == PLACE


def test_a_copy_has_a_source_and_a_new_name():
    found = order(Verb.COPY, {"source": "llama", "destination": "mario:latest"})
    assert (found.name, found.place, found.source) == ("mario", None, PLACE)


def test_what_a_modelfile_is_made_from_is_looked_up():
    fields = {"model": "mario", "from": "nickname", "system": "You are Mario.", "stream": False}
    found = order(Verb.CREATE, fields)
    assert (found.name, found.source, found.stream) == ("mario", PLACE, False)
    assert found.document == fields
    assert order(Verb.CREATE, {"model": "m", "modelfile": "FROM llama"}).source == PLACE
    assert order(Verb.CREATE, {"model": "m", "from": "hf://a/b"}).source is None


def test_a_name_that_is_taken_is_told():
    assert order(Verb.CREATE, {"model": "llama", "from": "hf://a/b"}).place == PLACE
    assert order(Verb.PULL, {"model": "llama"}).place == PLACE
    assert order(Verb.PULL, {"model": "hf.co/a/b:latest"}).name == "hf.co/a/b"


@pytest.mark.parametrize(
    ("verb", "found", "status"),
    [
        (Verb.DELETE, {"model": "nope"}, 404),
        (Verb.COPY, {"source": "nope", "destination": "x"}, 404),
        (Verb.COPY, {"source": "llama"}, 400),
        (Verb.COPY, {"destination": "llama"}, 400),
        (Verb.DELETE, {}, 400),
        (Verb.PULL, {"model": 7}, 400),
        (Verb.CREATE, {"model": "x"}, 400),
        (Verb.CREATE, {"from": "llama"}, 400),
        (Verb.PULL, {"model": "\ud800"}, 400),
        (Verb.CREATE, {"model": "x", "from": "y", "parameters": {"seed": float("nan")}}, 400),
        (Verb.CREATE, {"model": "x", "from": "llama", "files": {"a": "sha256:0"}}, 400),
    ],
)
def test_what_cannot_be_ordered_is_refused_before_the_operator_hears_of_it(verb, found, status):
    assert refusal(verb, found).status == status


def test_a_key_with_a_list_manages_those_models_alone():
    key = limited("nickname", "mario")
    assert order(Verb.DELETE, {"model": "llama"}, key).place == PLACE
    assert refusal(Verb.DELETE, {"model": "secret"}, key).status == 404
    assert refusal(Verb.COPY, {"source": "secret", "destination": "mario"}, key).status == 404


def test_a_key_with_a_list_gives_the_names_on_it_alone():
    key = limited("llama", "mario")
    assert order(Verb.CREATE, {"model": "mario:latest", "from": "llama"}, key).source == PLACE
    assert refusal(Verb.CREATE, {"model": "luigi", "from": "llama"}, key).status == 403
    assert refusal(Verb.PULL, {"model": "hf.co/a/b"}, key).status == 403
    assert refusal(Verb.COPY, {"source": "llama", "destination": "luigi"}, key).status == 403


def test_a_model_that_the_key_may_not_ask_is_told_from_none_by_nothing():
    key = limited("mario")
    assert order(Verb.CREATE, {"model": "mario", "from": "secret"}, key).source is None
    said = {refusal(Verb.PULL, {"model": name}, key).status for name in ("secret", "nope")}
    assert said == {403}


def test_without_keys_every_model_may_be_managed():
    assert order(Verb.DELETE, {"model": "llama"}, None).place == PLACE

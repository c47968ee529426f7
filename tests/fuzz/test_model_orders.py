"""Ollama's create, pull, copy and delete: any body is an order that can be sent, or is refused.

And any order becomes a ModelDeployment that the API's types take, or is refused with a reason.
"""

import json
from collections.abc import Callable
from typing import Any

import fuzzing
import schema_values
from hypothesis import given
from hypothesis import strategies as st

from berth_api.model_deployment import ModelDeployment
from berth_api.modelfile import document
from berth_api.models_api import ModelOrder, Verb
from berth_gateway.errors import Dialect, Refusal
from berth_gateway.routing.ollama import managing, question
from berth_gateway.routing.ollama.managing import Names
from berth_gateway.routing.snapshot import Model, build
from berth_gateway.settings import Limits
from berth_operator.core.managed import making
from berth_operator.core.managed.making import Made

Fuzz = Callable[[Callable[[], None]], None]

SNAPSHOT = build([Model(key="uid-1", name="llama", namespace="team")])
BASE = {
    "metadata": {"name": "llama", "uid": "uid-1"},
    "spec": {"model": {"source": "hf://a/b"}, "defaults": {"system": "Be brief."}},
}
FIELDS = st.sampled_from(
    [
        "model", "name", "from", "modelfile", "source", "destination", "stream", "system",
        "template", "parameters", "messages", "license", "files", "adapters", "quantize",
        "renderer", "requires", "role", "content", "images", "temperature", "num_ctx", "stop",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.sampled_from(
        [
            None, True, "llama", "hf://a/b", "hf.co/a/b", "user", 1, 10**30, 1e308, float("nan"),
            "\ud800", "FROM hf://a/b\nSYSTEM x", 'FROM "', "\x00", "a" * 300,
        ]
    )
    | schema_values.ANYTHING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    usual = {"model": "mario", "from": "llama", "source": "llama", "destination": "mario"}
    return json.dumps(usual | draw(st.dictionaries(FIELDS, VALUES, max_size=6))).encode()


def _order(verb: Verb, raw: bytes) -> ModelOrder | None:
    """As the operator reads it; None: it was refused."""
    try:
        fields = question.body(raw, Limits())
        sent = managing.order(verb, fields, Names(SNAPSHOT, None)).model_dump_json(by_alias=True)
    except Refusal as refusal:
        _check(refusal)
        return None
    return ModelOrder.model_validate_json(sent)


def _check(refusal: Refusal) -> None:
    assert refusal.status in (400, 404, 413)
    assert json.loads(refusal.body(Dialect.OLLAMA)) == {"error": refusal.message}


def _made(verb: Verb, order: ModelOrder) -> Any:
    base = BASE if order.source else None
    if verb is Verb.CREATE:
        return making.created(order, document.modelfile(order.document), base)
    return making.copied(order, BASE) if verb is Verb.COPY else making.pulled(order)


def test_any_body_becomes_a_model_or_is_refused(fuzz: Fuzz) -> None:
    @fuzzing.rounds()
    @given(st.sampled_from(Verb), bodies())
    def read(verb: Verb, raw: bytes) -> None:
        order = _order(verb, raw)
        if order is None or verb is Verb.DELETE:
            return
        made = _made(verb, order)
        if isinstance(made, Made):
            ModelDeployment.model_validate(made.model)
            assert made.model["spec"]["scaling"]["mode"] == "Auto"
        else:
            assert made.reason

    fuzz(read)

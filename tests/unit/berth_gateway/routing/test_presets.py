"""What a model adds to requests that do not say it themselves."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_api.spec import Defaults
from berth_gateway.routing import presets

CHAT, COMPLETION = b"/v1/chat/completions", b"/v1/completions"
USER = {"role": "user", "content": "hello"}


def of(**defaults: Any) -> presets.Presets:
    found = presets.of(Defaults.model_validate(defaults))
    assert found is not None
    return found


def into(found: presets.Presets, path: bytes = CHAT, **body: Any) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(found.into(path, json.dumps(body).encode()))
    return sent


def test_a_model_without_defaults_adds_nothing() -> None:
    assert presets.of(None) is None
    assert presets.of(Defaults()) is None


def test_a_chat_without_a_system_message_gets_the_models() -> None:
    sent = into(of(system="Be brief."), messages=[USER])
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, USER]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_the_clients_own_system_message_takes_its_place(role: str) -> None:
    own = {"role": role, "content": "Be long."}
    assert into(of(system="Be brief."), messages=[own, USER])["messages"] == [own, USER]


def test_first_messages_follow_the_system_message() -> None:
    first = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]
    own = {"role": "system", "content": "Count."}
    found = of(messages=first)
    assert into(found, messages=[own, USER])["messages"] == [own, *first, USER]
    assert into(found, messages=[USER])["messages"] == [*first, USER]


def test_decimals_become_numbers_and_the_clients_values_win() -> None:
    found = of(parameters={"temperature": "0.2", "topK": 5, "stop": ["END"]})
    assert into(found, COMPLETION, prompt="x") == {
        "prompt": "x",
        "temperature": 0.2,
        "top_k": 5,
        "stop": ["END"],
    }
    assert into(found, COMPLETION, temperature=0)["temperature"] == 0


@pytest.mark.parametrize(
    ("path", "field", "tokens"),
    [
        (b"/v1/responses", "instructions", {"max_output_tokens": 9}),
        (b"/v1/messages", "system", {}),
    ],
)
def test_other_apis_get_it_by_their_own_names(
    path: bytes, field: str, tokens: dict[str, int]
) -> None:
    found = of(system="Be brief.", parameters={"maxTokens": 9})
    assert into(found, path, x=1) == {"x": 1, field: "Be brief."} | tokens
    assert into(found, path, **{field: "Own."})[field] == "Own."


def test_what_only_computes_is_left_as_it_came() -> None:
    body = b'{"model": "x",  "input": "y"}'
    assert of(system="Be brief.").into(b"/v1/embeddings", body) is body


@given(
    body=st.dictionaries(
        st.text(max_size=5),
        st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=3),
        max_size=6,
    )
)
def test_nothing_that_the_client_says_is_lost(body: dict[str, Any]) -> None:
    found = of(system="s", parameters={"seed": 1})
    sent = json.loads(found.into(COMPLETION, json.dumps(body).encode()))
    assert {**sent, **body} == sent

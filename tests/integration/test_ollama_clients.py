"""docs/ollama.md, run: Ollama's own clients at the gateway's process, engines behind it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import ollama_js
import pytest
from gateway_site import KEY, MODEL, GatewaySite, gateway_site
from ollama_js import OllamaJs

from standins import engine_text

QUESTION: Any = [{"role": "user", "content": "Which words do you know?"}]
TOKENS = 5
SAID = engine_text.answer(engine_text.key(engine_text.chat(QUESTION)), TOKENS)
FEW = {"num_predict": TOKENS}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewaySite]:
    with gateway_site(tmp_path_factory.mktemp("ollama"), {}) as running:
        yield running


@pytest.fixture(scope="module")
def embedding_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewaySite]:
    with gateway_site(tmp_path_factory.mktemp("embed"), {"TASK": "embed"}) as running:
        yield running


def python(site: GatewaySite, key: str = KEY) -> ollama.Client:
    return ollama.Client(host=site.url, headers={"authorization": f"Bearer {key}"})


@pytest.fixture
def client(site: GatewaySite) -> Iterator[ollama.Client]:
    with python(site) as made:
        yield made


@pytest.fixture
def js(site: GatewaySite, tmp_path: Path) -> OllamaJs:
    return ollama_js.prepare(tmp_path, site.url, KEY)


@pytest.mark.parametrize("name", [MODEL, f"{MODEL}:latest", "nickname"])
def test_python_a_chat(client: ollama.Client, name: str) -> None:
    answer = client.chat(name, QUESTION, options=FEW)

    assert answer.message.content == "".join(SAID)
    assert (answer.model, answer.done_reason, answer.eval_count) == (name, "length", TOKENS)
    assert answer.total_duration > 0


def test_python_a_stream_has_a_line_for_each_piece(client: ollama.Client) -> None:
    *lines, last = client.chat(MODEL, QUESTION, options=FEW, stream=True)

    assert [line.message.content for line in lines] == SAID
    assert (last.done, last.eval_count) == (True, TOKENS)


def test_python_a_prompt_says_what_the_chat_says(client: ollama.Client) -> None:
    prompt = QUESTION[0]["content"]
    assert client.generate(MODEL, prompt, options=FEW).response == "".join(SAID)
    assert len(client.generate(MODEL, prompt, raw=True).response) > len("".join(SAID))


def test_python_embeddings(embedding_site: GatewaySite) -> None:
    with python(embedding_site) as client:
        answer = client.embed(MODEL, ["one", "two"])
        (first, second) = answer.embeddings
        assert first != second
        assert list(client.embeddings(MODEL, "one").embedding) == list(first)
        with pytest.raises(ollama.ResponseError, match="does not support chat"):
            client.chat(MODEL, QUESTION)


def test_python_a_model_that_generates_does_not_embed(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match=f'"{MODEL}" does not support embed') as refused:
        client.embed(MODEL, "one")
    assert refused.value.status_code == 400


def test_python_the_lists(client: ollama.Client) -> None:
    assert [one.model for one in client.list().models] == [f"{MODEL}:latest", "private:latest"]
    assert {one.model for one in client.ps().models} == {f"{MODEL}:latest", "private:latest"}
    assert client.show(MODEL).capabilities == ["completion"]


def test_python_load_and_unload(client: ollama.Client) -> None:
    assert client.generate(MODEL).done_reason == "load"
    assert client.generate(MODEL, keep_alive=0).done_reason == "unload"


def test_python_errors(client: ollama.Client, site: GatewaySite) -> None:
    with pytest.raises(ollama.ResponseError, match="model 'nope' not found") as refused:
        client.chat("nope", QUESTION)
    assert refused.value.status_code == 404
    with python(site, "sk-nobody") as stranger, pytest.raises(ollama.ResponseError) as refused:
        stranger.list()
    assert refused.value.status_code == 401
    with pytest.raises(ollama.ResponseError, match="ModelDeployment"):
        client.pull(MODEL)


def test_javascript_a_chat(js: OllamaJs) -> None:
    asked = {"model": MODEL, "messages": QUESTION, "options": FEW}
    whole = js.call("chat", asked)["value"]
    lines = js.call("chat", asked | {"stream": True})["value"]

    assert whole["message"]["content"] == "".join(SAID)
    assert [line["message"]["content"] for line in lines] == [*SAID, ""]
    assert [line["done"] for line in lines] == [False] * TOKENS + [True]


def test_javascript_a_prompt(js: OllamaJs) -> None:
    asked = {"model": MODEL, "prompt": QUESTION[0]["content"], "options": FEW, "stream": True}
    lines = js.call("generate", asked)["value"]

    assert "".join(line["response"] for line in lines) == "".join(SAID)


def test_javascript_embeddings(embedding_site: GatewaySite, tmp_path: Path) -> None:
    js = ollama_js.prepare(tmp_path, embedding_site.url, KEY)
    found = js.call("embed", {"model": MODEL, "input": ["one", "two"]})["value"]

    assert len(found["embeddings"]) == 2


def test_javascript_the_lists(js: OllamaJs) -> None:
    assert [one["name"] for one in js.call("list")["value"]["models"]] == [
        f"{MODEL}:latest",
        "private:latest",
    ]
    assert len(js.call("ps")["value"]["models"]) == 2
    assert js.call("show", {"model": MODEL})["value"]["capabilities"] == ["completion"]
    assert js.call("version")["value"]["version"]


def test_javascript_errors_are_shown_in_words(js: OllamaJs) -> None:
    missing = js.call("chat", {"model": "nope", "messages": QUESTION})
    elsewhere = js.call("pull", {"model": MODEL})

    assert missing == {"error": "model 'nope' not found", "status": 404}
    assert elsewhere["status"] == 501
    assert "ModelDeployment" in elsewhere["error"]


def test_an_engine_killed_in_mid_stream_is_an_error_in_both(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    with gateway_site(tmp_path / "site", {"CUT_AFTER": "3"}) as site, python(site) as client:
        with pytest.raises(ollama.ResponseError, match="stopped before the answer was complete"):
            list(client.chat(MODEL, QUESTION, stream=True))
        with pytest.raises(ollama.ResponseError) as refused:
            client.chat(MODEL, QUESTION)
        assert refused.value.status_code == 500
        js = ollama_js.prepare(tmp_path, site.url, KEY)
        told = js.call("chat", {"model": MODEL, "messages": QUESTION, "stream": True})

    assert told["error"] == "the engine stopped before the answer was complete"

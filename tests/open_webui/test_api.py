"""Both connections, asked through Open WebUI's own API as its page asks them."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import openai
import pytest
from open_webui_site import KEY, NARROW_KEY, Site

from dev import progress
from standins import engine_text

QUESTION = [{"role": "user", "content": "Which words do you know?"}]
TOKENS = 5
WORDS = engine_text.key(engine_text.chat(QUESTION))
ANSWER = "".join(engine_text.answer(WORDS, TOKENS))
ALL_NAMES = {"smollm2", "qwen3", "one-by-one", "embedder", "asleep"}
CHAT = "/api/chat/completions"
MEET_SECONDS = 10.0
COMMENT_SECONDS = 15  # a held stream's first, at the gateway
CLOSE = timedelta(seconds=30)


def asked(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": QUESTION, "max_tokens": TOKENS, **more}


def answer(site: Site, path: str, body: dict[str, Any]) -> Any:
    return site.admin.post(path, json=body).raise_for_status().json()


def said(document: dict[str, Any]) -> str:
    return str(document["choices"][0]["message"]["content"])


def pieces(site: Site, body: dict[str, Any]) -> list[str]:
    """Of a stream, which must come to its end."""
    with openai.OpenAI(
        base_url=f"{site.url}/api", api_key=site.admin.headers["authorization"].split()[1]
    ) as client:
        stream = client.chat.completions.create(stream=True, **body)
        found = [one.choices[0].delta.content or "" for one in stream if one.choices]
    return [piece for piece in found if piece]


def test_both_connections_list_every_model(site: Site) -> None:
    models = site.admin.get("/api/models").raise_for_status().json()["data"]
    owners = {(one["id"], one["owned_by"]) for one in models}
    assert owners == {(name, "openai") for name in ALL_NAMES} | {
        (f"{name}:latest", "ollama") for name in ALL_NAMES
    }


def test_those_with_a_replica_are_shown_as_loaded(site: Site) -> None:
    models = site.admin.get("/api/models").raise_for_status().json()["data"]
    loaded = {one["id"] for one in models if one.get("loaded")}
    assert loaded == {f"{name}:latest" for name in ALL_NAMES - {"asleep"}}


@pytest.mark.parametrize("name", ["smollm2", "smollm2:latest", "qwen3", "qwen3:latest"])
def test_a_chat_is_answered(site: Site, name: str) -> None:
    found = answer(site, CHAT, asked(name))
    assert said(found) == ANSWER
    assert found["usage"]["completion_tokens"] == TOKENS
    assert pieces(site, asked(name)) == engine_text.answer(WORDS, TOKENS)


@pytest.mark.parametrize("names", [("smollm2", "qwen3"), ("smollm2", "qwen3:latest")])
def test_two_models_answer_at_once(site: Site, names: tuple[str, str]) -> None:
    bodies = [asked(name, max_tokens=30) for name in names]
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(pieces, site, body) for body in bodies]
        progress.wait_for("both engines to work", site.both_work, seconds=MEET_SECONDS)
        whole = engine_text.answer(WORDS, 30)
        assert [one.result() for one in answers] == [whole, whole]


def test_a_stream_that_is_held_goes_on_when_there_is_room(site: Site) -> None:
    long = {"model": "one-by-one", "messages": QUESTION, "max_tokens": 400}
    headers = {"authorization": f"Bearer {KEY}"}

    def occupy() -> None:
        httpx.post(f"{site.gateway.url}/chat/completions", json=long, headers=headers, timeout=60)

    occupier = threading.Thread(target=occupy)
    occupier.start()
    progress.wait_for("it to work", lambda: site.qwen3.running() == 1, seconds=MEET_SECONDS)
    began = time.monotonic()
    assert "".join(pieces(site, asked("one-by-one"))) == ANSWER
    assert time.monotonic() - began > COMMENT_SECONDS  # so there was a comment
    occupier.join()


def test_the_version_is_that_of_ollama(site: Site) -> None:
    told = httpx.get(
        f"{site.origin}/api/version", headers={"authorization": f"Bearer {KEY}"}
    ).json()
    assert site.admin.get("/ollama/api/version").json() == told


def test_keep_alive_of_ollama_sets_how_long_a_model_stays(site: Site) -> None:
    answer(site, CHAT, asked("smollm2:latest", params={"keep_alive": "10m"}))
    assert abs(site.stays("smollm2:latest") - timedelta(minutes=10)) < CLOSE


def test_keep_alive_of_openai_only_lengthens(site: Site) -> None:
    answer(site, CHAT, asked("qwen3:latest", params={"keep_alive": "10m"}))
    for given in ("30m", "1m"):
        answer(site, CHAT, asked("qwen3", params={"custom_params": {"keep_alive": given}}))
        assert abs(site.stays("qwen3:latest") - timedelta(minutes=30)) < CLOSE


@pytest.mark.parametrize("path", ["/api/models/unload", "/ollama/api/unload"])
def test_eject_lets_a_model_go(site: Site, path: str) -> None:
    answer(site, "/ollama/api/generate", {"model": "smollm2:latest", "prompt": "", "stream": False})
    assert site.stays("smollm2:latest") > CLOSE
    assert answer(site, path, {"model": "smollm2:latest"}) == {"status": True}
    assert site.stays("smollm2:latest") < timedelta()


def test_eject_is_for_ollamas_connection_only(site: Site) -> None:
    refused = site.admin.post("/api/models/unload", json={"model": "smollm2"})
    assert (refused.status_code, "does not support model unloading" in refused.text) == (400, True)


def test_ollamas_names_work_at_its_openai_path(site: Site) -> None:
    found = answer(site, "/ollama/v1/chat/completions", asked("smollm2:latest"))
    assert said(found) == ANSWER


def test_openais_responses_and_anthropics_messages_work(site: Site) -> None:
    question = QUESTION[0]["content"]
    answered = answer(site, "/openai/responses", {"model": "qwen3", "input": question})
    assert answered["status"] == "completed"
    messages = {"model": "qwen3", "max_tokens": TOKENS, "messages": QUESTION}
    (block,) = answer(site, "/api/v1/messages", messages)["content"]
    assert block["text"] == ANSWER


def test_embeddings(site: Site) -> None:
    by_openai = answer(site, "/api/embeddings", {"model": "embedder", "input": "one"})
    by_ollama = answer(
        site, "/ollama/api/embed", {"model": "embedder:latest", "input": ["one", "two"]}
    )
    assert len(by_ollama["embeddings"]) == 2
    assert len(by_openai["data"][0]["embedding"]) == len(by_ollama["embeddings"][0])


def test_what_a_model_can_do_is_shown(site: Site) -> None:
    shown = answer(site, "/ollama/api/show", {"model": "smollm2:latest"})
    assert shown["capabilities"] == ["completion"]


@pytest.mark.parametrize("name", ["asleep", "asleep:latest"])
def test_a_model_without_a_replica_in_time_is_told_in_berths_words(site: Site, name: str) -> None:
    refused = site.admin.post(CHAT, json=asked(name))
    assert refused.status_code == 503
    assert "asleep" in refused.text


def test_a_connection_is_refused_without_a_key_that_is_known(site: Site) -> None:
    for path, url in (("/openai/verify", site.gateway.url), ("/ollama/verify", site.origin)):
        refused = site.admin.post(path, json={"url": url, "key": "sk-nobody"})
        assert refused.is_error
        assert "no valid API key" in refused.text
        assert site.admin.post(path, json={"url": url, "key": KEY}).is_success


def test_a_keys_models_are_those_that_are_listed(site: Site) -> None:
    given = {"url": site.gateway.url, "key": NARROW_KEY}
    assert [one["id"] for one in answer(site, "/openai/verify", given)["data"]] == ["smollm2"]

"""docs/litellm.md, run: the real LiteLLM in front of the gateway's process."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from gateway_process import GatewayProcess
from litellm_proxy import LiteLLM

from dev import progress

PAGE = Path(__file__).parents[2] / "docs" / "litellm.md"
CONFIGURATION = re.compile(r"(?<=^```yaml\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
KEY, OTHER_KEY, MASTER_KEY = "sk-berth-litellm", "sk-berth-team-a", "sk-litellm"
SLOW_KEY = "sk-berth-once-a-minute"
QUESTION = [{"role": "user", "content": "Which words do you know?"}]
TOKENS = 5
START_SECONDS = 30.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("litellm")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ("--served-model-name", "smollm2", "--host", "127.0.0.1", "--port", str(port))
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "standins.engine", "--model", "m", *place],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path)},
            stdout=log,
            stderr=log,
        )

    def listens() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    progress.wait_for("the engine", listens, seconds=START_SECONDS)
    yield f"http://127.0.0.1:{port}"
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def gateway(folder: Path, engine: str) -> Iterator[GatewayProcess]:
    slow = {"sha256": hashlib.sha256(SLOW_KEY.encode()).hexdigest(), "requestsPerMinute": 1}
    (folder / "keys").write_text(f"{KEY}\n{OTHER_KEY}\n{json.dumps(slow)}\n")
    (folder / "routes.yaml").write_text(
        f"- {{model: smollm2, endpoints: ['{engine}']}}\n"
        "- {model: unreachable, endpoints: ['http://127.0.0.1:1'], maxWaitSeconds: 1}\n"
    )
    places = ("--routes", str(folder / "routes.yaml"), "--keys", str(folder / "keys"))
    running = GatewayProcess(folder, places).start()
    yield running
    running.kill()


@pytest.fixture(scope="module")
def litellm(folder: Path, gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    """A client of it, as teams have one."""
    config = folder / "config.yaml"
    (text,) = CONFIGURATION.findall(PAGE.read_text(encoding="utf-8"))
    config.write_text(text)
    given = {"BERTH_URL": gateway.url, "BERTH_API_KEY": KEY, "LITELLM_MASTER_KEY": MASTER_KEY}
    running = LiteLLM(config, given).start()
    with openai.OpenAI(base_url=running.url, api_key=MASTER_KEY, max_retries=0) as client:
        yield client
    running.kill()


@pytest.fixture(scope="module")
def direct(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    """A client of Berth itself: the engine answers a question the same way every time."""
    with openai.OpenAI(base_url=gateway.url, api_key=KEY, max_retries=0) as client:
        yield client


def pieces(client: openai.OpenAI) -> list[str]:
    stream = client.chat.completions.create(
        model="smollm2", messages=QUESTION, max_tokens=TOKENS, stream=True
    )
    found = [one.choices[0].delta.content or "" for one in stream if one.choices]
    return [piece for piece in found if piece]


def ask_with(key: str, litellm: openai.OpenAI) -> str | None:
    answer = litellm.chat.completions.create(
        model="smollm2", messages=QUESTION, max_tokens=TOKENS, extra_body={"api_key": key}
    )
    return answer.choices[0].message.content


@pytest.mark.parametrize("name", ["smollm2", "berth/smollm2"])
def test_a_chat_is_answered(litellm: openai.OpenAI, direct: openai.OpenAI, name: str) -> None:
    answer = litellm.chat.completions.create(
        model=name, messages=QUESTION, max_tokens=TOKENS, extra_body={"top_k": 1}
    )
    assert answer.choices[0].message.content == "".join(pieces(direct))
    assert answer.usage is not None
    assert answer.usage.completion_tokens == TOKENS


def test_a_stream_has_the_same_pieces(litellm: openai.OpenAI, direct: openai.OpenAI) -> None:
    found = pieces(litellm)
    assert found == pieces(direct)
    assert len(found) == TOKENS


def test_the_models_are_those_that_have_an_entry(litellm: openai.OpenAI) -> None:
    assert [model.id for model in litellm.models.list()] == ["smollm2"]


def test_no_replica_is_an_error_that_says_when_to_come_again(litellm: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as refused:
        litellm.chat.completions.create(model="berth/unreachable", messages=QUESTION)
    assert refused.value.status_code == 503
    assert int(refused.value.response.headers["llm_provider-retry-after"]) >= 1
    assert refused.value.response.headers["llm_provider-x-request-id"]


def test_a_model_that_berth_does_not_know_is_not_found(litellm: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        litellm.chat.completions.create(model="berth/unheard-of", messages=QUESTION)


def test_a_name_without_an_entry_is_a_bad_request(litellm: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        litellm.chat.completions.create(model="unheard-of", messages=QUESTION)


def test_a_clients_own_key_decides_whether_it_is_let_in(litellm: openai.OpenAI) -> None:
    assert ask_with(OTHER_KEY, litellm)
    with pytest.raises(openai.AuthenticationError):
        ask_with("sk-berth-of-nobody", litellm)


def test_a_keys_rate_is_a_429_that_says_when_to_come_again(litellm: openai.OpenAI) -> None:
    assert ask_with(SLOW_KEY, litellm)
    with pytest.raises(openai.RateLimitError) as refused:
        ask_with(SLOW_KEY, litellm)
    headers = refused.value.response.headers
    assert 0 < int(headers["llm_provider-retry-after"]) <= 60
    assert headers["llm_provider-x-ratelimit-limit-requests"] == "1"

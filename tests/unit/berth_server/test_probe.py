import json

import pytest

from berth_server import probe
from berth_server.client import Reply
from berth_server.errors import EngineFailed, EngineUnreachable


class FakeClient:
    """Answers by path; what is not listed is 404, and an exception is raised."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    async def get(self, path, timeout_seconds):
        return self._answer(path)

    async def post(self, path, body, timeout_seconds):
        self.asked.append((path, body))
        return self._answer(path)

    def _answer(self, path):
        found = self.answers.get(path.rpartition("/")[2], Reply(404, b'{"detail":"Not Found"}'))
        if isinstance(found, Exception):
            raise found
        return found


OK = Reply(200, b"{}")


async def test_a_port_that_refuses_is_not_listening():
    assert not await probe.listening(FakeClient(models=EngineUnreachable("refused")))
    assert not await probe.listening(FakeClient(models=Reply(503, b"")))
    assert await probe.listening(FakeClient(models=OK))


async def test_one_token_is_enough():
    client = FakeClient(completions=OK)
    await probe.first_token(client, "m")
    assert client.asked == [("/v1/completions", {"model": "m", "prompt": "Hello", "max_tokens": 1})]


async def test_a_model_that_does_not_generate_is_asked_to_embed():
    client = FakeClient(embeddings=OK)
    await probe.first_token(client, "m")
    assert [path for path, _ in client.asked] == ["/v1/completions", "/v1/embeddings"]


async def test_an_engine_that_dies_at_its_first_step_is_not_ready():
    client = FakeClient(completions=Reply(500, b"EngineCore encountered an issue."))
    with pytest.raises(EngineFailed, match="EngineCore encountered an issue"):
        await probe.first_token(client, "m")
    assert len(client.asked) == 1


async def test_an_engine_that_can_do_nothing_is_not_ready():
    with pytest.raises(EngineFailed, match="generates nothing"):
        await probe.first_token(FakeClient(), "m")


def test_a_reply_that_is_no_json_is_no_answer():
    assert Reply(200, json.dumps({"a": 1}).encode()).json() == {"a": 1}
    with pytest.raises(EngineUnreachable):
        Reply(200, b"<html>").json()

import contextlib
import http.client
import json
import os
import signal
import threading

import pytest

from berth_api.server import Phase
from berth_api.shape import Failure, Short

KEY = "0123456789abcdef"


def in_background(pod, **body):
    """A request in flight; its reply, if one came, is in the list once the thread has ended."""
    replies = []

    def ask():
        with contextlib.suppress(http.client.HTTPException, OSError):
            replies.append(pod.ask(body))

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, replies


def busy(count):
    return lambda pod: (
        json.loads(pod.get(pod.engine_port, "/berth/load", KEY)[1])["inFlight"] == count
    )


def test_a_pod_tells_its_phases_and_serves(pod):
    started = pod(STANDIN_LOAD_SECONDS="4")  # the probe itself waits for more than a second
    started.until(lambda p: p.status().phase in (Phase.STARTING, Phase.LOADING, Phase.WARMING))
    assert not started.ready()
    status = started.serving().status()
    assert started.ready()
    phases = [mark.phase for mark in status.timeline]
    assert phases == [Phase.STARTING, Phase.LOADING, Phase.WARMING, Phase.SERVING]
    assert status.engines[0].measured.kv_cache_bytes == 64 * 2**20
    assert status.engines[0].measured.max_model_len == 2048
    assert started.ask({"prompt": "x", "max_tokens": 3})[0] == 200


def test_without_the_engine_key_nothing_is_served(pod):
    started = pod().serving()
    for path in ("/v1/models", "/metrics", "/tokenize", "/docs", "/version"):
        assert started.get(started.engine_port, path)[0] == 401
    assert started.get(started.engine_port, "/v1/models", KEY)[0] == 200


def test_a_full_queue_answers_at_once(pod):
    started = pod(STANDIN_TOKENS_PER_SECOND="20", max_queued_requests=2).serving()
    threads = [in_background(started, prompt="x", max_tokens=100) for _ in range(2)]
    started.until(busy(2))
    status, _, headers = started.ask({"prompt": "x"})
    assert (status, headers["retry-after"]) == (429, "1")
    for thread, replies in threads:
        thread.join(20)
        assert replies[0][0] == 200


def test_a_stream_in_flight_survives_a_drain_and_new_work_is_refused(pod):
    started = pod(STANDIN_TOKENS_PER_SECOND="50").serving()
    thread, replies = in_background(started, prompt="x", max_tokens=300, stream=True)
    started.until(busy(1))
    started.terminate()
    started.until(lambda p: p.status().draining)
    status, _, headers = started.ask({"prompt": "x"})
    assert (status, headers["retry-after"]) == (503, "2")
    assert not started.ready()
    assert started.ended() == 0
    thread.join(20)
    assert replies[0][1].count(b'"text"') == 300
    assert replies[0][1].endswith(b"data: [DONE]\n\n")


def test_a_stream_longer_than_the_drain_is_cut_at_the_deadline(pod):
    started = pod(STANDIN_TOKENS_PER_SECOND="5", drain_timeout_seconds=1).serving()
    thread, replies = in_background(started, prompt="x", max_tokens=500, stream=True)
    started.until(busy(1))
    started.terminate()
    assert started.ended() == 0
    thread.join(5)
    assert b"error" in replies[0][1]


def test_an_idle_pod_that_is_still_loading_ends_at_once(pod):
    started = pod(STANDIN_HANG="load")
    started.until(lambda p: p.status().phase is Phase.LOADING)
    started.terminate()
    assert started.ended() == 0


@pytest.mark.parametrize(
    ("crash", "code", "reason"),
    [
        ("oom", 1, "OutOfMemory"),
        ("kv", 1, "KVCacheTooSmall"),
        ("flag", 2, "CrashLoop"),
        ("sigkill", 137, "OutOfMemory"),
    ],
)
def test_an_engine_that_dies_ends_the_pod_with_its_cause(pod, crash, code, reason):
    started = pod(STANDIN_CRASH=crash)
    assert started.ended() == code
    assert started.failure()["reason"] == reason


def test_memory_that_an_engine_lacks_reaches_the_operator_as_numbers(pod):
    started = pod(STANDIN_FREE_BYTES=str(32 * 2**20))  # the stand-in's KV cache has 64 MiB
    assert started.ended() == 1
    told = Failure.model_validate(started.failure())
    assert told.shortage is not None
    assert told.shortage.step is Short.KV_CACHE
    assert told.shortage.available_bytes == int(0.03 * 2**30)


def test_an_engine_that_dies_at_its_first_token_was_never_ready(pod):
    started = pod(STANDIN_CRASH="sigill", STANDIN_CRASH_AT="request")
    assert started.ended() == 1
    assert "SIGILL" in started.failure()["message"]


def test_a_start_that_takes_too_long_is_typed(pod):
    started = pod(STANDIN_HANG="load", start_timeout_seconds=3)
    assert started.ended() == 1
    assert started.failure()["reason"] == "LoadTimeout"


def test_an_engine_that_stops_stepping_is_ended(pod):
    started = pod(stall_timeout_seconds=2).serving()
    for pid in started.engine_pids():
        os.kill(pid, signal.SIGUSR1)  # it answers /health and steps no more
    thread, _ = in_background(started, prompt="x", max_tokens=5)
    assert started.ended() == 1
    thread.join(5)
    assert started.failure()["reason"] == "EngineStalled"
    assert "1 requests are in flight" in started.failure()["message"]


def test_an_engine_that_does_not_generate_is_proved_by_an_embedding(pod):
    started = pod(STANDIN_TASK="embed").serving()
    assert started.ask({"input": "x"}, "/v1/embeddings")[0] == 200


def test_nothing_of_the_engine_outlives_the_pod(pod):
    started = pod(STANDIN_ORPHAN="1").serving()
    assert started.engine_pids()
    started.terminate()
    assert started.ended() == 0
    assert started.engine_pids() == []


def test_a_managed_flag_never_reaches_the_engine(pod):
    started = pod(extra_args=["--port", "1"])
    assert started.ended() == 2
    assert "--port is managed by Berth" in started.failure()["message"]

"""The stand-in as facts about vLLM 0.32 have it, seen from outside."""

import asyncio
import json
import signal
import time

import pytest

SLOW = {"TOKENS_PER_SECOND": 20}


async def test_equal_requests_to_two_replicas_get_equal_bytes(engine):
    bodies = [{"stream": True, "max_tokens": 20, "prompt": text} for text in ("a", "b")]
    one, other = (engine(DETERMINISTIC=1) for _ in range(2))
    assert await one.together(bodies) == await other.together(bodies)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/completions", {"prompt": "hi"}),
        ("/v1/responses", {"input": "hi"}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}),
        ("/tokenize", {"prompt": "hi"}),
        ("/detokenize", {"tokens": [92265]}),
    ],
)
def test_a_model_that_generates_serves_these_paths(engine, path, body):
    assert engine().call(path, {"model": "m", **body})[0] == 200


def test_a_model_that_embeds_serves_others(engine):
    one = engine(TASK="embed")
    assert one.ask()[:2] == (404, b'{"detail":"Not Found"}')
    embedded = json.loads(one.call("/v1/embeddings", {"model": "m", "input": ["a", "b"]})[1])
    assert [row["index"] for row in embedded["data"]] == [0, 1]
    assert one.call("/v1/score", {"model": "m", "text_1": "a", "text_2": ["b", "c"]})[0] == 200
    ranked = {"model": "m", "query": "a", "documents": ["b", "c", "d"], "top_n": 2}
    scores = [
        row["relevance_score"] for row in json.loads(one.call("/rerank", ranked)[1])["results"]
    ]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 2


def test_the_key_guards_only_what_vllm_guards(engine):
    one = engine("--api-key=k")
    assert one.ask()[:2] == (401, b'{"error":"Unauthorized"}')
    assert one.call("/tokenize", {"prompt": "x"})[0] == 200
    assert one.call("/v1/models", headers={"Authorization": "Bearer k"})[0] == 200


def test_the_load_is_zero_unless_it_is_tracked(engine):
    assert json.loads(engine().call("/load")[1]) == {"server_load": 0}


async def test_in_a_burst_the_queue_limit_comes_after_the_headers(engine):
    one = engine("--max-num-queued-reqs=4", "--max-num-seqs=2", TOKENS_PER_SECOND=2)
    running = asyncio.create_task(one.together([{"stream": True, "max_tokens": 4}]))
    await asyncio.to_thread(one.running, 1)  # so that the burst comes during one step of it
    replies = await one.together([{"stream": True, "max_tokens": 2}] * 12)
    late = [status for status, _ in replies if status == 503]  # it came when the queue was full
    refused = [body for status, body in replies if status == 200 and b'"code":503' in body]
    assert refused
    assert len(refused) + len(late) == 9
    assert all(body.endswith(b"data: [DONE]\n\n") for body in refused)
    rejected = one.metric("vllm:admission_rejections_total", reason="max_num_queued_reqs")
    assert rejected == 9
    assert (await running)[0][0] == 200


async def test_a_full_queue_refuses_before_the_headers(engine):
    one = engine("--max-num-queued-reqs=1", **SLOW)
    first = asyncio.create_task(one.together([{"stream": True, "max_tokens": 40}]))
    await asyncio.to_thread(one.running, 1)
    status, content, headers = await asyncio.to_thread(one.ask, stream=True)
    assert status == 503
    assert json.loads(content)["error"]["type"] == "Service Unavailable"
    assert "Retry-After" not in headers
    assert (await first)[0][0] == 200


async def test_a_client_that_leaves_is_forgotten(engine):
    one = engine(**SLOW)
    asking = asyncio.create_task(one.together([{"stream": True, "max_tokens": 1000}]))
    await asyncio.to_thread(one.running, 1)
    asking.cancel()
    await asyncio.to_thread(one.running, 0)


async def test_sigterm_cuts_every_stream_with_an_error_in_it(engine):
    one = engine(**SLOW)
    bodies = [{"stream": True, "max_tokens": 1000}, {"max_tokens": 1000}]
    asking = asyncio.create_task(one.together(bodies))
    await asyncio.to_thread(one.running, 2)
    one.terminate()
    (status, content), whole = await asking
    assert status == 200
    assert b"EngineCore encountered an issue" in content
    assert content.endswith(b"data: [DONE]\n\n")
    assert whole[0] == 500
    assert one.process.wait(10) == 0


async def test_a_drain_lets_streams_end_and_answers_500_to_new_requests(engine):
    one = engine("--shutdown-timeout=30", **SLOW)
    asking = asyncio.create_task(one.together([{"stream": True, "max_tokens": 100}]))
    await asyncio.to_thread(one.running, 1)
    one.terminate()
    await asyncio.sleep(0.2)
    status, content, _ = await asyncio.to_thread(one.ask)
    assert (status, json.loads(content)["error"]["message"]) == (
        500,
        "cannot schedule new futures after shutdown",
    )
    assert (await asyncio.to_thread(one.call, "/health"))[0] == 200
    [(_, content)] = await asking
    assert content.count(b'"text"') == 100
    assert one.process.wait(10) == 0


async def test_a_stream_that_outlives_the_drain_hangs_until_its_client_leaves(engine):
    one = engine("--shutdown-timeout=0.5", **SLOW)
    asking = asyncio.create_task(one.together([{"stream": True, "max_tokens": 1000}]))
    await asyncio.to_thread(one.running, 1)
    one.terminate()
    await asyncio.sleep(1.5)
    assert one.process.poll() is None
    asking.cancel()
    assert await asyncio.to_thread(one.process.wait, 10) == 0


async def test_a_stream_is_cut_after_so_many_tokens(engine):
    one = engine(CUT_AFTER=3)
    [(status, content)] = await one.together([{"stream": True, "max_tokens": 9}])
    assert status == "cut"
    assert content.count(b'"text"') == 3
    assert b"[DONE]" not in content


async def test_bytes_that_are_no_http_are_no_answer(engine):
    one = engine(GARBAGE_RATE=1)
    assert await one.together([{}]) == [("refused", b"")]


def test_the_first_requests_fail_behind_those_that_are_spared(engine):
    one = engine(FAULTS_AFTER=1, ERROR_FIRST=2, ERROR_STATUS=429)
    assert [one.ask()[0] for _ in range(4)] == [200, 429, 429, 200]


def test_the_process_dies_at_a_request(engine):
    one = engine(DIE_AT=2)
    assert one.ask()[0] == 200
    with pytest.raises(OSError):
        one.ask()
    assert one.process.wait(10) == -signal.SIGKILL


def test_headers_come_late_and_a_freeze_ends(engine):
    one = engine(HEADERS_SECONDS=0.3, FREEZE_AT=2, FREEZE_SECONDS=0.7)
    for least in (0.3, 0.7):
        began = time.monotonic()
        assert one.ask(max_tokens=1)[0] == 200
        assert time.monotonic() - began >= least


def test_a_context_that_the_cache_cannot_hold_is_refused_at_the_start(engine):
    one = engine("--kv-cache-memory-bytes=1048576", "--max-model-len=4096")
    assert one.process.wait(10) == 1


def test_a_prefix_that_was_seen_is_a_hit(engine):
    one = engine("--block-size=16")
    messages = [{"role": "user", "content": "x" * 400}]
    for _ in range(2):
        one.call("/v1/chat/completions", {"messages": messages, "max_tokens": 1})
    # 102 tokens, six whole blocks of 16.
    assert one.metric("vllm:prefix_cache_hits_total") == 96
    assert one.metric("vllm:prefix_cache_queries_total") == 204

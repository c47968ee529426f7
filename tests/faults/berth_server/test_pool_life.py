"""A pool's pod as a process: orders come and go, engines with them, and nobody's request is cut."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from pool_process import (
    CARD,
    GIB,
    PATIENCE_SECONDS,
    POOL_KEY,
    PoolPod,
    all_pids,
    environment_of,
    free_port,
    key_of,
)

from berth_api.pool_server import PoolConfig
from berth_api.server import Phase
from standins import tiny_model
from standins.card import Cards


@pytest.fixture
def pool(tmp_path):
    """`pool(...)` starts a pool's pod with cards of 16 GiB; nothing of it is left after the test."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(tiny_model.CONFIG))
    (tmp_path / "key").write_text(POOL_KEY)
    programs = tmp_path / "bin"
    programs.mkdir()
    smi = programs / "nvidia-smi"
    smi.write_text(f'#!/bin/sh\nexec {sys.executable} -m standins.card "$@"\n')
    smi.chmod(0o755)
    cards = Cards(tmp_path / "cards")
    started: list[PoolPod] = []

    def start(*, device="cuda", count=1, warm=False, **settings) -> PoolPod:
        cards.write([CARD] * count)
        on_card = device == "cuda"
        config = PoolConfig(
            namespace="team-a",
            pool="shared",
            device=device,
            cards=count if on_card else 0,
            memory_bytes=None if on_card else CARD,
            status_port=free_port(),
            pool_key_file=str(tmp_path / "key"),
            run_dir=str(tmp_path / "run"),
            warm=warm,
            **(
                {
                    "command": [sys.executable, "-m", "standins.engine"],
                    "drain_timeout_seconds": 10,
                }
                | settings
            ),
        )
        environment = {
            "BERTH_POOL_CONFIG": config.wire(),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            **({"STANDIN_CARDS": str(cards.path)} if on_card else {}),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "berth_server", str(tmp_path / "termination-log")],
            env=os.environ | environment,
            stdout=(tmp_path / "log").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        started.append(PoolPod(process, config.status_port, tmp_path, cards, device))
        started[-1].until(lambda pod: pod.status().phase is Phase.SERVING)
        return started[-1]

    yield start
    for one in started:
        mark = str(tmp_path).encode()
        one.process.kill()
        one.process.wait()
        for pid in all_pids():
            if mark in environment_of(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def in_background(pod, name, **body):
    replies = []

    def ask():
        with contextlib.suppress(http.client.HTTPException, OSError):
            replies.append(pod.ask(name, **body))

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, replies


def test_engines_come_and_go_as_they_are_ordered(pool):
    pod = pool()
    code, told = pod.order(pod.wanted("one"), pod.wanted("two"))
    assert code == 200
    assert [engine["id"] for engine in told["engines"]] == ["one", "two"]
    pod.serving("one", "two")
    for name in ("one", "two"):
        assert pod.ask(name)[0] == 200
    [card] = pod.status().cards
    assert (card.total_bytes, card.granted_bytes) == (CARD, 8 * GIB)
    assert card.free_bytes is not None
    pod.order(pod.wanted("two"))
    pod.gone("one")
    assert pod.ask("two")[0] == 200
    assert pod.status().cards[0].granted_bytes == 4 * GIB
    assert "[two] " in pod.log()


def test_each_engine_has_its_own_key_and_nobody_can_read_it(pool):
    pod = pool()
    pod.order(pod.wanted("one"), pod.wanted("two"))
    pod.serving("one", "two")
    body = json.dumps({"model": "one", "prompt": "x"})
    stranger = pod.call("POST", pod.ports["one"], "/v1/completions", body, key_of("two"))
    assert stranger[0] == 401
    kept = pod.folder / "run" / "engine-keys" / "one"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert key_of("one") not in pod.status().wire()
    assert key_of("one") not in pod.log()


def test_starts_on_one_card_take_turns_and_on_two_they_do_not(pool):
    pod = pool(count=2)
    slow = {"STANDIN_LOAD_SECONDS": "3"}
    pod.order(
        pod.wanted("one", cards=(0,), **slow),
        pod.wanted("two", cards=(0,), **slow),
        pod.wanted("three", cards=(1,), **slow),
    )
    waiting = pod.until(lambda p: (e := p.engine("two")) and "under way" in (e.message or "") and e)
    assert waiting.message == "a start on card 0 is under way"
    assert waiting.phase is Phase.PENDING
    pod.serving("one", "two", "three")
    told = {engine.id: engine for engine in pod.status().engines}
    assert told["two"].started_seconds >= told["one"].ready_seconds
    assert told["three"].started_seconds < told["one"].ready_seconds


def test_a_swap_under_load_cuts_no_request(pool):
    pod = pool()
    pod.order(pod.wanted("old", 10, STANDIN_TOKENS_PER_SECOND="20"))
    pod.serving("old")
    thread, replies = in_background(pod, "old", max_tokens=60)
    pod.until(lambda p: p.loaded("old"))
    pod.order(pod.wanted("new", 10))
    waiting = pod.until(lambda p: (e := p.engine("new")) and e.message and e)
    assert "6.0 GiB left to grant and 10.0 GiB are wanted" in waiting.message
    pod.until(lambda p: p.engine("old").message == "draining 1 requests")
    refused, body = pod.ask("old")
    assert (refused, body["error"]["code"]) == (503, "draining")
    pod.serving("new")
    thread.join(10)
    assert replies[0][0] == 200
    assert replies[0][1]["usage"]["completion_tokens"] == 60
    assert pod.engine("old") is None


def test_an_engine_that_is_wanted_again_while_it_drains_is_not_loaded_again(pool):
    pod = pool()
    one = pod.wanted("one", STANDIN_TOKENS_PER_SECOND="20")
    pod.order(one)
    pod.serving("one")
    [process] = pod.pids("one")
    thread, replies = in_background(pod, "one", max_tokens=80)
    pod.until(lambda p: p.loaded("one"))
    pod.order()
    pod.until(lambda p: p.phase("one") is Phase.DRAINING)
    assert pod.ask("one")[0] == 503
    pod.order(one)
    pod.serving("one")
    assert pod.ask("one")[0] == 200
    thread.join(10)
    assert replies[0][0] == 200
    assert pod.pids("one") == [process]


def test_what_can_never_fit_together_is_refused_and_nothing_changes(pool):
    pod = pool()
    pod.order(pod.wanted("one", 8))
    pod.serving("one")
    code, told = pod.order(pod.wanted("one", 8), pod.wanted("two", 10))
    assert code == 422
    assert told["problems"] == [
        "engines: 18.0 GiB of card 0 are ordered and it has 16.0 GiB; order fewer engines at a time"
    ]
    assert [engine.id for engine in pod.status().engines] == ["one"]


def test_orders_of_an_old_leader_and_of_a_stranger_are_refused(pool):
    pod = pool()
    assert pod.order(pod.wanted("one"), sequence=7)[0] == 200
    code, told = pod.order(sequence=6)
    assert code == 409
    assert "7 was seen" in told["problems"][0]
    assert pod.order(sequence=8, key="wrong")[0] == 401
    assert pod.status().sequence == 7
    assert pod.order(pod.wanted("one"), sequence=7)[0] == 200


def test_a_crash_of_one_engine_is_its_own(pool):
    pod = pool()
    good, bad = pod.wanted("good"), pod.wanted("bad", STANDIN_CRASH="kv")
    pod.order(good, bad)
    pod.serving("good")
    failed = pod.until(lambda p: (e := p.engine("bad")) and e.phase is Phase.FAILED and e)
    assert failed.failure.reason == "KVCacheTooSmall"
    pod.until(lambda p: p.status().cards[0].granted_bytes == 4 * GIB)
    assert pod.ask("good")[0] == 200
    pod.order(good, bad)  # the same attempt is not made again
    time.sleep(1)
    assert pod.phase("bad") is Phase.FAILED
    pod.order(good, pod.wanted("bad", attempt=1))
    pod.serving("bad")
    assert pod.engine("bad").attempt == 1


def test_a_served_engine_that_is_killed_is_failed_and_its_share_is_free(pool):
    pod = pool()
    pod.order(pod.wanted("one"), pod.wanted("two"))
    pod.serving("one", "two")
    for pid in pod.pids("one"):
        os.kill(pid, signal.SIGKILL)
    failed = pod.until(lambda p: (e := p.engine("one")) and e.phase is Phase.FAILED and e)
    assert "SIGKILL" in failed.failure.message
    pod.until(lambda p: p.status().cards[0].granted_bytes == 4 * GIB)
    assert pod.ask("two")[0] == 200


def test_an_engine_that_ignores_sigterm_is_killed_with_all_its_processes(pool):
    pod = pool()
    pod.order(pod.wanted("deaf", STANDIN_IGNORE_SIGTERM="1", STANDIN_ORPHAN="1"))
    pod.serving("deaf")
    pids = pod.pids("deaf")
    assert len(pids) == 2
    pod.order(pod.wanted("next", 16))
    pod.serving("next")
    assert pod.pids("deaf") == []


def test_memory_that_is_not_given_back_is_withheld_until_it_is(pool):
    pod = pool()
    pod.order(pod.wanted("leaky", 8, STANDIN_CARD_KEPT="1"))
    pod.serving("leaky")
    pod.order(pod.wanted("next", 10))
    withheld = pod.until(
        lambda p: (e := p.engine("leaky")) and e.phase is Phase.FAILED and e, seconds=60
    )
    assert withheld.failure.reason == "MemoryNotFreed"
    assert "card 0 has 8.0 GiB free" in withheld.failure.message
    assert pod.status().cards[0].granted_bytes == 8 * GIB
    assert pod.phase("next") is Phase.PENDING
    pod.cards.give_back()
    pod.serving("next")


def test_sigterm_lets_every_engine_finish(pool):
    pod = pool()
    slow = {"STANDIN_TOKENS_PER_SECOND": "20"}
    pod.order(pod.wanted("one", **slow), pod.wanted("two", **slow))
    pod.serving("one", "two")
    threads = [in_background(pod, name, max_tokens=40) for name in ("one", "two")]
    for name in ("one", "two"):
        pod.until(lambda p, name=name: p.loaded(name))
    pod.process.send_signal(signal.SIGTERM)
    assert pod.process.wait(PATIENCE_SECONDS) == 0
    for thread, replies in threads:
        thread.join(5)
        assert replies[0][1]["usage"]["completion_tokens"] == 40
    assert pod.pids("one") == pod.pids("two") == []


def test_sigterm_ends_what_is_still_loading_at_once(pool):
    pod = pool()
    pod.order(pod.wanted("slow", STANDIN_HANG="load"))
    pod.until(lambda p: p.phase("slow") is Phase.LOADING)
    pod.process.send_signal(signal.SIGTERM)
    assert pod.process.wait(PATIENCE_SECONDS) == 0


def test_what_is_loading_and_no_longer_wanted_makes_room_at_once(pool):
    pod = pool()
    pod.order(pod.wanted("slow", 10, STANDIN_HANG="load"))
    pod.until(lambda p: p.phase("slow") is Phase.LOADING)
    pod.order(pod.wanted("next", 10))
    pod.serving("next")
    assert pod.engine("slow") is None


def test_an_engine_that_stalls_while_it_drains_does_not_keep_its_card(pool):
    pod = pool()
    pod.order(pod.wanted("stuck", 10, stall_seconds=2))
    pod.serving("stuck")
    [process] = pod.pids("stuck")
    os.kill(process, signal.SIGUSR1)  # it steps no more
    thread, _ = in_background(pod, "stuck", max_tokens=5)
    pod.until(lambda p: p.loaded("stuck"))
    pod.order(pod.wanted("next", 10))
    pod.serving("next")
    thread.join(10)
    assert pod.engine("stuck") is None


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_a_warm_pod_waits_for_forked_engines_like_for_others(pool, device):
    pod = pool(device=device, warm=True)
    pod.order(pod.wanted("one"), pod.wanted("two"))
    pod.serving("one", "two")
    assert [engine.warm for engine in pod.status().engines] == [True, True]
    assert "[two] " in pod.log()
    [process] = pod.pids("two")
    os.kill(process, signal.SIGKILL)
    pod.until(lambda p: p.phase("two") is Phase.FAILED)
    assert "SIGKILL" in pod.engine("two").failure.message
    assert pod.ask("one")[0] == 200
    pod.order()
    pod.gone("one", "two")
    assert pod.pids("one") == []


def test_an_engine_with_a_variable_of_its_own_is_executed(pool):
    pod = pool(warm=True)
    pod.order(pod.wanted("odd", STANDIN_LOAD_SECONDS="0.1"), pod.wanted("plain"))
    pod.serving("odd", "plain")
    assert [engine.warm for engine in pod.status().engines] == [False, True]
    assert "STANDIN_LOAD_SECONDS must be known before the imports" in pod.log()


def test_without_its_warm_interpreter_a_pod_executes_engines_and_makes_another(pool):
    pod = pool(warm=True)
    [interpreter] = [pid for pid in all_pids() if pod.is_interpreter(pid)]
    os.kill(interpreter, signal.SIGKILL)
    pod.until(lambda p: "the warm interpreter has ended" in p.log())
    pod.order(pod.wanted("one"))
    pod.serving("one")
    assert pod.engine("one").warm is False
    pod.until(lambda p: p.log().count("engines are forked from a warm interpreter") == 2)
    pod.order(pod.wanted("one"), pod.wanted("two"))
    pod.serving("two")
    assert pod.engine("two").warm


def test_a_program_that_cannot_be_imported_ahead_is_executed(pool):
    pod = pool(warm=True, command=["/bin/sh"])
    pod.order(pod.wanted("one"))
    pod.serving("one")
    assert pod.engine("one").warm is False

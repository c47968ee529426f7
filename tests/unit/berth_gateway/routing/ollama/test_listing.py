from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from berth_gateway.routing.keep_alive import FOREVER
from berth_gateway.routing.ollama import listing
from berth_gateway.routing.ollama.listing import Stay
from berth_gateway.routing.snapshot import Endpoint, Facts, Model, build

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
A, B = (Endpoint(key=one, url=f"http://{one}", name=one) for one in "ab")
FACTS = Facts(
    commit="c0ffee" * 6 + "c0ff", file_bytes=1000, dtype="BF16", architecture="qwen3",
    context=4096, memory_bytes=5000, on_gpu=True, capabilities=("completion", "tools"),
)  # fmt: skip
QWEN = Model(
    key="1",
    name="qwen",
    namespace="team",
    endpoints=(A, B),
    created_seconds=1795230000,
    facts=FACTS,
)
BARE = Model(key="2", name="bare", served_name="library/bare:3b", endpoints=(A,))
WORLD = build([QWEN, BARE])
DETAILS = {
    "parent_model": "", "format": "safetensors", "family": "qwen3", "families": ["qwen3"],
    "parameter_size": "", "quantization_level": "BF16",
}  # fmt: skip


@pytest.mark.parametrize("name", ["qwen", "qwen:latest", "qwen.team", "qwen.team:latest"])
def test_a_model_is_found_with_and_without_the_tag_that_clients_add(name) -> None:
    assert listing.find(WORLD, name) is QWEN


@pytest.mark.parametrize("name", ["qwen:7b", "latest", ":latest", "qwen:latest:latest", ""])
def test_another_tag_is_another_model(name) -> None:
    assert listing.find(WORLD, name) is None


def test_a_name_that_has_the_tag_itself_comes_first() -> None:
    tagged = Model(key="3", name="other", served_name="qwen:latest")
    assert listing.find(build([QWEN, tagged]), "qwen:latest") is tagged


def test_tags_are_listed_as_ollama_lists_them() -> None:
    qwen, bare = listing.tags(WORLD, [QWEN, BARE])["models"]

    assert qwen == {
        "name": "qwen:latest", "model": "qwen:latest", "digest": FACTS.commit, "details": DETAILS,
        "modified_at": "2026-11-21T03:00:00Z", "size": 1000, "capabilities": ["completion", "tools"],
    }  # fmt: skip
    assert bare["name"] == "library/bare:3b"


def test_what_is_unknown_is_said_in_ollamas_words_for_it() -> None:
    (bare,) = listing.tags(WORLD, [BARE])["models"]

    assert bare["modified_at"] == "0001-01-01T00:00:00Z"
    assert bare["digest"] == "0" * 64  # its own terminal cuts twelve of them
    assert bare["size"] == 0
    assert bare["details"]["families"] is None
    assert listing.shown(BARE)["model_info"] == {}


def test_what_runs_is_told_with_its_memory_and_its_end() -> None:
    models = [(QWEN, Stay(300.0, 60.0)), (BARE, Stay(FOREVER, 0.0))]
    bare, qwen = listing.running(WORLD, models, NOW)["models"]

    assert bare["name"] == "library/bare:3b"  # stays longest
    assert qwen == {
        "name": "qwen:latest", "model": "qwen:latest", "digest": FACTS.commit, "details": DETAILS,
        "size": 10_000, "size_vram": 10_000, "expires_at": "2026-11-21T12:04:00Z",
        "context_length": 4096,
    }  # fmt: skip


def test_on_a_cpu_nothing_is_in_video_memory() -> None:
    model = replace(QWEN, facts=replace(FACTS, on_gpu=False))
    (told,) = listing.running(build([model]), [(model, Stay(1.0, 0.0))], NOW)["models"]
    assert (told["size"], told["size_vram"]) == (10_000, 0)


def test_without_a_replica_nothing_runs() -> None:
    asleep = replace(QWEN, endpoints=())
    assert listing.running(build([asleep]), [(asleep, Stay(1.0, 0.0))], NOW) == {"models": []}


@pytest.mark.parametrize(
    ("stay", "least", "most"),
    [
        (Stay(60.0, 90.0), timedelta(0), timedelta(0)),
        (Stay(0.0, 0.0), timedelta(0), timedelta(0)),
        (Stay(FOREVER, 90.0), timedelta(days=365 * 290), timedelta(days=365 * 293)),
    ],
)
def test_an_end_is_now_at_the_earliest_and_in_three_hundred_years_at_the_latest(
    stay, least, most
) -> None:
    (told,) = listing.running(WORLD, [(QWEN, stay)], NOW)["models"]
    assert least <= datetime.fromisoformat(told["expires_at"]) - NOW <= most


def test_what_is_shown_has_the_contexts_length_where_clients_look_for_it() -> None:
    assert listing.shown(QWEN) == {
        "details": DETAILS,
        "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 4096},
        "capabilities": ["completion", "tools"],
        "modified_at": "2026-11-21T03:00:00Z",
    }

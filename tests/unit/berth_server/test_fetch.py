import errno
import socket
import sys
import threading

import pytest

from berth_api import names
from berth_api.server import FetchConfig, PodStatus
from berth_api.shape import Failure, FetchError
from berth_server import fetch, store
from berth_server.errors import SourceError
from berth_server.hub import Repository
from standins import tiny_model


@pytest.fixture
def job(endpoint, tmp_path):
    def make(name, directory="model/commit", pause=lambda _: None):
        repository = Repository(f"berth/{name}", None, endpoint)
        return fetch.Fetch(repository, None, tmp_path / directory, pause)

    return make


def test_what_an_engine_needs_is_fetched_and_nothing_else(job):
    fetching = job("tiny")
    fetching.run()
    found = {path.name for path in fetching.directory.iterdir() if not path.name.startswith(".")}
    assert found == tiny_model.files().keys() - {"README.md"}


def test_a_sharded_model_comes_without_its_copy_in_another_precision(job):
    fetching = job("sharded")
    fetching.run()
    assert (fetching.directory / "model-00002-of-00002.safetensors").exists()
    assert not (fetching.directory / "model.fp16.safetensors").exists()


def test_a_whole_folder_is_not_fetched_again(job, repositories):
    first = job("tiny")
    first.run()
    again = job("tiny")
    again.commit = repositories["berth/tiny"].commit
    again.repository = Repository("berth/tiny", None, "http://127.0.0.1:9")
    again.run()


def test_a_download_that_is_cut_goes_on(job, repositories):
    repositories["berth/flaky"].cuts.add("model.safetensors")
    fetching = job("flaky")
    fetching.run()
    assert store.is_whole(fetching.directory, repositories["berth/flaky"].commit)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gated", "GatedModel"),
        ("pickles", "NoSafetensors"),
        ("corrupt", "ChecksumMismatch"),
        ("nope", "NotFound"),
    ],
)
def test_what_cannot_be_fetched_is_typed_and_never_marked_whole(job, name, reason):
    fetching = job(name)
    with pytest.raises(SourceError) as raised:
        fetching.run()
    assert raised.value.failure.reason == reason
    assert not list(fetching.directory.glob(".berth-complete*"))


def test_another_pods_fetch_is_waited_for(job):
    entered, released = threading.Event(), threading.Event()
    other = job("tiny")

    def hold():
        with store.try_lock(other.directory) as mine:
            assert mine
            entered.set()
            released.wait(5)

    def let_go(_seconds):
        released.set()
        holder.join(5)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(5)
    waiting = job("tiny", pause=let_go)
    waiting.run()
    assert (waiting.directory / "model.safetensors").exists()


def test_a_hub_that_fails_is_tried_three_times(job):
    class Failing:
        def download(self, commit, files, directory):
            raise SourceError(FetchError.UNREACHABLE, "it answered 502")

    pauses = []
    fetching = job("tiny", pause=pauses.append)
    fetching.repository = Failing()
    with pytest.raises(SourceError, match="502"):
        fetching._download("0" * 40, ())
    assert pauses == [5.0, 10.0]


@pytest.mark.parametrize(
    ("broken", "number", "reason"),
    [
        ("try_lock", errno.ENOLCK, "CrashLoop"),
        ("mark_whole", errno.EACCES, "CrashLoop"),
        ("mark_whole", errno.ENOSPC, "NoSpace"),
    ],
)
def test_a_claim_that_cannot_be_used_is_a_typed_failure(
    endpoint, tmp_path, monkeypatch, broken, number, reason
):
    def refuse(*_):
        raise OSError(number, "the system's words")

    log, directory = tmp_path / "log", tmp_path / "model" / "commit"
    config = FetchConfig(source="hf://berth/tiny", directory=str(directory), status_port=None)
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv(names.ENV_FETCH_CONFIG, config.wire())
    monkeypatch.setattr(sys, "argv", ["fetch", str(log)])
    monkeypatch.setattr(store, broken, refuse)
    assert fetch.main() == 1
    failure = Failure.model_validate_json(log.read_bytes())
    assert failure.reason == reason
    assert failure.message == f"{directory} cannot be used: the system's words"
    assert "spec.model.cache" in failure.fix


def test_a_disk_without_room_is_found_before_the_first_byte(tmp_path):
    with pytest.raises(SourceError, match=r"1\.06 GiB are needed .* and 1\.00 GiB are free"):
        fetch.check_space(2**30, 2**30, tmp_path)
    fetch.check_space(2**30, 2**31, tmp_path)
    fetch.check_space(0, 0, tmp_path)


@pytest.mark.parametrize(
    ("done", "total", "seconds", "expected"),
    [
        (50, None, 1.0, (None, None)),
        (50, 100, 5.0, (50, 6)),  # 40 bytes in 5 s, 50 to go
        (10, 100, 5.0, (10, None)),  # nothing came yet
        (120, 100, 5.0, (100, 0)),  # the library's own records are on disk as well
    ],
)
def test_percent_and_time_left_follow_the_bytes_on_disk(done, total, seconds, expected):
    assert fetch.progress(done, 10, total, seconds) == expected


async def test_the_status_is_served_while_fetching(job):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    seen = []

    class Watched(fetch.Fetch):
        def run(self):
            import time
            import urllib.request

            for _ in range(100):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5) as page:
                    status = PodStatus.model_validate_json(page.read())
                if status.message:
                    break
                time.sleep(0.01)
            seen.append(status)

    made = job("tiny")
    config = FetchConfig(
        source="hf://berth/tiny", directory=str(made.directory), status_port=port, expected_bytes=99
    )
    await fetch.fetch(config, Watched(made.repository, None, made.directory))
    assert (seen[0].phase.value, seen[0].percent) == ("Fetching", 0)
    assert seen[0].message == "asking the hub"

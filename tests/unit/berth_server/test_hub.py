import errno

import pytest

from berth_server.errors import SourceError
from berth_server.hub import Repository
from standins import hub as standin
from standins import tiny_model


@pytest.fixture
def repository(endpoint):
    def make(name, revision=None, token=None):
        return Repository(f"berth/{name}", revision, endpoint, token, "team-a/hf[token]")

    return make


def refused(call) -> SourceError:
    with pytest.raises(SourceError) as raised:
        call()
    return raised.value


def test_a_revision_is_pinned_to_its_commit(repository):
    assert repository("tiny").commit() == tiny_model.commit(tiny_model.files())


def test_files_come_with_sizes_and_the_digests_of_the_large_ones(repository):
    found = {file.path: file for file in repository("tiny").files("main")}
    assert found["config.json"].sha256 is None
    weights = found["model.safetensors"]
    assert weights.size_bytes == len(tiny_model.files()["model.safetensors"])
    assert len(weights.sha256) == 64


def test_a_range_is_read_and_no_more(repository):
    content = tiny_model.files()["model.safetensors"]
    read = repository("tiny").read
    assert read("model.safetensors", "main", 8, 100) == content[8:108]
    assert read("model.safetensors", "main", len(content) - 4, 100) == content[-4:]


@pytest.mark.parametrize(
    ("name", "token", "reason"),
    [
        ("nope", None, "NotFound"),
        ("nope", standin.GOOD_TOKEN, "NotFound"),
        ("private", None, "NotFound"),
        ("private", standin.POOR_TOKEN, "NotFound"),
        ("private", "hf_wrong", "AuthFailed"),
        ("tiny", "hf_wrong", "AuthFailed"),
        ("broken", None, "SourceUnreachable"),
    ],
)
def test_a_refusal_is_typed(repository, name, token, reason):
    failure = refused(repository(name, token=token).commit).failure
    assert failure.reason == reason
    assert token is None or token not in failure.message + failure.fix


def test_what_cannot_be_seen_may_be_private(repository):
    assert "private" in refused(repository("nope").commit).failure.message


@pytest.mark.parametrize("token", [None, standin.POOR_TOKEN])
def test_a_gated_model_asks_for_the_licence(repository, token):
    gated = repository("gated", token=token)
    failure = refused(lambda: gated.read("config.json", "main", 0, 10)).failure
    assert failure.reason == "GatedModel"
    assert "accept the licence" in failure.fix
    assert ("team-a/hf[token]" in failure.fix) is (token is not None)


def test_with_access_the_gate_is_open(repository):
    gated = repository("gated", token=standin.GOOD_TOKEN)
    assert gated.read("config.json", "main", 0, 1) == b"{"


def test_a_revision_that_is_not_there_is_named(repository):
    failure = refused(repository("tiny", "v9").commit).failure
    assert failure.reason == "NotFound"
    assert "v9" in failure.message


def test_nobody_at_the_address_is_unreachable():
    nowhere = Repository("berth/tiny", None, "http://127.0.0.1:9")
    failure = refused(nowhere.commit).failure
    assert failure.reason == "SourceUnreachable"
    assert "HF_ENDPOINT" in failure.fix


def test_a_read_that_is_cut_is_tried_again(repository, repositories):
    repositories["berth/flaky"].cuts.add("model.safetensors")
    content = tiny_model.files()["model.safetensors"]
    assert repository("flaky").read("model.safetensors", "main", 0, 999_999) == content


def test_a_full_disk_is_told_apart():
    with pytest.raises(SourceError) as raised, Repository("a/b", None, "http://hub")._mapped():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert raised.value.failure.reason == "NoSpace"


def test_an_error_that_nobody_expected_is_not_hidden():
    with pytest.raises(ZeroDivisionError), Repository("a/b", None, "http://hub")._mapped():
        raise ZeroDivisionError

import hashlib

import pytest

from berth_server import store
from berth_server.errors import SourceError
from berth_server.selection import RemoteFile

CONTENT = b"weights"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILE = RemoteFile("model.safetensors", len(CONTENT), DIGEST)


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "model" / "commit"
    found.mkdir(parents=True)
    (found / FILE.path).write_bytes(CONTENT)
    return found


def test_a_folder_is_whole_once_it_is_marked(folder):
    assert not store.is_whole(folder, "c1")
    store.mark_whole(folder, "c1", [FILE])
    assert store.is_whole(folder, "c1")
    assert not store.is_whole(folder, "c2")


def test_a_file_that_shrank_since_is_noticed(folder):
    store.mark_whole(folder, "c1", [FILE])
    (folder / FILE.path).write_bytes(b"w")
    assert not store.is_whole(folder, "c1")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"commit": "c1", "files": 3}', "\0"])
def test_a_damaged_marker_means_not_whole(folder, text):
    store.mark_whole(folder, "c1", [FILE])
    (folder / ".berth-complete.json").write_text(text)
    assert not store.is_whole(folder, "c1")


def test_only_one_fills_a_folder_at_a_time(folder):
    with store.try_lock(folder) as mine:
        assert mine
        with store.try_lock(folder) as theirs:
            assert not theirs
    with store.try_lock(folder) as again:
        assert again


def test_bytes_are_counted_in_all_folders(folder):
    (folder / ".cache").mkdir()
    (folder / ".cache" / "part.incomplete").write_bytes(b"123")
    assert store.bytes_on_disk(folder) == len(CONTENT) + 3


def test_good_files_pass(folder):
    store.verify(folder, (FILE,))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (RemoteFile("absent.json", 1), "was not fetched"),
        (RemoteFile(FILE.path, 99, DIGEST), "7 bytes instead of 99"),
        (RemoteFile(FILE.path, FILE.size_bytes, "0" * 64), "SHA-256"),
    ],
)
def test_a_damaged_file_is_named_and_removed(folder, file, said):
    with pytest.raises(SourceError, match=said) as raised:
        store.verify(folder, (file,))
    assert raised.value.failure.reason == "ChecksumMismatch"
    assert not (folder / file.path).exists()

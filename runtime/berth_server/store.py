"""A folder with one model's files: locked while one pod fills it, marked when it is whole.

Pods on several nodes may share it through a claim, so nothing in it is trusted before the marker
is there, and the marker appears at once or not at all.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from berth_api.shape import FetchError
from berth_server.errors import SourceError
from berth_server.selection import RemoteFile

_MARKER: Final = ".berth-complete.json"
_CHUNK_BYTES: Final = 4 * 2**20
# hashlib lets go of the interpreter: four threads read faster than a disk gives.
_HASHERS: Final = 4


def is_whole(directory: Path, commit: str) -> bool:
    """Whether every file of `commit` was fetched and verified, and still has its size."""
    try:
        marker = json.loads((directory / _MARKER).read_text())
        sizes: dict[str, int] = marker["files"]
        return marker["commit"] == commit and all(
            (directory / path).stat().st_size == size for path, size in sizes.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def mark_whole(directory: Path, commit: str, files: Iterable[RemoteFile]) -> None:
    """Written aside and renamed: another pod sees the whole marker or none."""
    marker = {"commit": commit, "files": {file.path: file.size_bytes for file in files}}
    aside = directory / f"{_MARKER}.{os.getpid()}"
    with aside.open("w") as file:
        json.dump(marker, file)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(directory / _MARKER)


@contextmanager
def try_lock(directory: Path) -> Iterator[bool]:
    """Whether this process may fill `directory` now; the kernel unlocks it if the process dies."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with (directory.parent / f".{directory.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def bytes_on_disk(directory: Path) -> int:
    """Of whole files and of parts, also while they are being renamed."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):  # renamed since it was listed
                total += (Path(folder) / name).lstat().st_size
    return total


def verify(directory: Path, files: tuple[RemoteFile, ...]) -> None:
    """Sizes, and the digests that the hub knows. A damaged file is removed.

    Raises SourceError.
    """
    with ThreadPoolExecutor(_HASHERS) as pool:
        damages = [damage for damage in pool.map(lambda f: _damage(directory, f), files) if damage]
    if damages:
        fix = "it is fetched again; if this repeats, check the hub's mirror and the disk"
        raise SourceError(FetchError.CHECKSUM_MISMATCH, damages[0], fix)


def _damage(directory: Path, file: RemoteFile) -> str | None:
    path = directory / file.path
    if not path.is_file():
        return f"{file.path} was not fetched"
    size = path.stat().st_size
    if size != file.size_bytes:
        path.unlink()
        return f"{file.path} has {size} bytes instead of {file.size_bytes}"
    if file.sha256 and _sha256(path) != file.sha256:
        path.unlink()
        return f"{file.path} does not have the SHA-256 that the hub names"
    return None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()

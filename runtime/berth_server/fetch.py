"""`python3 -m berth_server.fetch [TERMINATION_LOG]`: a model's files into a folder, verified.

Runs in an init container of the control image, the only one that sees the hub's token. Serves the
same /status as the wrapper, so that a fetch is visible while it lasts. Exit code 1 with a typed
failure in the termination message; what was fetched stays, and the next try goes on from there.
"""

import asyncio
import errno
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from berth_api.quantity import format_bytes
from berth_api.server import Phase
from berth_api.shape import Failure, FetchError
from berth_server import hub, once, reasons, request, selection, status, store, termination, weights
from berth_server.errors import SourceError
from berth_server.selection import RemoteFile

_log = logging.getLogger("berth.fetch")

# Beside the weights: the hub library's own records and the file system's.
_SPARE_BYTES: Final = 64 * 2**20
# A hub that fails three times within half a minute is left to the kubelet's back-off.
_TRIES: Final = 3
_FIRST_PAUSE_SECONDS: Final = 5.0
_LOCK_POLL_SECONDS: Final = 1.0
_PROGRESS_SECONDS: Final = 1.0
_TERMINATED: Final = 128 + signal.SIGTERM


class Order(Protocol):
    """What a fetch is told beside what to fetch."""

    @property
    def status_port(self) -> int | None: ...
    @property
    def expected_bytes(self) -> int | None: ...


class Job(Protocol):
    """`run` is for a thread, the others for a reader meanwhile."""

    total_bytes: int | None

    @property
    def directory(self) -> Path: ...
    @property
    def doing(self) -> str: ...
    def run(self) -> None: ...


def wanted(repository: hub.Repository, commit: str) -> tuple[RemoteFile, ...]:
    """The files of `commit` that an engine needs. Raises SourceError if none holds weights."""
    listed = repository.files(commit)
    indexed = None
    if any(file.path == weights.INDEX for file in listed):
        indexed = weights.indexed(
            repository.read(weights.INDEX, commit, 0, weights.MAX_INDEX_BYTES)
        )
    files = selection.needed(listed, indexed)
    if not selection.weight_files(files):
        raise no_safetensors(repository.name, [file.path for file in listed])
    return files


Select = Callable[[hub.Repository, str], tuple[RemoteFile, ...]]
"""The files of a repository's commit that are wanted. Raises SourceError."""


@dataclass
class Fetch:
    """One repository into one folder; `run` is for a thread, the fields are for a reader."""

    repository: hub.Repository
    commit: str | None
    directory: Path
    pause: Callable[[float], None] = time.sleep
    total_bytes: int | None = None
    doing: str = field(default="asking the hub")
    select: Select = wanted

    def run(self) -> None:
        """Returns when the folder is whole. Raises SourceError; OSError if it cannot be used."""
        commit = self.commit or self.repository.commit()
        while not store.is_whole(self.directory, commit):
            with store.try_lock(self.directory) as mine:
                if mine:
                    self._fill(commit)
                    return
            self.doing = "another pod is fetching these files"
            self.pause(_LOCK_POLL_SECONDS)

    def _fill(self, commit: str) -> None:
        if store.is_whole(self.directory, commit):
            return
        files = self.select(self.repository, commit)
        self.total_bytes = sum(file.size_bytes for file in files)
        present = store.bytes_on_disk(self.directory)
        check_space(self.total_bytes - present, hub.free_bytes(self.directory), self.directory)
        self.doing = f"fetching {format_bytes(self.total_bytes)} in {len(files)} files"
        self._download(commit, files)
        self.doing = f"verifying {len(files)} files"
        store.verify(self.directory, files)
        store.mark_whole(self.directory, commit, files)

    def _download(self, commit: str, files: tuple[RemoteFile, ...]) -> None:
        for attempt in range(1, _TRIES + 1):
            error = self._try(commit, files)
            if error is None:
                return
            passing = error.failure.reason == FetchError.UNREACHABLE.value
            if not passing or attempt == _TRIES:
                raise error
            _log.warning("try %d of %d: %s", attempt, _TRIES, error)
            self.pause(_FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))

    def _try(self, commit: str, files: tuple[RemoteFile, ...]) -> SourceError | None:
        try:
            self.repository.download(commit, files, self.directory)
        except SourceError as error:
            return error
        return None


def no_safetensors(where: str, paths: list[str]) -> SourceError:
    also = "only pickled weights, which can run code when loaded" * selection.has_pickles(paths)
    return SourceError(
        FetchError.NO_SAFETENSORS,
        f"{where} has no .safetensors files: {also or 'no weights at all'}",
        "use a revision or a repository with safetensors; the hub can convert most models",
    )


def check_space(missing_bytes: int, free_bytes: int, directory: Path) -> None:
    """Before the start, so that a full disk is not found out after an hour. Raises SourceError."""
    needed = missing_bytes + _SPARE_BYTES
    if missing_bytes > 0 and needed > free_bytes:
        raise hub.no_space(
            f"{format_bytes(needed)} are needed in {directory} and {format_bytes(free_bytes)} "
            "are free"
        )


def unusable(directory: Path, error: OSError) -> Failure:
    """Why the file system of `directory` would not lock, write or mark it, and what to do."""
    message = f"{error.filename or directory} cannot be used: {error.strerror or error}"
    if error.errno == errno.ENOSPC:
        return hub.no_space(message).failure
    fix = "make the claim of spec.model.cache writable and lockable for the pod's user"
    return Failure(reason=reasons.CRASH_LOOP, message=message, fix=fix)


def progress(
    done_bytes: int, first_bytes: int, total_bytes: int | None, seconds: float
) -> tuple[int | None, int | None]:
    """Percent and seconds left, by the rate since the start; None is unknown."""
    if not total_bytes:
        return None, None
    percent = min(100, 100 * done_bytes // total_bytes)
    rate = (done_bytes - first_bytes) / seconds if seconds > 0 else 0
    left = max(0, total_bytes - done_bytes)
    return percent, round(left / rate) if rate > 0 else None


async def fetch(config: Order, job: Job) -> None:
    """Runs `job` and serves its status. Raises as `job` does, and ConfigurationError."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, _TERMINATED)
    job.total_bytes = config.expected_bytes
    state = status.State(started_seconds=time.monotonic())
    state.enter(Phase.FETCHING, time.monotonic())
    app = status.pages(state, time.monotonic)
    async with status.served(app, config.status_port) if config.status_port else nullcontext():
        watching = asyncio.create_task(_watch(job, state))
        try:
            await asyncio.to_thread(job.run)
        finally:
            watching.cancel()


async def _watch(job: Job, state: status.State) -> None:
    started = time.monotonic()
    first = await asyncio.to_thread(store.bytes_on_disk, job.directory)
    while True:
        done = await asyncio.to_thread(store.bytes_on_disk, job.directory)
        seconds = time.monotonic() - started
        state.percent, state.eta_seconds = progress(done, first, job.total_bytes, seconds)
        state.message = job.doing
        await asyncio.sleep(_PROGRESS_SECONDS)


def main() -> int:
    return once.run("berth-fetch", _fetched)


def _fetched(log: Path) -> int:
    config = request.read(os.environ)
    repository = request.repository(config, os.environ)
    return ran(config, Fetch(repository, config.commit, Path(config.directory)), log)


def ran(config: Order, job: Job, log: Path) -> int:
    """The exit code, once the reason of a failure is in `log`. Raises ConfigurationError."""
    try:
        asyncio.run(fetch(config, job))
    except (SourceError, OSError) as error:
        failure = unusable(job.directory, error) if isinstance(error, OSError) else error.failure
        _log.error("%s", failure.message)
        termination.write(log, failure)
        return 1
    _log.info("%s is whole", job.directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A Hugging Face hub or its mirror: listing, reading and downloading one repository.

The only module that imports huggingface_hub, and the place where its errors become Berth's. The
token never appears in a message.
"""

import errno
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
from huggingface_hub import (
    HfApi,
    RepoFile,
    get_session,
    hf_hub_url,
    hf_raise_for_status,
    snapshot_download,
)
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from berth_api.shape import FetchError
from berth_server.errors import SourceError
from berth_server.selection import RemoteFile

_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
# One read: a header's range or a small file. Downloads have the library's own timeouts.
_READ_TIMEOUT_SECONDS: Final = 30.0
_READ_TRIES: Final = 3
# Saturates a 10 Gbit/s line against the hub's per-connection rate, without a large heap.
_WORKERS: Final = 8


@dataclass(frozen=True)
class Repository:
    """One repository and how to reach it. `token_secret` is for messages only."""

    name: str
    revision: str | None
    endpoint: str
    token: str | None = None
    token_secret: str | None = None

    def commit(self) -> str:
        """The commit that the revision means now. Raises SourceError, as all methods do."""
        with self._mapped():
            found = self._api().model_info(self.name, revision=self.revision).sha
        if not found:
            raise self._unreachable("the hub names no commit")
        return found

    def files(self, commit: str) -> tuple[RemoteFile, ...]:
        with self._mapped():
            entries = list(self._api().list_repo_tree(self.name, recursive=True, revision=commit))
        return tuple(_remote(entry) for entry in entries if isinstance(entry, RepoFile))

    def read(self, path: str, commit: str, start: int, count: int) -> bytes:
        """`count` bytes of a file from `start`, or fewer at its end."""
        with self._mapped():
            for _ in range(_READ_TRIES - 1):
                with suppress(httpx2.TransportError):
                    return self._read(path, commit, start, count)
            return self._read(path, commit, start, count)

    def _read(self, path: str, commit: str, start: int, count: int) -> bytes:
        url = hf_hub_url(self.name, path, revision=commit, endpoint=self.endpoint)
        headers = {"Range": f"bytes={start}-{start + count - 1}", "Accept-Encoding": "identity"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        with get_session().stream(
            "GET", url, headers=headers, timeout=_READ_TIMEOUT_SECONDS, follow_redirects=True
        ) as response:
            if response.is_error:
                response.read()
            hf_raise_for_status(response)
            skipped = 0 if response.status_code == 206 else start  # noqa: PLR2004 -- no ranges here
            return _first(response.iter_bytes(), skipped + count)[skipped:]

    def download(self, commit: str, files: tuple[RemoteFile, ...], directory: Path) -> None:
        """Into `directory`, continuing what an earlier try left there."""
        with self._mapped():
            snapshot_download(
                self.name,
                revision=commit,
                local_dir=directory,
                allow_patterns=[_literal(file.path) for file in files],
                token=self.token or False,
                endpoint=self.endpoint,
                max_workers=_WORKERS,
            )

    def _api(self) -> HfApi:
        return HfApi(endpoint=self.endpoint, token=self.token or False)

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            found = self._map(error)
            if found is None:
                raise
            raise found from error

    def _map(self, error: BaseException) -> SourceError | None:
        """The first entry of the table that `error`, or what caused it, is an instance of."""
        seen: BaseException | None = error
        while seen is not None:
            for kind, explain in _EXPLANATIONS:
                if isinstance(seen, kind):
                    return explain(self, seen)
            seen = seen.__cause__
        return None

    def _gated(self, _: BaseException) -> SourceError:
        page = f"{self.endpoint}/{self.name}"
        if self.token is None:
            fix = f"accept the licence at {page} and set spec.model.authSecretRef to a token"
        else:
            fix = f"accept the licence at {page} with the account of {self._credentials()}"
        return SourceError(FetchError.GATED, f"{self.name} is gated and access was refused", fix)

    def _missing(self, error: BaseException) -> SourceError:
        if self.token is not None and _status(error) == _UNAUTHORIZED:
            return self._refused(error)
        who = self._credentials()
        return SourceError(
            FetchError.NOT_FOUND,
            f"{self.name} does not exist at {self.endpoint}, or is private and {who} cannot see it",
            "check spec.model.source; for a private model set spec.model.authSecretRef",
        )

    def _no_revision(self, _: BaseException) -> SourceError:
        message = f"{self.name} has no revision {self.revision or 'main'}"
        fix = "name a branch, a tag or a commit of it after @ in spec.model.source"
        return SourceError(FetchError.NOT_FOUND, message, fix)

    def _no_file(self, error: BaseException) -> SourceError:
        return SourceError(FetchError.NOT_FOUND, f"{self.name} lacks a file: {_line(error)}")

    def _disabled(self, _: BaseException) -> SourceError:
        return SourceError(FetchError.NOT_FOUND, f"{self.name} was disabled by the hub")

    def _refused(self, _: BaseException) -> SourceError:
        return SourceError(
            FetchError.AUTH_FAILED,
            f"{self.endpoint} refused {self._credentials()} for {self.name}",
            "put a valid token with read access into the Secret of spec.model.authSecretRef",
        )

    def _answered(self, error: BaseException) -> SourceError:
        status = _status(error)
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            return self._refused(error)
        if status == _NOT_FOUND:
            return self._missing(error)
        return self._unreachable(f"it answered {status}")

    def _invalid(self, error: BaseException) -> SourceError:
        return SourceError(
            FetchError.NOT_FOUND, f"{self.name} is no repository name: {_line(error)}"
        )

    def _silent(self, error: BaseException) -> SourceError:
        return self._unreachable(_line(error))

    def _unreachable(self, what: str) -> SourceError:
        fix = "check HF_ENDPOINT and the proxy settings in spec.podTemplate.env, and the network"
        return SourceError(FetchError.UNREACHABLE, f"{self.endpoint} cannot be used: {what}", fix)

    def _disk(self, error: BaseException) -> SourceError | None:
        if getattr(error, "errno", None) == errno.ENOSPC:
            return no_space("the disk filled up while fetching")
        return self._silent(error) if isinstance(error, ConnectionError | TimeoutError) else None

    def _credentials(self) -> str:
        if self.token is None:
            return "an anonymous reader"
        return f"the token of Secret {self.token_secret}" if self.token_secret else "the token"


_Explain = Callable[[Repository, BaseException], SourceError | None]
# Subclasses before their bases: GatedRepoError is a RepositoryNotFoundError, and so on.
_EXPLANATIONS: Final[tuple[tuple[type[BaseException], _Explain], ...]] = (
    (GatedRepoError, Repository._gated),  # noqa: SLF001 -- this module's own table
    (RepositoryNotFoundError, Repository._missing),  # noqa: SLF001
    (RevisionNotFoundError, Repository._no_revision),  # noqa: SLF001
    (DisabledRepoError, Repository._disabled),  # noqa: SLF001
    (EntryNotFoundError, Repository._no_file),  # noqa: SLF001
    (HfHubHTTPError, Repository._answered),  # noqa: SLF001
    (HFValidationError, Repository._invalid),  # noqa: SLF001
    (OfflineModeIsEnabled, Repository._silent),  # noqa: SLF001
    (httpx2.HTTPError, Repository._silent),  # noqa: SLF001
    (socket.gaierror, Repository._silent),  # noqa: SLF001
    (OSError, Repository._disk),  # noqa: SLF001
)


def no_space(message: str) -> SourceError:
    fix = "use a larger claim in spec.model.cache, or a node with more ephemeral storage"
    return SourceError(FetchError.NO_SPACE, message, fix)


def free_bytes(directory: Path) -> int:
    """Free space of the file system below the nearest existing parent of `directory`."""
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    return shutil.disk_usage(existing).free


def _remote(entry: RepoFile) -> RemoteFile:
    return RemoteFile(
        path=entry.path,
        size_bytes=entry.lfs.size if entry.lfs else entry.size,
        sha256=entry.lfs.sha256 if entry.lfs else None,
    )


def _first(chunks: Iterator[bytes], count: int) -> bytes:
    """The first `count` bytes; a server that ignores ranges must not fill the memory."""
    found = bytearray()
    for chunk in chunks:
        found += chunk
        if len(found) >= count:
            break
    return bytes(found[:count])


def _literal(path: str) -> str:
    """`path` as a glob that matches nothing else."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)


def _status(error: BaseException) -> int | None:
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def _line(error: BaseException) -> str:
    """The first line of an error's text, for a status."""
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__

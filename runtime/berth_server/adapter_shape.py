"""`python3 -m berth_server.adapter_shape [TERMINATION_LOG]`: LoRA adapters, into the last words.

As `berth_server.shape` does for a model: it reads configurations and headers, by ranges or from
folders, loads nothing, and ends well where a person must mend the cause.
"""

import hashlib
import os
import sys
from pathlib import Path
from typing import Any, Final

from berth_api.adapters import AdapterReport, AdaptersReport, together
from berth_api.server import FetchConfig
from berth_api.shape import Failure
from berth_api.source import HubSource, parse
from berth_server import (
    adapter_fetch,
    adapters,
    once,
    request,
    shape,
    strangers_json,
    termination,
    weights,
)
from berth_server.errors import ConfigurationError, SourceError

# The kubelet keeps 12 KiB of a pod's containers together (types.MaxPodTerminationMessageLogLength
# of Kubernetes); a Job has at most four.
MOST_BYTES: Final = 3072
_MAX_CONFIG_BYTES: Final = 2**20
_HASH_DIGITS: Final = 40  # as a commit has


def answer(wanted: list[FetchConfig], environment: dict[str, str]) -> AdaptersReport:
    """The adapters, or why one cannot be had. Raises ConfigurationError."""
    try:
        found = together(read(one, environment) for one in wanted)
    except SourceError as error:
        return AdaptersReport(failure=error.failure)
    if len(termination.encode(found)) > MOST_BYTES:
        message = f"what is known of {len(wanted)} adapters does not fit {MOST_BYTES} bytes"
        return AdaptersReport(failure=_of(wanted[0], adapters.unreadable(message)).failure)
    return found


def read(wanted: FetchConfig, environment: dict[str, str]) -> AdapterReport:
    """Raises SourceError, whose message names the adapter, and ConfigurationError."""
    try:
        if isinstance(parse(wanted.source), HubSource):
            return _from_hub(wanted, environment)
        return _from_folder(wanted.source, Path(wanted.directory))
    except SourceError as error:
        raise _of(wanted, error) from error
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _of(wanted: FetchConfig, error: SourceError) -> SourceError:
    """The cause in the words of adapters: what fetches a model speaks of that."""
    failure = error.failure
    error.failure = Failure(
        reason=failure.reason,
        message=f"adapter {wanted.source}: {failure.message}",
        fix=failure.fix.replace("spec.model.source", "spec.adapters"),
    )
    return error


def _from_hub(wanted: FetchConfig, environment: dict[str, str]) -> AdapterReport:
    repository = request.repository(wanted, environment)
    commit = repository.commit()
    files = adapter_fetch.wanted(repository, commit)

    def part(path: str, start: int, count: int) -> bytes:
        return repository.read(path, commit, start, count)

    size = sum(file.size_bytes for file in files)
    return adapters.report(wanted.source, commit, _config(part)[0], _tensors(part)[0], size)


def _from_folder(source: str, folder: Path) -> AdapterReport:
    def part(path: str, start: int, count: int) -> bytes:
        try:
            with (folder / path).open("rb") as file:
                file.seek(start)
                return file.read(count)
        except OSError as error:
            raise adapters.unreadable(f"{path}: {error.strerror or error}") from error

    config, text = _config(part)
    tensors, header = _tensors(part)
    size = len(text) + (folder / adapters.WEIGHTS).stat().st_size
    commit = f"sha256:{hashlib.sha256(text + header).hexdigest()[:_HASH_DIGITS]}"
    return adapters.report(source, commit, config, tensors, size)


def _config(part: shape.Read) -> tuple[dict[str, Any], bytes]:
    text = part(adapters.CONFIG, 0, _MAX_CONFIG_BYTES)
    try:
        config = strangers_json.loads(text)
    except ValueError as error:
        raise adapters.unreadable(f"{adapters.CONFIG} is no JSON") from error
    if not isinstance(config, dict):
        raise adapters.unreadable(f"{adapters.CONFIG} is no JSON object")
    return config, text


def _tensors(part: shape.Read) -> tuple[tuple[Any, ...], bytes]:
    header = shape.read_header(part, adapters.WEIGHTS)
    try:
        return weights.tensors(header), header
    except weights.HeaderError as error:
        raise adapters.unreadable(f"{adapters.WEIGHTS}: {error}") from error


def main() -> int:
    return once.run("berth-adapters", _tell)


def _tell(log: Path) -> int:
    return once.tell(log, answer(request.read_adapters(os.environ).adapters, dict(os.environ)))


if __name__ == "__main__":
    sys.exit(main())

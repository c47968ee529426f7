"""`python3 -m berth_server.shape [TERMINATION_LOG]`: a model's shape, into the termination message.

Reads config.json and the safetensors headers, from a hub by ranges or from a folder, and loads
nothing. A cause that a person must mend is in the report, with exit code 0, so that the Job does
not try again by itself; anything else is a crash.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from berth_api.server import FetchConfig
from berth_api.shape import FetchError, ShapeReport
from berth_api.source import HubSource, parse
from berth_server import (
    fetch,
    hub,
    model_files,
    once,
    parts,
    request,
    selection,
    strangers_json,
    termination,
    trim,
    weights,
)
from berth_server.errors import ConfigurationError, EngineFailed, SourceError

Read = Callable[[str, int, int], bytes]
"""(path, start, count) -> at most count bytes."""

# One request gets the whole header of most files: a shard has some hundred tensors.
_FIRST_READ_BYTES: Final = 256 * 2**10
_MAX_CONFIG_BYTES: Final = 4 * 2**20
# Ranged reads in flight; the largest models have some 200 shards.
_READERS: Final = 8


@dataclass(frozen=True)
class _Heads:
    """Of every weights file: its header's bytes, and the file's whole size by its own account."""

    tensors: weights.Tensors
    digest: bytes
    file_bytes: int


def report(config: FetchConfig, environment: dict[str, str]) -> ShapeReport:
    """The shape, or why it cannot be had. Raises ConfigurationError."""
    try:
        if isinstance(parse(config.source), HubSource):
            return from_hub(request.repository(config, environment))
        return from_folder(Path(config.directory), whole=True)
    except SourceError as error:
        return ShapeReport(failure=error.failure)
    except EngineFailed as error:
        return ShapeReport(failure=error.failure)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def from_hub(repository: hub.Repository) -> ShapeReport:
    """Raises SourceError."""
    commit = repository.commit()
    files = fetch.wanted(repository, commit)

    def read(path: str, start: int, count: int) -> bytes:
        return repository.read(path, commit, start, count)

    if all(file.path != model_files.CONFIG for file in files):
        raise _unreadable(f"{repository.name} has no {model_files.CONFIG}")
    config, _ = read_config(read)
    held = [file.path for file in selection.weight_files(files)]
    heads = read_heads(read, held, parts.facts(config))
    file_bytes = sum(file.size_bytes for file in files)
    return _report(commit, config, heads.tensors, file_bytes)


def from_folder(top: Path, *, whole: bool = False) -> ShapeReport:
    """Of files that may be cut short after their headers; of an index where they are absent.

    With `whole`, weights that are not all there are a failure. Raises SourceError, EngineFailed.
    """
    folder = model_files.find(top)
    present = _present(folder)
    index = _index(folder, present)
    indexed = weights.indexed(index) if index is not None else None
    names = {file.path for file in present}
    missing = sorted((indexed or frozenset()) - names)
    absent = missing or not selection.weight_files(present)
    if index is not None and absent and not whole:
        return _from_index(folder, index)
    if missing:
        raise _incomplete(folder, missing)
    return _from_files(folder, selection.needed(present, indexed), sorted(names))


def _present(folder: Path) -> tuple[selection.RemoteFile, ...]:
    return tuple(
        selection.RemoteFile(path.name, path.stat().st_size)
        for path in sorted(folder.iterdir())
        if path.is_file()
    )


def _index(folder: Path, present: tuple[selection.RemoteFile, ...]) -> bytes | None:
    held = any(file.path == weights.INDEX for file in present)
    return _reader(folder)(weights.INDEX, 0, weights.MAX_INDEX_BYTES) if held else None


def _reader(folder: Path) -> Read:
    def read(path: str, start: int, count: int) -> bytes:
        with (folder / path).open("rb") as file:
            file.seek(start)
            return file.read(count)

    return read


def _from_files(
    folder: Path, files: tuple[selection.RemoteFile, ...], names: list[str]
) -> ShapeReport:
    held = [file.path for file in selection.weight_files(files)]
    if not held:
        raise fetch.no_safetensors(str(folder), names)
    config, text = read_config(_reader(folder))
    heads = read_heads(_reader(folder), held, parts.facts(config))
    others = sum(file.size_bytes for file in files if file.path not in held)
    commit = "sha256:" + hashlib.sha256(text + heads.digest).hexdigest()
    return _report(commit, config, heads.tensors, heads.file_bytes + others)


def _from_index(folder: Path, index: bytes) -> ShapeReport:
    """Only the total is known, not which tensors it is of."""
    config, text = read_config(_reader(folder))
    total = weights.total_bytes(index)
    if total is None:
        raise _unreadable(f"{weights.INDEX} has no metadata.total_size")
    commit = "sha256:" + hashlib.sha256(text + index).hexdigest()
    return _report(commit, config, weights.Tensors({_stored(config): total}), total)


# safetensors' names of the dtypes that a config.json names.
_DTYPES: Final = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def _stored(config: dict[str, Any]) -> str:
    """The dtype of most tensors; of a quantised model one that is not cast when it is served."""
    if "quantization_config" in config:
        return "U8"
    text = config.get("text_config")
    named = [config, text] if isinstance(text, dict) else [config]
    said = [one.get(key) for one in named for key in ("dtype", "torch_dtype")]
    return next((_DTYPES[one] for one in said if isinstance(one, str) and one in _DTYPES), "BF16")


def read_config(read: Read) -> tuple[dict[str, Any], bytes]:
    """config.json's object and its bytes. Raises SourceError."""
    text = read(model_files.CONFIG, 0, _MAX_CONFIG_BYTES)
    try:
        config = strangers_json.loads(text)
    except ValueError as error:
        raise _unreadable(f"{model_files.CONFIG} is no JSON") from error
    if not isinstance(config, dict):
        raise _unreadable(f"{model_files.CONFIG} is no JSON object")
    return config, text


def read_heads(read: Read, paths: list[str], known: parts.Facts) -> _Heads:
    """The headers of all `paths`, read several at a time. Raises SourceError."""
    ordered = sorted(paths)
    with ThreadPoolExecutor(_READERS) as pool:
        begun = list(pool.map(lambda path: _begin(read, path), ordered))
        _check_sum(length for _, length in begun)
        headers = list(pool.map(lambda path, begin: _header(read, path, *begin), ordered, begun))
    tensors = weights.Tensors()
    for path, header in zip(ordered, headers, strict=True):
        tensors += _tensors(path, header, known)
    digest = hashlib.sha256(b"".join(hashlib.sha256(h).digest() for h in headers)).digest()
    framing = sum(weights.LENGTH_BYTES + len(header) for header in headers)
    return _Heads(tensors, digest, framing + tensors.data_bytes)


def read_header(read: Read, path: str) -> bytes:
    """Of one file, without its length. Raises SourceError."""
    return _header(read, path, *_begin(read, path))


def _begin(read: Read, path: str) -> tuple[bytes, int]:
    """The file's first bytes, and the length of its header."""
    start = read(path, 0, _FIRST_READ_BYTES)
    try:
        return start, weights.header_bytes(start)
    except weights.HeaderError as error:
        raise _unreadable(f"{path}: {error}") from error


def _check_sum(lengths: Iterable[int]) -> None:
    """All of them are held at once."""
    total = sum(lengths)
    if total > weights.MAX_HEADER_BYTES:
        limit = weights.MAX_HEADER_BYTES
        raise _unreadable(f"the headers take {total} bytes together, and at most {limit} are read")


def _header(read: Read, path: str, start: bytes, length: int) -> bytes:
    end = weights.LENGTH_BYTES + length
    rest = read(path, len(start), end - len(start)) if end > len(start) else b""
    header = (start + rest)[weights.LENGTH_BYTES : end]
    if len(header) < length:
        raise _unreadable(f"{path}: the header has {length} bytes and the file ends before that")
    return header


def _tensors(path: str, header: bytes, known: parts.Facts) -> weights.Tensors:
    try:
        return weights.read(header, known)
    except weights.HeaderError as error:
        raise _unreadable(f"{path}: {error}") from error


def _report(
    commit: str, config: dict[str, Any], tensors: weights.Tensors, file_bytes: int
) -> ShapeReport:
    """The first version, from the fullest, that a termination message can hold."""
    found = _whole_report(commit, tensors, file_bytes)
    trimmed = trim.trim(config)
    for version in (trimmed, *trim.shorter(trimmed)):
        found = found.model_copy(update={"config": version})
        if len(termination.encode(found)) <= termination.MAX_BYTES:
            return found
    raise _unreadable(f"the shape does not fit {termination.MAX_BYTES} bytes")


def _whole_report(commit: str, tensors: weights.Tensors, file_bytes: int) -> ShapeReport:
    """Without the configuration. Raises SourceError."""
    if not any(tensors.bytes_by_dtype.values()):
        raise _unreadable("the safetensors headers describe no byte of weights")
    try:
        return ShapeReport(
            commit=commit,
            tensorBytes=dict(tensors.bytes_by_dtype),
            parts={part: dict(sizes) for part, sizes in tensors.bytes_by_part.items()},
            tensorCount=tensors.count,
            fileBytes=file_bytes,
        )
    except ValidationError as error:
        raise _unreadable(f"the files are said to take {file_bytes} bytes") from error


def _incomplete(folder: Path, missing: list[str]) -> SourceError:
    return SourceError(
        FetchError.NO_SAFETENSORS,
        f"{folder} lacks {len(missing)} of the files that {weights.INDEX} names: {missing[0][:80]}",
        "copy the whole model there",
    )


def _unreadable(message: str) -> SourceError:
    fix = "use a repository of a model in the transformers layout, with safetensors"
    return SourceError(FetchError.CONFIG_UNREADABLE, message, fix)


def main() -> int:
    return once.run("berth-shape", _tell)


def _tell(log: Path) -> int:
    return once.tell(log, report(request.read(os.environ), dict(os.environ)))


if __name__ == "__main__":
    sys.exit(main())

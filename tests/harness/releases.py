"""Earlier releases of Berth, out of git: what an upgrade comes from and a way back leads to.

`tests/upgrades/previous` names them by tag or commit, the latest first, and no more than two: a
newer Berth speaks to servers two versions back. Who makes a release puts its tag on top.
"""

import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from clusterapi import CRD_NAME

REPOSITORY = Path(__file__).parents[2]
MOST_VERSIONS_BACK = 2
PREVIOUS = tuple((REPOSITORY / "tests/upgrades/previous").read_text(encoding="utf-8").split())


@dataclass(frozen=True)
class Release:
    """The files of one release, or of this one."""

    tree: Path

    @property
    def definition(self) -> Path:
        return self.tree / f"crds/{CRD_NAME}.yaml"

    @property
    def definitions(self) -> list[Path]:
        """Of all of its kinds."""
        return sorted((self.tree / "crds").glob("*.yaml"))

    @property
    def chart(self) -> Path:
        return self.tree / "charts" / "berth"

    @property
    def examples(self) -> list[Path]:
        return sorted((self.tree / "examples").rglob("*.yaml"))

    @property
    def python_path(self) -> list[str]:
        """Its own packages before today's, and the packages that both need."""
        own = [self.tree, *(self.tree / folder for folder in ("crds", "operator", "runtime"))]
        return [*map(str, own), *sys.path]

    def evaluate(self, program: str, given: str) -> str:
        """What a program prints with this release's packages and `given` on its standard input."""
        ran = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": os.pathsep.join(self.python_path)},
            input=given,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return ran.stdout


TODAY = Release(REPOSITORY)


def extract(name: str, folder: Path) -> Release:
    """What git has of a release, in an empty folder."""
    _deepen(name)
    archive = _git("archive", "--format=tar", name)
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return Release(folder)


def is_ancestor(name: str) -> bool:
    """Of what is checked out."""
    _deepen(name)
    command = ["git", "merge-base", "--is-ancestor", name, "HEAD"]
    return subprocess.run(command, cwd=REPOSITORY, check=False).returncode == 0


def _deepen(name: str) -> None:
    """A shallow clone has no earlier release, and gets it from where it came from."""
    known = ["git", "cat-file", "-e", f"{name}^{{commit}}"]
    if subprocess.run(known, cwd=REPOSITORY, check=False, stderr=subprocess.DEVNULL).returncode:
        _git("fetch", "--quiet", "--unshallow", "--tags")


def _git(*arguments: str) -> bytes:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True).stdout

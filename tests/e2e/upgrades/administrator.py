"""What an administrator does to an installed Berth with helm, and what must not change by it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from clusterapi import CRD_NAME
from releases import TODAY, Release

from dev import binaries, images, progress, standin
from dev.installed import RELEASE, SYSTEM, Berth

READY_TIMEOUT = "180s"
CONTROL = images.CONTROL.rpartition("/")[2].partition(":")[0]
# To every release, of an engine profile.
KNOWN_OF_A_PROFILE = ("image", "command", "device", "dtype")
# Beside today's, so that building the one forgets nothing of the other.
PREVIOUS_CONTROL = f"{CONTROL}-previous"


@dataclass(frozen=True)
class Administrator:
    """`values` are a file with those that the release was found with."""

    berth: Berth
    values: Path

    def helm(self, *arguments: str | Path) -> str:
        where = (f"--kubeconfig={self.berth.kubectl.kubeconfig}", f"--namespace={SYSTEM}")
        return progress.run([binaries.path("helm"), *arguments, *where])

    def install_previous(self, release: Release, gateways: int) -> None:
        """As its own time installed it, with the stand-in engine's profile."""
        found = yaml.safe_load(self.values.read_text(encoding="utf-8"))
        engine = found["engineProfiles"][standin.PROFILE]
        profile = json.dumps({key: engine[key] for key in KNOWN_OF_A_PROFILE})
        self.upgrade(
            release,
            "--reset-values",
            f"--values={release.tree / 'dev' / 'values.yaml'}",
            f"--set-json=engineProfiles.{standin.PROFILE}={profile}",
            f"--set=image.repository={PREVIOUS_CONTROL}",
            f"--set=gateway.replicas={gateways}",
        )

    def upgrade_to_today(self) -> None:
        """As docs/upgrades.md has it."""
        self.upgrade(TODAY, "--reset-then-reuse-values", f"--set=image.repository={CONTROL}")

    def roll_back(self) -> None:
        self.helm("rollback", RELEASE, "--wait", f"--timeout={READY_TIMEOUT}")

    def restore(self) -> None:
        """This release as it was found, also where nothing is installed."""
        self.upgrade(TODAY, "--install", "--reset-values", f"--values={self.values}")

    def upgrade(self, release: Release, *flags: str) -> None:
        until_ready = ("--wait", f"--timeout={READY_TIMEOUT}")
        self.helm("upgrade", RELEASE, release.chart, *flags, *until_ready)

    def uninstall(self) -> None:
        self.helm("uninstall", RELEASE, "--wait", f"--timeout={READY_TIMEOUT}")

    def schemas(self) -> dict[str, Any]:
        """What the API server judges by, by version."""
        return schemas(self.berth.kubectl.json("get", "customresourcedefinition", CRD_NAME))


def schemas(definition: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one["schema"] for one in definition["spec"]["versions"]}


def schemas_of(release: Release) -> dict[str, Any]:
    return schemas(yaml.safe_load(release.definition.read_text(encoding="utf-8")))


def engines(berth: Berth, namespace: str) -> dict[str, int]:
    """Each engine pod and how often its containers have restarted."""
    return {
        pod["metadata"]["uid"]: sum(c["restartCount"] for c in pod["status"]["containerStatuses"])
        for pod in berth.all("pods", namespace, "berth.dev/role=engine")
    }

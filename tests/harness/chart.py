"""The chart, rendered by the real helm."""

from pathlib import Path
from typing import Any

import yaml

from dev import binaries, progress

CHART = Path(__file__).parents[2] / "charts" / "berth"
GOLDEN = Path(__file__).parents[1] / "golden" / "chart"
RELEASE = "berth"
NAMESPACE = "berth-system"


def helm(*arguments: str | Path) -> str:
    return progress.run([binaries.path("helm"), *arguments])


def render(*arguments: str | Path, namespace: str = NAMESPACE, folder: Path = CHART) -> str:
    """The version stands for the cluster's: a helm that is built without one claims to be old."""
    version = f"--kube-version={binaries.KUBERNETES_VERSION}"
    return helm("template", RELEASE, folder, f"--namespace={namespace}", version, *arguments)


def objects(rendered: str) -> dict[tuple[str, str], dict[str, Any]]:
    """By kind and name."""
    found = [one for one in yaml.safe_load_all(rendered) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def case(name: str) -> Path:
    """The values of a golden rendering."""
    return GOLDEN / f"{name}.values.yaml"

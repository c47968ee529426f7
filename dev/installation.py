"""Berth itself on the cluster: the chart with a developer's values."""

from dev import binaries, images, places, progress, restricted
from dev.cluster import Cluster

RELEASE = "berth"
NAMESPACE = "berth-system"
_MODELS = "default"  # where the demo's and the tests' own models are

_CHART = places.REPOSITORY / "charts" / "berth"
_VALUES = places.REPOSITORY / "dev" / "values.yaml"
_READY_TIMEOUT = "180s"


def install(cluster: Cluster) -> None:
    """Install or upgrade; pods restart when the control image changed under its fixed tag."""
    cluster.kubectl.apply(*map(restricted.namespace, (NAMESPACE, _MODELS)))
    build = images.fingerprint(images.control())
    with progress.step(f"helm upgrade --install {RELEASE}"):
        progress.run(
            [
                *(binaries.path("helm"), "upgrade", RELEASE, _CHART, "--install"),
                *(f"--kubeconfig={cluster.kubectl.kubeconfig}", f"--namespace={NAMESPACE}"),
                f"--values={_VALUES}",
                *(
                    f"--set-string={pods}.podAnnotations.berth\\.dev/build={build}"
                    for pods in ("operator", "gateway")
                ),
                *("--wait", f"--timeout={_READY_TIMEOUT}"),
            ]
        )

"""Stand-ins as pods: a hub that the real client speaks to, an engine that dies when it is told to.

Everything between them is real: the operator, the shape Job, the fetcher, the wrapper, the gateway.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dev import cluster, images, places, restricted
from dev.errors import DevError
from dev.installed import Berth

IMAGE = "localhost/berth-standin:dev"
PROFILE = "standin"
# For a plan of it: what the planner reserves for an engine's processes, and a little KV cache.
LEAST_MEMORY = "2200Mi"
_PORT = 9000


def install(berth: Berth) -> None:
    """The image on the node, and an engine profile that runs it, beside the chart's own."""
    here = cluster.current()
    if here.builder is None:
        raise DevError("the stand-ins' image cannot be built for a cluster that was given")
    image = images.Image(
        IMAGE,
        places.REPOSITORY / "standins" / "Dockerfile",
        places.REPOSITORY / "standins",
        inputs=(".",),
        arguments={"CONTROL": images.fingerprint(images.control())},
    )
    images.build(here.builder, image)
    here.load(image)
    profile = f"--set=engineProfiles.{PROFILE}"
    berth.helm(
        f"{profile}.image={IMAGE.removeprefix('localhost/')}",
        f"{profile}.command={{python3,-m,standins.engine}}",
        f"{profile}.device=cpu",
        f"{profile}.dtype=float32",
    )


@contextmanager
def hub(berth: Berth, namespace: str) -> Iterator[str]:
    """A namespace with a hub in it, which `model`'s sources are fetched from."""
    with berth.namespace(namespace):
        berth.apply(_hub_pod(namespace), _hub_service(namespace))
        berth.kubectl("wait", "pod/hub", "-n", namespace, "--for=condition=Ready", "--timeout=60s")
        yield namespace


def model(
    namespace: str, name: str, source: str, env: Mapping[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    """A ModelDeployment on the stand-in engine; `model` and `resources` are merged in."""
    variables = {"HF_ENDPOINT": f"http://hub.{namespace}.svc:{_PORT}", **(env or {})}
    return {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"source": source} | spec.pop("model", {}),
            "runtime": {"engineProfile": PROFILE},
            "resources": {"cpu": "50m", "memory": "2500Mi"} | spec.pop("resources", {}),
            "podTemplate": {"env": [{"name": k, "value": v} for k, v in variables.items()]},
            **spec,
        },
    }


def _hub_pod(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "hub", "namespace": namespace, "labels": {"app": "hub"}},
        "spec": {
            "securityContext": restricted.POD,
            "containers": [
                {
                    "name": "hub",
                    "image": IMAGE,
                    "command": ["python3", "-m", "standins.hub", "--host=0.0.0.0"],
                    "args": [f"--port={_PORT}"],
                    "readinessProbe": {"tcpSocket": {"port": _PORT}, "periodSeconds": 1},
                    "securityContext": restricted.CONTAINER,
                }
            ],
        },
    }


def _hub_service(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "hub", "namespace": namespace},
        "spec": {"selector": {"app": "hub"}, "ports": [{"port": _PORT}]},
    }

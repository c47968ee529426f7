"""The shell variables that lead to the cluster and to Berth in it."""

import base64
import shlex

from dev.cluster import Cluster
from dev.installation import NAMESPACE, RELEASE

_HTTP_PORT = 80
_FIRST_KEY_SECRET = "berth-first-api-key"  # noqa: S105 -- a name


def render(cluster: Cluster) -> str:
    variables = {
        "KUBECONFIG": str(cluster.kubectl.kubeconfig),
        "BERTH_URL": url(cluster),
        "BERTH_API_KEY": api_key(cluster),
    }
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def url(cluster: Cluster) -> str:
    """Berth's address, without /v1. On kind it is reachable from inside the cluster only."""
    service = cluster.kubectl.json("get", "service", RELEASE, f"--namespace={NAMESPACE}")
    port = service["spec"]["ports"][0]["port"]
    return f"http://{service['spec']['clusterIP']}" + ("" if port == _HTTP_PORT else f":{port}")


def api_key(cluster: Cluster) -> str:
    secret = cluster.kubectl.json("get", "secret", _FIRST_KEY_SECRET, f"--namespace={NAMESPACE}")
    return base64.b64decode(secret["data"]["apiKey"]).decode()

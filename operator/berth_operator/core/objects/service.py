"""The headless Service over a model's pods: its EndpointSlices are the gateway's routes."""

from typing import Any, Final

from berth_api import names
from berth_operator.core.resolved import Resolved, metadata

# Says which engine key was last applied. The operator never reads Secrets, so the Service, which
# is applied after the key's Secret, is its memory of having written it, beyond its own end.
ANNOTATION_ENGINE_KEY: Final = f"{names.GROUP}/engine-key"


def build(resolved: Resolved, key_hash: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(
            resolved,
            names.engine_service(resolved.name),
            annotations={ANNOTATION_ENGINE_KEY: key_hash},
        ),
        "spec": {
            "clusterIP": "None",
            "selector": {
                names.LABEL_MODEL: resolved.name,
                names.LABEL_ROLE: names.ROLE_ENGINE,
                names.LABEL_ROUTE: names.ROUTE_OPEN,
            },
            "ports": [
                {
                    "name": names.PORT_NAME_ENGINE,
                    "port": names.PORT_ENGINE,
                    "targetPort": names.PORT_NAME_ENGINE,
                    "protocol": "TCP",
                }
            ],
        },
    }

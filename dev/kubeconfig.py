"""How a component finds the API server and says who it is. JSON, because JSON is YAML."""

import json
from pathlib import Path

from dev.certificates import KeyPair

CONTEXT = "berth-dev"


def render(server: str, authority: Path, client: KeyPair) -> str:
    """A kubeconfig that names files, not their content: it works only on this machine."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": CONTEXT,
                    "cluster": {"server": server, "certificate-authority": str(authority)},
                }
            ],
            "users": [
                {
                    "name": CONTEXT,
                    "user": {
                        "client-certificate": str(client.certificate),
                        "client-key": str(client.key),
                    },
                }
            ],
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
            "current-context": CONTEXT,
        },
        indent=2,
    )


def write(path: Path, server: str, authority: Path, client: KeyPair) -> Path:
    path.write_text(render(server, authority, client))
    path.chmod(0o600)
    return path

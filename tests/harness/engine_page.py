"""What an engine in the cluster says of itself: its own metrics page, asked with its own key."""

from dataclasses import dataclass, field
from typing import Any

import httpx

from berth_api import names
from dev.installed import Berth

_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class EnginePage:
    """Of any pod of the model that the key is of."""

    key: str = field(repr=False)

    def read(self, pod: dict[str, Any], metric: str) -> int:
        """The metric's first series. httpx.HTTPError when the engine does not answer."""
        url = f"http://{pod['status']['podIP']}:{names.PORT_ENGINE}/metrics"
        headers = {"Authorization": f"Bearer {self.key}"}
        page = httpx.get(url, headers=headers, timeout=_TIMEOUT_SECONDS)
        line = next(one for one in page.text.splitlines() if one.startswith(metric + "{"))
        return int(float(line.rsplit(" ", 1)[1]))


def of(berth: Berth, model: str, namespace: str = "default") -> EnginePage:
    secret = ("get", "secret", names.engine_key_secret(model), "-n", namespace)
    return EnginePage(
        berth.kubectl(*secret, "--output=go-template={{.data.engineKey | base64decode}}")
    )

"""ModelDeployments in one namespace of a real API server, as a client without a schema sees them."""

import json
from dataclasses import dataclass
from typing import Any

from berth_api import names
from dev.errors import CommandFailedError
from dev.kubectl import Kubectl

CRD_NAME = f"{names.PLURAL}.{names.GROUP}"


@dataclass(frozen=True)
class Api:
    """Strict: the API server answers 400 to a field that it does not know."""

    kubectl: Kubectl
    namespace: str

    @property
    def path(self) -> str:
        return f"/apis/{names.API_VERSION}/namespaces/{self.namespace}/{names.PLURAL}"

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._create(body, "fieldValidation=Strict")

    def would_create(self, body: dict[str, Any]) -> dict[str, Any]:
        """What would be stored, with defaults, and nothing is."""
        return self._create(body, "fieldValidation=Strict&dryRun=All")

    def refusal(self, body: dict[str, Any]) -> str:
        """What a user is told; empty when the object is taken."""
        try:
            self.would_create(body)
        except CommandFailedError as error:
            return error.output
        return ""

    def _create(self, body: dict[str, Any], query: str) -> dict[str, Any]:
        stdin = json.dumps(body)
        answer: dict[str, Any] = json.loads(
            self.kubectl("create", "--raw", f"{self.path}?{query}", "-f", "-", stdin=stdin)
        )
        return answer

"""One cluster, spoken to through the `kubectl` command: no client library is installed yet."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev import progress


@dataclass(frozen=True)
class Kubectl:
    program: Path
    kubeconfig: Path

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        return progress.run(self._command(arguments), stdin=stdin)

    def succeeds(self, *arguments: str) -> bool:
        return progress.succeeds(self._command(arguments))

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--output=json"))

    def apply(self, *objects: dict[str, Any]) -> None:
        manifest = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(manifest))

    def _command(self, arguments: Sequence[str]) -> list[str | Path]:
        return [self.program, "--kubeconfig", self.kubeconfig, *arguments]

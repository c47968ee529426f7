"""`python3 -m berth_server.adapter_fetch [TERMINATION_LOG]`: LoRA adapters into folders, verified.

As `berth_server.fetch` does for a model, one adapter after the other; they are small.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from berth_api.server import AdaptersConfig
from berth_server import adapters, fetch, hub, once, request
from berth_server.selection import RemoteFile


@dataclass
class Several:
    """Fetches that are one to whoever watches."""

    directory: Path  # above those of all
    parts: Sequence[fetch.Fetch]
    total_bytes: int | None = None
    doing: str = "asking the hub"

    def run(self) -> None:
        """As `fetch.Fetch.run`, and raises as that does."""
        for number, part in enumerate(self.parts, start=1):
            self.doing = f"adapter {number} of {len(self.parts)}: {part.repository.name}"
            part.run()


def wanted(repository: hub.Repository, commit: str) -> tuple[RemoteFile, ...]:
    """An adapter's two files. Raises SourceError if they are not there."""
    listed = {file.path: file for file in repository.files(commit)}
    names = (adapters.CONFIG, adapters.WEIGHTS)
    missing = [name for name in names if name not in listed]
    if missing == [adapters.WEIGHTS]:
        raise fetch.no_safetensors(repository.name, list(listed))
    if missing:
        raise adapters.unreadable(f"{repository.name} has no {' and no '.join(missing)}")
    return tuple(listed[name] for name in names)


def jobs(config: AdaptersConfig, environment: dict[str, str]) -> list[fetch.Fetch]:
    """Raises ConfigurationError."""
    return [
        fetch.Fetch(
            request.repository(one, environment), one.commit, Path(one.directory), select=wanted
        )
        for one in config.adapters
    ]


def main() -> int:
    return once.run("berth-fetch", _fetched)


def _fetched(log: Path) -> int:
    config = request.read_adapters(os.environ)
    parts = jobs(config, dict(os.environ))
    above = Path(os.path.commonpath([one.directory for one in parts]))
    return fetch.ran(config, Several(above, parts), log)


if __name__ == "__main__":
    sys.exit(main())

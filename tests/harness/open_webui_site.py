"""Open WebUI in front of the gateway's process, as docs/open-webui.md says; engines behind it."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import open_webui
import yaml
from gateway_process import GatewayProcess
from gateway_site import EngineProcess

PAGE = Path(__file__).parents[2] / "docs" / "open-webui.md"
ENVIRONMENT = re.compile(r"(?<=^```yaml\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
SERVICE = "http://berth.berth-system.svc"
KEY, NARROW_KEY = "sk-berth-open-webui", "sk-berth-smollm2-only"
# Slow enough that two answers meet: twelve words take more than half a second.
TOKENS_PER_SECOND = "20"


@dataclass(frozen=True)
class Site:
    gateway: GatewayProcess
    smollm2: EngineProcess
    qwen3: EngineProcess
    url: str  # Open WebUI's
    admin: httpx.Client

    @property
    def origin(self) -> str:
        """The gateway's."""
        return self.gateway.url.removesuffix("/v1")

    def both_work(self) -> bool:
        return self.smollm2.running() == self.qwen3.running() == 1

    def stays(self, model: str) -> timedelta:
        """How long still, as Open WebUI's administrator is told; below 0: it may go."""
        told = self.admin.get("/ollama/api/ps").raise_for_status().json()["models"]
        (expires,) = (one["expires_at"] for one in told if one["model"] == model)
        return datetime.fromisoformat(expires) - datetime.now(UTC)


@contextmanager
def open_webui_site(folder: Path) -> Iterator[Site]:
    """With an administrator signed up; `asleep` is a model that nobody starts."""
    with ExitStack() as running:

        def engine(*names: str, **knobs: str) -> EngineProcess:
            made = EngineProcess(folder, names[0], knobs, ("--served-model-name", *names))
            running.callback(made.kill)
            return made.start()

        smollm2 = engine("smollm2", TOKENS_PER_SECOND=TOKENS_PER_SECOND)
        qwen3 = engine("qwen3", "one-by-one", TOKENS_PER_SECOND=TOKENS_PER_SECOND)
        embedder = engine("embedder", TASK="embed")
        routes = [
            {"model": "smollm2", "endpoints": [smollm2.url]},
            {"model": "qwen3", "endpoints": [qwen3.url]},
            {"model": "one-by-one", "endpoints": [qwen3.url], "maxInFlight": 1},
            {"model": "embedder", "endpoints": [embedder.url]},
            {"model": "asleep", "endpoints": [], "maxWaitSeconds": 1},
        ]
        gateway = GatewayProcess(folder, tuple(_files(folder, routes)))
        running.callback(gateway.kill)
        gateway.start()
        environment = _environment(gateway.url.removesuffix("/v1"))
        url = running.enter_context(open_webui.running(folder, environment))
        admin = running.enter_context(open_webui.administrator(url))
        yield Site(gateway, smollm2, qwen3, url, admin)


def _files(folder: Path, routes: list[dict[str, object]]) -> Iterator[str]:
    sha256 = hashlib.sha256(NARROW_KEY.encode()).hexdigest()
    narrow = json.dumps({"sha256": sha256, "models": ["smollm2"]})
    for name, text in (("routes", json.dumps(routes)), ("keys", f"{KEY}\n{narrow}\n")):
        (folder / name).write_text(text)
        yield from (f"--{name}", str(folder / name))


def _environment(origin: str) -> dict[str, str]:
    """The page's, with what a kubelet puts in, and the gateway where the Service is."""
    (text,) = ENVIRONMENT.findall(PAGE.read_text(encoding="utf-8"))
    given = {one["name"]: one["value"] for one in yaml.safe_load(text)["env"] if "value" in one}
    return {
        name: value.replace("$(BERTH_API_KEY)", KEY).replace(SERVICE, origin)
        for name, value in given.items()
    }

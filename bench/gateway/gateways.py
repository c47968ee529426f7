"""The gateways that are measured, each started with what suits it best for this work.

All get one core, one worker, the same four endpoints, and log errors only.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.gateway import peers, scenarios
from dev import places

KEY = "sk-bench-0123456789abcdef"
_EVERY = tuple(scenario.name for scenario in scenarios.SCENARIOS)
# The prefix policies read the prompt, so they are measured where prompts matter.
_PREFIX = ("S4", "S7")
_MIB = 2**20


@dataclass(frozen=True)
class Place:
    """Where a gateway runs: a folder of its own, its ports, and the engines behind it."""

    folder: Path
    port: int
    management_port: int
    endpoints: Sequence[str]  # host:port
    model: str = scenarios.MODEL

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path


@dataclass(frozen=True)
class Command:
    argv: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Gateway:
    name: str
    version: Callable[[], str]  # installs what is missing
    command: Callable[[Place], Command] | None  # None: the load goes to the engines themselves
    scenarios: Sequence[str] = _EVERY
    like: str | None = None  # the peer whose policy is the like of ours


def _ours() -> str:
    return "of this repository"


def _berth(policy: str | None) -> Callable[[Place], Command]:
    def command(place: Place) -> Command:
        route = {
            "model": place.model,
            "endpoints": [f"http://{endpoint}" for endpoint in place.endpoints],
        } | ({"policy": policy} if policy else {})
        sources = (places.REPOSITORY / name for name in ("crds", "runtime"))
        return Command(
            [
                places.REPOSITORY / ".venv" / "bin" / "python",
                *("-m", "berth_gateway"),
                *("--routes", place.write("routes.yaml", json.dumps([route]))),
                *("--keys", place.write("keys", KEY + "\n")),
                *("--port", str(place.port), "--management-port", str(place.management_port)),
            ],
            {"PYTHONPATH": os.pathsep.join(map(str, sources))},
        )

    return command


def _litellm(place: Place) -> Command:
    parameters = {
        "model": f"openai/{place.model}",
        "api_key": "none",
        # Without prices it looks them up for every request.
        "input_cost_per_token": 1e-9,
        "output_cost_per_token": 1e-9,
    }
    config = {
        "model_list": [
            {
                "model_name": place.model,
                "litellm_params": parameters | {"api_base": f"http://{endpoint}/v1"},
            }
            for endpoint in place.endpoints
        ],
        "litellm_settings": {"num_retries": 0, "set_verbose": False, "telemetry": False},
        # Its documentation's choice for throughput.
        "router_settings": {"routing_strategy": "simple-shuffle", "num_retries": 0},
        "general_settings": {"master_key": KEY, "disable_spend_logs": True},
    }
    return Command(
        [
            peers.LITELLM.bin / "litellm",
            *("--config", place.write("config.yaml", json.dumps(config))),
            *("--host", "127.0.0.1", "--port", str(place.port)),
            *("--num_workers", "1", "--telemetry", "False"),
        ],
        {
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # the table in the package: no download
        },
    )


def _vllm_router(policy: str) -> Callable[[Place], Command]:
    def command(place: Place) -> Command:
        return Command(
            [
                peers.VLLM_ROUTER.bin / "vllm-router",
                *("--host", "127.0.0.1", "--port", str(place.port)),
                *("--prometheus-port", str(place.management_port)),
                *("--worker-urls", *(f"http://{endpoint}" for endpoint in place.endpoints)),
                *("--policy", policy, "--log-level", "error"),
                # Ours asks no second time either once a byte has come; an error is to be seen.
                *("--disable-retries", "--worker-startup-check-interval", "1"),
            ]
        )

    return command


def _nginx(place: Place) -> Command:
    servers = "\n".join(f"server {endpoint};" for endpoint in place.endpoints)
    folders = "\n".join(
        f"{kind}_temp_path {place.folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = f"""
        daemon off;
        worker_processes 1;
        pid {place.folder}/nginx.pid;
        error_log stderr error;
        events {{ worker_connections 16384; }}
        http {{
          access_log off;
          {folders}
          client_body_buffer_size {_MIB};
          client_max_body_size {8 * _MIB};
          upstream engines {{
            least_conn;
            {servers}
            keepalive 2048;
            keepalive_requests 1000000000;
          }}
          server {{
            listen 127.0.0.1:{place.port} backlog=4096;
            keepalive_requests 1000000000;
            location / {{
              proxy_pass http://engines;
              proxy_http_version 1.1;
              proxy_set_header Connection "";
              proxy_buffering off;
              proxy_request_buffering off;
              proxy_read_timeout 600s;
            }}
          }}
        }}
    """
    path = place.write("nginx.conf", config)
    return Command([peers.nginx(), "-p", place.folder, "-e", "stderr", "-c", path])


GATEWAYS = (
    Gateway("direct", _ours, None),
    Gateway("nginx", peers.nginx_version, _nginx, tuple(set(_EVERY) - {"S7"})),
    Gateway("vllm-router", peers.VLLM_ROUTER.install, _vllm_router("power_of_two")),
    Gateway("berth", _ours, _berth(None), like="vllm-router"),
    Gateway("litellm", peers.LITELLM.install, _litellm),
    Gateway("vllm-router-prefix", peers.VLLM_ROUTER.install, _vllm_router("cache_aware"), _PREFIX),
    Gateway("berth-prefix", _ours, _berth("PrefixAware"), _PREFIX, like="vllm-router-prefix"),
)


def chosen(names: Sequence[str]) -> list[Gateway]:
    return [gateway for gateway in GATEWAYS if gateway.name in names]


def prepare(gateways: Sequence[Gateway]) -> dict[str, str]:
    """Versions by name, after installing what is missing."""
    return {gateway.name: gateway.version() for gateway in gateways}


def fresh(folder: Path) -> Path:
    """An empty folder, whatever an earlier gateway left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder

"""Servers and gateways of earlier releases, beside this release's operator, and the other way round.

After an upgrade, pods go on with the server that they were started with, for as long as they live;
after a way back, an earlier operator meets this release's. Both must read what the other says.
"""

import json
import signal
import urllib.request
from pathlib import Path

import pytest
import releases
from gateway_process import GatewayProcess
from releases import TODAY, Release

from berth_api import names
from berth_api.demand import Demand
from berth_api.server import Phase, PodStatus
from berth_api.shape import Failure, Short
from berth_operator.cluster import demand_calls
from berth_operator.cluster.gauges import requests_of

# Reads standard input as one release's type and says it again in that release's own words.
RESPELL = """
import sys
from {module} import {name}
print({name}.model_validate_json(sys.stdin.read()).model_dump_json(by_alias=True))
"""
READ_DEMAND = """
import sys
from berth_operator.cluster.demand_calls import read
print(read(sys.stdin.read().encode()).wire())
"""


def respell(release: Release, name: str, given: str, module: str = "berth_api.server") -> str:
    return release.evaluate(RESPELL.format(module=module, name=name), given)


@pytest.fixture(scope="module", params=releases.PREVIOUS)
def earlier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Release:
    return releases.extract(request.param, tmp_path_factory.mktemp("earlier"))


def test_an_earlier_server_serves_and_this_operator_reads_it(pod, earlier: Release) -> None:
    old = pod(python_path=earlier.python_path).serving()
    assert old.ask({"prompt": "Hello", "max_tokens": 4})[0] == 200
    old.until(lambda pod: requests_of(pod.status()) == 0)  # a gauge is read from time to time
    told = old.status()
    assert told.phase is Phase.SERVING
    assert [one.name for one in told.engines] == ["tiny"]
    assert told.engines[0].measured.kv_cache_bytes


def test_this_server_serves_with_an_earlier_operators_configuration(pod, earlier: Release) -> None:
    new = pod(respelt=lambda config: respell(earlier, "ServerConfig", config)).serving()
    assert new.ask({"prompt": "Hello", "max_tokens": 4})[0] == 200


def test_an_earlier_operator_reads_this_server(pod, earlier: Release) -> None:
    new = pod().serving()
    status, body = new.get(new.status_port, names.PATH_STATUS)
    assert status == 200
    read = PodStatus.model_validate_json(respell(earlier, "PodStatus", body.decode()))
    assert read.phase is Phase.SERVING
    assert read.engines[0].measured == new.status().engines[0].measured


@pytest.mark.parametrize("by_the_earlier", [True, False])
def test_a_failure_is_read_with_its_numbers(pod, earlier: Release, by_the_earlier: bool) -> None:
    server, reader = (earlier, TODAY) if by_the_earlier else (TODAY, earlier)
    failing = pod(python_path=server.python_path, STANDIN_CRASH="kv")
    assert failing.ended() != 0
    told = json.dumps(failing.failure())
    read = Failure.model_validate_json(respell(reader, "Failure", told, "berth_api.shape"))
    assert read.reason == "KVCacheTooSmall"
    assert read.shortage is not None
    assert read.shortage.step is Short.KV_CACHE
    assert read.shortage.available_bytes


def test_an_earlier_server_drains_on_sigterm(pod, earlier: Release) -> None:
    old = pod(python_path=earlier.python_path).serving()
    old.process.send_signal(signal.SIGTERM)
    assert old.ended() == 0


@pytest.mark.parametrize("of_the_earlier", [True, False])
def test_a_gateways_demand_is_read(earlier: Release, of_the_earlier: bool, tmp_path: Path) -> None:
    speaker, reader = (earlier, TODAY) if of_the_earlier else (TODAY, earlier)
    routes = tmp_path / "routes.yaml"
    routes.write_text("- {model: tiny, endpoints: ['http://127.0.0.1:9']}\n")
    keys = tmp_path / "keys"
    keys.write_text("sk-berth-test\n")
    arguments = ("--routes", str(routes), "--keys", str(keys))
    gateway = GatewayProcess(tmp_path, arguments, python_path=speaker.python_path).start()
    try:
        url = f"http://127.0.0.1:{gateway.management_port}{names.PATH_DEMAND}"
        with urllib.request.urlopen(url, timeout=5) as stream:
            line = stream.readline().decode()
    finally:
        gateway.kill()
    read = Demand.model_validate_json(reader.evaluate(READ_DEMAND, line))
    assert read.gateway == demand_calls.read(line.encode()).gateway
    assert read.synced

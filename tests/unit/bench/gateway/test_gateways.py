import json
from pathlib import Path

import pytest

from bench.gateway import gateways, peers, scenarios
from bench.gateway.gateways import GATEWAYS, Place
from berth_gateway.world import static

ENDPOINTS = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"]


def place(folder: Path) -> Place:
    return Place(folder, 20_001, 20_002, ENDPOINTS)


@pytest.mark.parametrize("name", ["berth", "berth-prefix"])
def test_berths_routes_are_ones_that_berth_reads(tmp_path, name):
    gateways.chosen([name])[0].command(place(tmp_path))
    snapshot = static.read_routes(tmp_path / "routes.yaml")
    (model,) = snapshot.models
    assert [endpoint.url for endpoint in model.endpoints] == [f"http://{one}" for one in ENDPOINTS]


def test_litellm_gets_a_deployment_for_every_endpoint(tmp_path):
    gateways.chosen(["litellm"])[0].command(place(tmp_path))
    config = json.loads((tmp_path / "config.yaml").read_text())
    bases = [one["litellm_params"]["api_base"] for one in config["model_list"]]
    assert bases == [f"http://{one}/v1" for one in ENDPOINTS]


def test_nginx_gets_every_endpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "nginx", lambda: Path("nginx"))
    gateways.chosen(["nginx"])[0].command(place(tmp_path))
    config = (tmp_path / "nginx.conf").read_text()
    assert all(f"server {one};" in config for one in ENDPOINTS)


def test_every_gateway_is_compared_with_one_that_runs_the_same_scenarios():
    for gateway in GATEWAYS:
        if gateway.like:
            (peer,) = gateways.chosen([gateway.like])
            assert set(gateway.scenarios) == set(peer.scenarios)


def test_only_scenarios_that_exist_are_asked_for():
    known = {scenario.name for scenario in scenarios.SCENARIOS}
    assert all(set(gateway.scenarios) <= known for gateway in GATEWAYS)

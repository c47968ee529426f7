"""What a scrape shows of the plain numbers."""

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from berth_gateway.histogram import BOUNDS
from berth_gateway.routing.usage import Usage
from berth_gateway.telemetry import Telemetry


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry({"pod-a": 2, "pod-b": 1})


def test_a_histogram_counts_what_is_at_most_its_bound(telemetry) -> None:
    for seconds in (0.0, 0.005, 0.006, 3600.0, 3601.0):
        telemetry.first_byte("team", "llama", seconds)

    def at_most(bound: str) -> float | None:
        labels = {"namespace": "team", "model": "llama", "le": bound}
        name = "berth_gateway_first_byte_seconds_bucket"
        return telemetry.registry.get_sample_value(name, labels)

    assert [at_most(bound) for bound in ("0.005", "0.01", "3600.0", "+Inf")] == [2, 3, 4, 5]
    assert len(BOUNDS) == len(set(BOUNDS))
    labels = {"namespace": "team", "model": "llama"}
    total = telemetry.registry.get_sample_value("berth_gateway_first_byte_seconds_sum", labels)
    assert total == pytest.approx(7201.011)


def test_tokens_add_up_for_each_key_and_model(telemetry) -> None:
    telemetry.used("team", "llama", "key-1", Usage(5, 7))
    telemetry.used("team", "llama", "key-1", Usage(1, 1))
    telemetry.used("team", "llama", "key-2", Usage(9, 0))

    def tokens(kind: str, key: str) -> float | None:
        labels = {"namespace": "team", "model": "llama", "key": key}
        return telemetry.registry.get_sample_value(f"berth_gateway_{kind}_tokens_total", labels)

    assert (tokens("prompt", "key-1"), tokens("completion", "key-1")) == (6, 8)
    assert (tokens("prompt", "key-2"), tokens("completion", "key-2")) == (9, 0)


def test_a_scrape_is_what_prometheus_reads(telemetry) -> None:
    telemetry.answered("team", "llama", 200)
    telemetry.failed("team", "llama", "reset")
    telemetry.first_byte("team", "llama", 0.1)
    text = generate_latest(telemetry.registry).decode()
    read = {family.name: family.type for family in text_string_to_metric_families(text)}

    assert read["berth_gateway_requests"] == "counter"
    assert read["berth_gateway_first_byte_seconds"] == "histogram"
    assert telemetry.registry.get_sample_value("berth_gateway_requests_in_flight") == 3

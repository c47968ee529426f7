"""Cells as a run would have made them."""

from typing import Any

from bench.gateway.cell import Cell


def cell(scenario: str, gateway: str, **load: Any) -> Cell:
    """With the load's fields that are given, and a gateway that used half of its core."""
    reported = {"success_rate": 1.0, "requests_per_second": 0.0, "chunks_per_second": 0.0, **load}
    return Cell(
        scenario=scenario,
        gateway=gateway,
        load=reported,
        seconds=5.0,
        gateway_cores=None if gateway == "direct" else 0.5,
        mock_cores=0.3,
        load_cores=0.2,
        foreign_cores=0.05,
        load_average=1.0,
        resident_mb=60.0,
        peak_mb=70.0,
        gap_us=0,
        delivered=None,
        spoiled=False,
    )

"""A model that serves costs the API server nothing: no write but the Lease for a minute."""

import json
import time
from collections import Counter

import pytest

from dev.installed import SYSTEM, Berth

REST_SECONDS = 60
OURS = f"system:serviceaccount:{SYSTEM}:"


def test_nothing_is_written_at_rest_but_the_lease(berth: Berth, model: str) -> None:
    if berth.audit_log is None:
        pytest.fail("this test reads the API server's audit log: run it on its own cluster")
    time.sleep(5)  # the last status after a test before this one
    start = berth.audit_log.stat().st_size
    time.sleep(REST_SECONDS)
    with berth.audit_log.open(encoding="utf-8") as log:
        log.seek(start)
        events = [json.loads(line) for line in log if line.endswith("\n")]
    writes = Counter(
        (event["verb"], event["objectRef"]["resource"])
        for event in events
        if event["user"]["username"].startswith(OURS)
        and event["verb"] in ("create", "update", "patch", "delete")
        and event["stage"] == "ResponseComplete"
    )
    leases = writes.pop(("update", "leases"), 0) + writes.pop(("patch", "leases"), 0)
    assert leases > 0
    assert not writes

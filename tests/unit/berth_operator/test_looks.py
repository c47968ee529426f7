"""What is counted and told of a look, whatever it was at."""

import logging

import pytest

from berth_operator import looks
from berth_operator.core.observed import Refusal
from berth_operator.metrics import Metrics

LOG = logging.getLogger("looks")
REFUSED = Refusal("Service", "smol-engine", message="over quota")
TOLD = "refused Service/smol-engine: over quota; learned; status"


def counted(metrics: Metrics, result: str) -> float | None:
    name = "berth_operator_reconcile_seconds_count"
    return metrics.registry.get_sample_value(name, {"result": result})


async def test_a_look_is_counted_by_its_result_and_says_when_the_next_is_due() -> None:
    async def look() -> looks.Looked:
        return "changed", 2.0

    metrics = Metrics()
    assert await looks.timed(metrics, look()) == 2.0
    assert counted(metrics, "changed") == 1


async def test_a_look_that_fails_is_counted_and_fails() -> None:
    async def look() -> looks.Looked:
        raise OSError

    metrics = Metrics()
    with pytest.raises(OSError):
        await looks.timed(metrics, look())
    assert counted(metrics, "error") == 1


@pytest.mark.parametrize(
    ("done", "refusals", "written", "result", "told"),
    [
        ([], [], False, "rest", []),
        (["applied a"], [], False, "changed", ["team/smol: applied a"]),
        ([], [], True, "changed", ["team/smol: status"]),
        (
            ["applied a", "deleted b"],
            [REFUSED],
            True,
            "refused",
            ["team/smol: applied a; deleted b; " + TOLD],
        ),
    ],
)
def test_a_look_that_did_something_is_one_line(
    done, refusals, written, result, told, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    also = {"learned": bool(refusals), "status": written}
    assert looks.report(LOG, "team/smol", done, refusals, **also) == result
    assert caplog.messages == told

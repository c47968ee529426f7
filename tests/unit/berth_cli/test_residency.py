"""Loading and unloading: the honest act for each way of scaling, or why there is none."""

import pytest

from berth_api.spec import Spec
from berth_api.status import Status
from berth_cli import residency
from berth_cli.models import Known
from berth_cli.residency import Denied, Nothing, Pin, Release, Scale, Wake


def known(replicas=1, running=1, **spec):
    given = {"model": {"source": "hf://a/b"}, "replicas": replicas} | spec
    return Known("team-a", "m", Spec.model_validate(given), Status(replicas=running), None)


AUTO = {"scaling": {"mode": "Auto"}}


@pytest.mark.parametrize(
    ("model", "loaded", "unloaded"),
    [
        (known(0), Scale(1), Nothing("m has spec.replicas 0 already")),
        (known(3), Nothing("m has spec.replicas 3 already"), Scale(0)),
        (known(0, **AUTO), Wake(None), None),
        (known(0, 0, **AUTO), Wake(None), Nothing("m runs nowhere already")),
        (known(pool="small"), Pin(None), Release()),
        (known(0, 0, pool="small", **AUTO), Pin(None), Release()),
    ],
)
def test_who_decides_about_replicas_decides_about_this(model, loaded, unloaded):
    assert residency.load(model, None) == loaded
    assert unloaded is None or residency.unload(model) == unloaded


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (residency.unload(known(**AUTO)), "leaves by itself 5m after its last request"),
        (
            residency.unload(known(scaling={"mode": "Auto", "minReplicas": 1})),
            "has scaling.minReplicas 1, and always runs; set it to 0",
        ),
        (residency.load(known(scaling={"mode": "External"}), None), "change its bounds, or set"),
        (residency.unload(known(scaling={"mode": "External"})), "an HPA or KEDA writes"),
        (residency.load(known(0, paused=True), None), "spec.paused, and nothing is changed; set"),
        (residency.load(known(pool="a", paused=True), None), "spec.paused, and nothing is changed"),
        (residency.load(known(0), "5m"), "--keep-alive 5m: m has scaling.mode Fixed"),
    ],
)
def test_what_is_not_done_has_a_reason_and_a_fix(act, said):
    assert isinstance(act, Denied)
    assert said in act.text


def test_a_keep_alive_goes_with_the_request():
    assert residency.load(known(**AUTO), "30m") == Wake("30m")
    assert residency.load(known(pool="small"), "30m") == Pin("30m")

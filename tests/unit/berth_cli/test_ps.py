"""`berth ps`: a line for each model, and a dash for what is not known."""

import pytest
import terminal_world as world
from terminal_world import known

from berth_cli import ps
from berth_cli.models import Asked


def cells(cr, asked=None, *, wide=False):
    text = ps.as_text([known(cr, asked)], namespaces=False, wide=wide)
    return [cell for cell in text.splitlines()[1].split("  ") if cell]


def test_a_serving_model_is_a_line():
    found = [cell.strip() for cell in cells(world.SERVING, Asked(3, 0))]
    assert found == [
        *("smollm2", "Serving", "CPU", "3.00 GiB", "2.00 GiB", "8192", "forever", "3", "0", "1/1")
    ]


def test_a_model_that_the_operator_has_not_seen_is_dashes():
    found = [cell.strip() for cell in cells(world.NEW)]
    assert found == ["new", *"-" * 8, "-/1"]


def test_what_is_loading_tells_how_far_it_is():
    found = [cell.strip() for cell in cells(world.LOADING, Asked(held=2))]
    assert found[1:3] == ["Loading 43%", "2 x h100"]
    assert found[6:] == ["10m idle", "0", "2", "0/1"]


@pytest.mark.parametrize(("spec", "said"), world.STAYS)
def test_how_long_a_model_stays_is_what_its_spec_says(spec, said):
    assert ps.until(known(world.model("m", spec, replicas=1))) == said


def test_a_pools_model_is_where_its_engine_is_and_takes_its_share():
    one = known(world.POOLED, Asked(2, 0), world.ENGINE)
    found = ps.as_text([one], namespaces=False, wide=False).splitlines()[1].split("  ")
    assert [cell.strip() for cell in found if cell] == [
        *("mistral", "Serving", "GPU 0 of small", "40.00 GiB", "-", "32768"),
        *("2026-01-02T03:09:05Z", "2", "0", "1/1"),
    ]


def test_a_pools_model_that_waits_is_nowhere_yet_and_wanted():
    one = known(world.WAITING, Asked(held=1), world.WANTED)
    found = ps.as_text([one], namespaces=False, wide=False).splitlines()[1].split("  ")
    assert [cell.strip() for cell in found if cell][2:] == [
        *("pool small", "60.00 GiB", "-", "8192", "-", "0", "1", "0/1")
    ]


@pytest.mark.parametrize(
    ("spec", "engine", "said"),
    [
        ({}, {}, "2026-01-02T03:09:05Z"),
        ({}, {"until": None, "reason": "Pinned"}, "forever"),
        ({}, {"until": None, "reason": "Paused"}, "forever"),
        ({"keepAlive": "-1"}, {"until": None, "reason": "Busy"}, "forever"),
        ({}, {"until": None, "reason": "Busy"}, "5m idle"),
        ({"keepAlive": "1h"}, {"until": None, "state": "Loading", "reason": "Loading"}, "1h idle"),
        ({}, {"state": "Draining"}, None),
        ({}, {"state": "Absent"}, None),
    ],
)
def test_how_long_a_model_stays_in_a_pool_is_what_the_pool_says(spec, engine, said):
    cr = world.model("mistral", {"pool": "small"} | spec)
    assert ps.until(known(cr, None, world.ENGINE | engine)) == said


def test_strangers_words_are_escaped_and_stay_on_their_line():
    cr = world.model("m", phase="\x1b[31mRed\nline")
    assert "\\x1b[31mRed line" in ps.as_text([known(cr)], namespaces=False, wide=False)

"""`berth pools`: a line for each pool, and a dash for what is not known."""

import json

import terminal_world as world

from berth_api.pool import ModelPool, PoolStatus
from berth_cli import pools
from berth_cli.pools import KnownPool

SPEC = ModelPool.model_validate(world.POOL).spec
GIB = 2**30


def known(name="small", **status):
    return KnownPool("team-a", name, SPEC, PoolStatus.model_validate(status))


def cells(one):
    return pools.as_text([one], namespaces=False).splitlines()[1].split("  ")


def test_a_pools_cards_are_summed():
    card = {"pod": "a", "index": 0, "totalBytes": 80 * GIB, "grantedBytes": 30 * GIB}
    one = known(
        cards=[card, card | {"index": 1}], readyReplicas=1, loaded=2, waiting=0, reason="Ready"
    )
    found = [cell.strip() for cell in cells(one) if cell]
    assert found == ["small", "h100", "1/1", "2", "60.00 GiB", "160.00 GiB", "2", "0", "Ready"]


def test_a_pool_that_the_operator_has_not_seen_is_dashes():
    assert [cell.strip() for cell in cells(known()) if cell] == ["small", "h100", "-/1", *"-" * 6]


def test_all_namespaces_tell_which():
    text = pools.as_text([known()], namespaces=True)
    assert [line.split()[0] for line in text.splitlines()] == ["NAMESPACE", "team-a"]


def test_json_has_the_engines_as_the_pool_tells_them():
    typed = ModelPool.model_validate(world.POOL)
    one = KnownPool("team-a", "small", typed.spec, typed.status)
    (found,) = json.loads(pools.as_json([one]))["pools"]
    assert found["pods"] == {"ready": 1, "wanted": 1}
    assert [engine["state"] for engine in found["engines"]] == ["Serving", "Waiting"]
    assert found["cards"][0]["grantedBytes"] == 40 * GIB


def test_no_pool_is_said():
    assert "no ModelPools" in pools.as_text([], namespaces=True)

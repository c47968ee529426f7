"""Which engines lie on which card of a pool."""

from berth_api.pool import PoolCard, PoolEngine, PoolStatus
from berth_gateway.routing.pools import Pool, Share, cards


def engine(name: str, pod: str | None = "p-0", **fields: object) -> PoolEngine:
    given = {"state": "Serving", "cards": [0], "memory_bytes": 10} | fields
    return PoolEngine(id=f"e-{name}", models=[name], pod=pod, **given)


def pool(*engines: PoolEngine, places: tuple[tuple[str, int], ...] = (("p-0", 0),)) -> Pool:
    there = [
        PoolCard(pod=pod, index=index, total_bytes=100, granted_bytes=0) for pod, index in places
    ]
    return Pool("team", "small", "h100", PoolStatus(engines=list(engines), cards=there))


def models(found: Pool) -> list[list[tuple[str, ...]]]:
    """Of each share of each card."""
    return [[share.models for share in card.shares] for card in cards(found)]


def test_a_card_has_its_place_its_size_and_who_shares_it() -> None:
    (card,) = cards(pool(engine("a")))

    assert (card.pool.name, card.pod, card.index, card.total) == ("small", "p-0", 0, 100)
    assert card.shares == (Share(("a",), 10),)


def test_engines_lie_on_the_cards_of_their_pod_that_they_name() -> None:
    wide, other = engine("wide", cards=[0, 1]), engine("other", pod="p-1")
    found = pool(wide, other, places=(("p-1", 0), ("p-0", 1), ("p-0", 0)))

    assert models(found) == [[("wide",)], [("wide",)], [("other",)]]


def test_an_engine_on_cpu_lies_on_its_pods_memory() -> None:
    assert models(pool(engine("a", cards=[]))) == [[("a",)]]


def test_one_that_leaves_has_its_bytes_still_and_one_that_waits_has_none() -> None:
    states = ("Loading", "Draining", "Waiting", "Absent", "Failed", "Refused")
    found = pool(*(engine(state, state=state) for state in states))

    assert models(found) == [[("Loading",), ("Draining",)]]


def test_a_pool_that_nothing_is_known_of_has_no_cards() -> None:
    assert cards(Pool("team", "small", "h100", PoolStatus())) == []

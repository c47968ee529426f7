"""Which engines lie on which card of a pool."""

from berth_api.pool import PoolCard, PoolEngine, PoolStatus
from berth_gateway.routing.shared_cards import Share, shared_cards


def engine(name: str, pod: str | None = "p-0", **fields: object) -> PoolEngine:
    given = {"state": "Serving", "cards": [0], "memory_bytes": 10} | fields
    return PoolEngine(id=f"e-{name}", models=[name], pod=pod, **given)


def shares(*engines: PoolEngine, cards: tuple[tuple[str, int], ...] = (("p-0", 0),)) -> list:
    there = [
        PoolCard(pod=pod, index=index, total_bytes=100, granted_bytes=0) for pod, index in cards
    ]
    status = PoolStatus(engines=list(engines), cards=there)
    return [
        [share.models for share in card.shares]
        for card in shared_cards("team", "small", "h100", status)
    ]


def test_a_card_is_that_of_its_pool_and_pod() -> None:
    status = PoolStatus(
        engines=[engine("a")],
        cards=[PoolCard(pod="p-0", index=0, total_bytes=100, granted_bytes=10)],
    )
    (card,) = shared_cards("team", "small", "h100", status)

    assert (card.namespace, card.pool, card.hardware) == ("team", "small", "h100")
    assert (card.pod, card.index, card.total) == ("p-0", 0, 100)
    assert card.shares == (Share(("a",), 10),)


def test_engines_lie_on_the_cards_of_their_pod_that_they_name() -> None:
    wide, other = engine("wide", cards=[0, 1]), engine("other", pod="p-1")
    found = shares(wide, other, cards=(("p-0", 0), ("p-0", 1), ("p-1", 0)))

    assert found == [[("wide",)], [("wide",)], [("other",)]]


def test_an_engine_on_cpu_lies_on_its_pods_memory() -> None:
    assert shares(engine("a", cards=[])) == [[("a",)]]


def test_one_that_leaves_has_its_bytes_still_and_one_that_waits_has_none() -> None:
    states = ("Loading", "Draining", "Waiting", "Absent", "Failed", "Refused")
    found = shares(*(engine(state, state=state) for state in states))

    assert found == [[("Loading",), ("Draining",)]]


def test_a_pool_that_nothing_is_known_of_has_no_cards() -> None:
    assert shared_cards("team", "small", "h100", PoolStatus()) == ()

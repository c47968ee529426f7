"""What lies on each card, and what of it a key may know."""

from dataclasses import replace
from typing import Any

from berth_api.pool import PoolCard, PoolEngine, PoolStatus
from berth_gateway.page import cards
from berth_gateway.routing.memory import Memory, Part, Use
from berth_gateway.routing.pools import Pool
from berth_gateway.routing.snapshot import Model, build
from berth_gateway.routing.standing import Standing

MEMORY = Memory("h100", 2, 100, 90, (Part(Use.WEIGHTS, 40, 39), Part(Use.KV_CACHE, 50, None)))
LLAMA = Model(
    key="1",
    name="llama",
    namespace="team",
    served_name="llama:70b",
    standing=Standing(replicas=3, memory=MEMORY),
)
SMALL = Memory("h100", 1, 100, 20, (Part(Use.WEIGHTS, 15, 14),))
PHI, QWEN = (
    Model(
        key=name,
        name=name,
        namespace="team",
        standing=Standing(pool="small", replicas=1, memory=SMALL),
    )
    for name in ("phi", "qwen")
)
OF_PHI, OF_QWEN, OF_NOBODY = (("phi",), 20), (("qwen",), 20), ((), 20)


def pool(*shares: tuple[tuple[str, ...], int], places: tuple[tuple[str, int], ...] = ()) -> Pool:
    """Whose engines lie on the second card of a pod."""
    engines = [
        PoolEngine(
            id=str(number),
            models=list(models),
            state="Serving",
            pod="p-0",
            cards=[1],
            memory_bytes=size,
        )
        for number, (models, size) in enumerate(shares)
    ]
    there = [
        PoolCard(pod=pod, index=index, total_bytes=100, granted_bytes=0)
        for pod, index in places or (("p-0", 1),)
    ]
    return Pool("team", "small", "h100", PoolStatus(engines=engines, cards=there))


POOL = pool(OF_PHI, OF_QWEN)


def told(*models: Model, among: Pool = POOL) -> list[dict[str, Any]]:
    return list(cards.told(build(models), models, [among]))


def parts(card: dict[str, Any]) -> list[tuple[str | None, str, int, int | None]]:
    return [
        (one["model"], one["kind"], one["plannedBytes"], one["measuredBytes"])
        for one in card["parts"]
    ]


def test_a_model_of_its_own_is_told_once_for_all_cards_that_are_alike() -> None:
    (card,) = told(LLAMA)

    assert (card["name"], card["hardware"], card["count"]) == ("llama:70b", "h100", 6)
    assert (card["totalBytes"], card["usableBytes"], card["place"]) == (100, 90, None)
    assert parts(card) == [("llama:70b", "weights", 40, 39), ("llama:70b", "kvCache", 50, None)]


def test_a_model_that_is_not_loaded_has_cards_that_are_not_in_use() -> None:
    (card,) = told(replace(LLAMA, standing=replace(LLAMA.standing, replicas=0)))

    assert card["count"] == 0


def test_models_of_a_pool_lie_on_one_card_and_have_none_of_their_own() -> None:
    (card,) = told(PHI, QWEN)

    assert (card["name"], card["place"], card["count"]) == ("pool small", "card 1 of p-0", 1)
    assert (card["totalBytes"], card["usableBytes"]) == (100, 100)
    assert parts(card) == [("phi", "weights", 15, 14), ("qwen", "weights", 15, 14)]


def test_one_of_a_pool_that_is_away_is_shown_as_it_would_be() -> None:
    away = replace(QWEN, standing=replace(QWEN.standing, replicas=0))
    card, other = told(PHI, away, among=pool(OF_PHI))

    assert [one["model"] for one in card["parts"]] == ["phi"]
    assert (other["name"], other["count"]) == ("qwen", 0)


def test_of_models_that_a_key_may_not_use_it_learns_the_sum_of_their_bytes_alone() -> None:
    (card,) = told(QWEN, among=pool(OF_PHI, OF_QWEN, (("llama", "third"), 5)))

    assert parts(card) == [("qwen", "weights", 15, 14), (None, "others", 25, None)]


def test_a_pool_of_others_is_not_shown() -> None:
    assert [card["name"] for card in told(LLAMA)] == ["llama:70b"]
    elsewhere = replace(PHI, namespace="other")
    assert [card["name"] for card in told(elsewhere)] == ["phi"]


def test_models_of_one_engine_are_there_once() -> None:
    (card,) = told(PHI, QWEN, among=pool((("phi", "qwen"), 20)))

    assert parts(card) == [("phi", "weights", 15, 14)]


def test_what_is_not_planned_yet_is_its_share() -> None:
    unplanned = replace(PHI, standing=Standing(pool="small"))
    card, _ = told(unplanned, QWEN, among=pool(OF_PHI))

    assert parts(card) == [("phi", "engine", 20, None)]


def test_an_engine_that_nobody_asks_for_any_more_is_one_as_a_whole() -> None:
    (card,) = told(PHI, among=pool(OF_PHI, OF_NOBODY))

    assert parts(card) == [("phi", "weights", 15, 14), (None, "engine", 20, None)]


def test_a_plan_that_is_not_the_engines_is_not_drawn_for_it() -> None:
    (card,) = told(PHI, among=pool((("phi",), 30)))

    assert parts(card) == [("phi", "engine", 30, None)]


def test_a_model_that_has_left_its_pool_is_on_cards_of_its_own() -> None:
    left = replace(PHI, standing=replace(PHI.standing, pool=None))
    card, own = told(left, QWEN)

    assert [one["model"] for one in card["parts"]] == ["qwen", None]
    assert (own["name"], own["place"]) == ("phi", None)


def test_every_card_has_a_name_of_its_own_for_the_page() -> None:
    three = pool(OF_PHI, OF_QWEN, places=(("p-1", 1), ("p-0", 1), ("p-0", 0)))
    found = told(LLAMA, PHI, QWEN, among=three)

    assert [one["id"] for one in found] == ["team/p-0/0", "team/p-0/1", "team/p-1/1", "1"]

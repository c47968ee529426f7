import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_server.ledger import SLACK_BYTES, Ledger, Share

GIB = 2**30
shares = st.builds(
    Share,
    cards=st.sets(st.integers(0, 3), min_size=1).map(lambda cards: tuple(sorted(cards))),
    size=st.integers(1, 20),
)


@given(st.lists(shares, max_size=20), st.integers(0, 30))
def test_no_card_is_ever_promised_twice(asked, total):
    ledger = Ledger(dict.fromkeys(range(4), total))
    for share in asked:
        if ledger.lacking(share) is None:
            ledger = ledger.granting(share)
    assert all(0 <= ledger.granted(card) <= total for card in range(4))


@given(st.lists(shares, max_size=20), shares)
def test_what_is_refused_is_lacking_on_a_card_that_was_asked_for(held, share):
    ledger = Ledger(dict.fromkeys(range(4), 20), tuple(held))
    card = ledger.lacking(share)
    if card is not None:
        assert card in share.cards
        assert ledger.granted(card) + share.size > 20
        with pytest.raises(ValueError, match=f"card {card} has"):
            ledger.granting(share)


def test_a_share_is_of_each_of_its_cards():
    ledger = Ledger({0: 10, 1: 10}).granting(Share((0, 1), 6))
    assert (ledger.room(0), ledger.room(1)) == (4, 4)
    assert ledger.lacking(Share((1,), 5)) == 1


def test_free_memory_is_expected_up_to_what_neighbours_and_the_driver_use():
    ledger = Ledger({0: 16 * GIB}, (Share((0,), 4 * GIB),))
    assert ledger.least_free(0, idle_bytes=GIB) == 11 * GIB - SLACK_BYTES


def test_a_neighbour_that_took_more_than_its_share_is_not_held_against_another():
    ledger = Ledger({0: 16 * GIB}, (Share((0,), 4 * GIB, took=5 * GIB),))
    assert ledger.least_free(0, idle_bytes=0) == 11 * GIB - SLACK_BYTES


def test_a_card_that_is_full_is_expected_to_have_nothing_free():
    assert Ledger({0: GIB}, (Share((0,), GIB),)).least_free(0, idle_bytes=0) == 0

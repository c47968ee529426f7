import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins.engine_cache import Blocks, chained


def test_a_block_is_known_by_all_that_came_before_it():
    one, other = chained(["a", "b", "c", "d"], 2), chained(["x", "b", "c", "d"], 2)
    assert len(one) == 2
    assert one[1] != other[1]
    assert chained(["a", "b", "c", "d", "e"], 2) == one


def test_a_block_that_nobody_holds_can_be_found_until_its_place_is_needed():
    blocks = Blocks(3)
    blocks.take(2)
    assert blocks.name("a")
    assert blocks.name("b")
    blocks.release(["a", "b"])
    assert blocks.known(["a", "b", "c"]) == 2
    blocks.take(2)  # one is blank; the tail of what was released goes first
    assert blocks.known(["a", "b"]) == 1


def test_a_shared_block_is_held_until_the_last_has_let_go():
    blocks = Blocks(2)
    blocks.take(1)
    blocks.name("a")
    blocks.share(["a"])
    assert blocks.held == 1
    blocks.release(["a"])
    assert blocks.held == 1
    blocks.release(["a"])
    assert blocks.held == 0


def test_more_than_is_free_cannot_be_taken():
    with pytest.raises(ValueError, match="3 blocks wanted, 2 free"):
        Blocks(2).take(3)


def test_idle_blocks_that_are_shared_take_room_from_the_blank_ones():
    blocks = Blocks(2)
    blocks.take(1)
    blocks.name("a")
    blocks.release(["a"])
    assert blocks.fits(["a"], 1)
    assert not blocks.fits(["a"], 2)


def test_without_caching_nothing_is_found():
    blocks = Blocks(2, caching=False)
    blocks.take(1)
    assert not blocks.name("a")
    assert blocks.known(["a"]) == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60))
def test_blocks_are_never_lost_nor_made(moves):
    blocks, held = Blocks(4), []
    for name, takes in moves:
        if takes and blocks.known([name]) and blocks.fits([name], 0):
            blocks.share([name])
            held.append([name])
        elif takes and blocks.free:
            blocks.take(1)
            held.append([name if blocks.name(name) else None])
        elif held:
            blocks.release(held.pop(0))
        assert 0 <= blocks.held <= blocks.size
    for one in held:
        blocks.release(one)
    assert blocks.held == 0

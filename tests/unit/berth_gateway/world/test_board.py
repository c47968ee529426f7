from berth_gateway.errors import Failure
from berth_gateway.routing import keyring
from berth_gateway.routing.snapshot import Endpoint, Model, build
from berth_gateway.world.board import Board
from berth_gateway.world.load import Load


def test_nobody_is_let_in_before_keys_are_known() -> None:
    assert Board(Load()).keyring.owner("Bearer ") is None


def test_new_keys_replace_the_old_ones() -> None:
    board = Board(Load())
    board.admit_keys(keyring.hashed(["sk-1"]))
    board.admit_keys(keyring.hashed(["sk-2"]))

    assert board.keyring.owner("Bearer sk-1") is None
    assert board.keyring.owner("Bearer sk-2") == "key-1"


def test_a_snapshot_without_an_endpoint_forgets_its_failures() -> None:
    load = Load()
    endpoint = Endpoint("a", "http://a", "a")
    load.failed(endpoint, Failure.CONNECT)
    board = Board(load)
    board.publish(build([Model(key="1", name="m", endpoints=(endpoint,))]))
    assert load.ejected() == {"a"}

    board.publish(build([]))
    assert load.ejected() == frozenset()

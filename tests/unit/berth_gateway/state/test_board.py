from berth_gateway.errors import Failure
from berth_gateway.routing.admission import Backlog
from berth_gateway.routing.snapshot import Endpoint, Model, build
from berth_gateway.state.board import Board
from berth_gateway.state.load import Load
from berth_gateway.state.meters import Meters
from berth_gateway.state.queues import Queues
from berth_gateway.world.keys import plain


def _board() -> Board:
    return Board(Queues(Load(), Backlog(10, 10)), Meters())


def test_nobody_is_let_in_before_keys_are_known() -> None:
    assert _board().keyring.find(b"Bearer ") is None


def test_new_keys_replace_the_old_ones() -> None:
    board = _board()
    board.admit_keys([plain("key-1", "sk-1")])
    board.admit_keys([plain("key-1", "sk-2")])

    assert board.keyring.find(b"Bearer sk-1") is None
    assert board.keyring.find(b"Bearer sk-2") is not None


def test_a_snapshot_without_an_endpoint_forgets_its_failures() -> None:
    board = _board()
    load = board.queues.load
    endpoint = Endpoint("a", "http://a", "a")
    other = Endpoint("b", "http://b", "b")
    load.failed(endpoint, Failure.CONNECT, (endpoint, other))
    board.publish(build([Model(key="1", name="m", endpoints=(endpoint, other))]))
    assert load.ejected() == {"a"}

    board.publish(build([]))
    assert load.ejected() == frozenset()

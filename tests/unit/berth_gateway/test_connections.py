import asyncio
import resource

import pytest

from berth_gateway import connections
from berth_gateway.connections import RESERVED_DESCRIPTORS, Connections


class Client:
    def __init__(self) -> None:
        self.ended = False

    def give_way(self) -> None:
        self.ended = True


def _open(known: Connections, count: int) -> list[Client]:
    clients = [Client() for _ in range(count)]
    assert all(known.opened(one) for one in clients)
    return clients


def test_beyond_the_limit_the_longest_idle_gives_way() -> None:
    known = Connections(most=3, most_idle=3)
    clients = _open(known, 3)
    known.works(clients[0])
    known.rests(clients[0])  # it was the first, and is the last to have had a request
    _open(known, 2)

    assert [one.ended for one in clients] == [False, True, True]


def test_where_every_connection_works_there_is_no_room() -> None:
    known = Connections(most=2, most_idle=2)
    clients = _open(known, 2)
    for one in clients:
        known.works(one)

    assert not known.opened(Client())
    known.closed(clients[0])
    assert known.opened(Client())
    assert not clients[1].ended


def test_one_that_gave_way_is_not_counted_twice_when_its_end_is_told() -> None:
    known = Connections(most=1, most_idle=1)
    (first,) = _open(known, 1)
    (second,) = _open(known, 1)
    known.closed(first)
    known.rests(first)
    known.works(second)

    assert not known.opened(Client())


def test_idle_ones_are_fewer_than_all() -> None:
    known = Connections(most=10, most_idle=2)
    clients = _open(known, 2)
    for one in clients:
        known.works(one)
    idle = _open(known, 3)

    assert [one.ended for one in clients + idle] == [False, False, True, False, False]


def test_a_new_connection_has_the_time_to_ask_even_where_none_may_idle() -> None:
    known = Connections(most=2, most_idle=0)
    (one,) = _open(known, 1)

    assert not one.ended


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[bytes] = []
        self.ended = self.aborted = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: bytes) -> None:
        self.said.append(data)

    def write_eof(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.aborted = True
        self.protocol.connection_lost(None)


async def test_those_that_are_told_why_are_few_and_soon_gone(monkeypatch) -> None:
    monkeypatch.setattr(connections, "MAX_LINGERING", 1)
    monkeypatch.setattr(connections, "LINGER_SECONDS", 0.01)
    known = Connections(most=0, most_idle=0)
    first, second, third = Transport(), Transport(), Transport()
    second.protocol = asyncio.Protocol()
    known.turn_away(first, b"full")
    known.turn_away(second, b"full")

    assert (first.said, first.ended, first.aborted) == ([b"full"], True, False)
    assert (second.said, second.aborted) == ([], True)
    await asyncio.sleep(0.05)
    assert first.aborted
    known.turn_away(third, b"full")
    assert third.said == [b"full"]
    third.abort()


@pytest.fixture
def open_files(monkeypatch):
    """As if this process might have so many."""
    limits = [1024, 1024]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, given: limits.__setitem__(0, given[0]))
    return limits


def test_there_is_room_for_as_many_connections_as_there_are_descriptors_for(open_files) -> None:
    assert connections.room(8192) == (1024 - RESERVED_DESCRIPTORS) // 2
    assert connections.room(100) == 100


def test_all_the_descriptors_that_the_process_may_have_are_used(open_files) -> None:
    open_files[1] = 2**20

    assert connections.room(8192) == 8192
    assert open_files[0] == 2**20

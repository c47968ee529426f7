"""Engines that start are in tests/faults/berth_server: collecting takes every child there is."""

import os

import pytest
from pool_orders import POOL

from berth_server.args import Command
from berth_server.errors import EngineFailed
from berth_server.starts import Starts


@pytest.fixture
def starts():
    return Starts(POOL.model_copy(update={"warm": False}), dict(os.environ))


@pytest.mark.parametrize("argv", [["/no/such/engine"], ["/bin/echo", "a\0b"]])
async def test_a_program_that_cannot_be_executed_is_the_engines_failure(starts, argv):
    with pytest.raises(EngineFailed, match="cannot be executed"):
        await starts.start("one", Command(argv, {}), lambda _: None)


def test_an_engine_waits_for_nothing_where_nothing_is_kept_warm(starts):
    assert starts.settled


async def test_an_engine_waits_for_the_imports_that_it_is_to_share():
    assert not Starts(POOL, {}).settled

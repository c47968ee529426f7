"""What the operator is told of this gateway's queues (`berth_api.demand`).

Read by the management thread while the data path's loop goes on: copies of dictionaries and single
numbers, which the interpreter's lock keeps whole. A count may be one request older than another; it
is told again within COALESCE_SECONDS.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Final

from berth_api.demand import COALESCE_SECONDS, HEARTBEAT_SECONDS, Demand, ModelDemand
from berth_gateway.state.queues import Line, Queues

# How often to look whether something has changed: the operator is to hear of a first held request
# within COALESCE_SECONDS.
LOOK_SECONDS: Final = 0.02


def demand(queues: Queues, gateway: str, *, synced: bool) -> Demand:
    """Every model that something has been counted for."""
    in_flight: defaultdict[str, dict[str, int]] = defaultdict(dict)
    owners = queues.owners
    for key, count in queues.load.in_flight.copy().items():
        if key in owners:
            in_flight[owners[key].model.key][key] = count
    models = [
        ModelDemand(
            namespace=line.model.namespace,
            model=line.model.name,
            held=len(line.held),
            oldest_held_seconds=round(queues.oldest_seconds(line), 3),
            in_flight=in_flight[line.model.key],
            arrivals=line.arrivals,
            answered=line.answered,
            keep_alive_seconds=line.residency.asked,
            idle_seconds=queues.idle_seconds(line),
            asked_seconds=queues.asked_seconds(line),
        )
        for line in list(queues.lines.values())
        if _counts(line) or line.model.key in in_flight
    ]
    return Demand(gateway=gateway, synced=synced, models=models)


def _counts(line: Line) -> bool:
    return bool(line.arrivals or line.held or line.residency.asked is not None)


def stamp(queues: Queues) -> object:
    """Differs once a count has changed; time alone changes nothing. Cheap: it is taken often."""
    lines = list(queues.lines.values())
    counts = [(one.arrivals, one.answered, len(one.held), one.residency.asked) for one in lines]
    return counts, queues.load.in_flight.copy()


async def lines(
    state: Callable[[], Demand], changed: Callable[[], object], over: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """The whole state at once, after each change, and every HEARTBEAT_SECONDS; until it is over.

    `changed` gives another value after each change of the state.
    """
    loop = asyncio.get_running_loop()
    told: object = None
    told_at = 0.0
    while not over():
        now, fresh = loop.time(), changed()
        due = HEARTBEAT_SECONDS if fresh == told else COALESCE_SECONDS
        if told is None or now - told_at >= due:
            told, told_at = fresh, now
            yield state().wire().encode() + b"\n"
        await asyncio.sleep(LOOK_SECONDS)

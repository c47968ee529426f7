"""Ways in which an engine fails that has started well, asked for by environment variables.

STANDIN_FAULTS_AFTER     requests that are served well first and not counted below; a runtime
                         pod's own first token is one
STANDIN_ERROR_STATUS     500, 503 or 429: the answer to a request, before anything else
STANDIN_ERROR_FIRST      of the first so many requests
STANDIN_ERROR_RATE       else of this share of them, 0 to 1
STANDIN_RESET_FIRST      of the first so many requests the connection is reset, before any byte
STANDIN_CUT_AFTER        tokens of a stream after which its connection is closed
STANDIN_CUT_RATE         share of the streams, 0 to 1 (default 1)
STANDIN_GARBAGE_RATE     share of the requests that are answered with bytes that are no HTTP
STANDIN_HEADERS_SECONDS  until the headers of an answer
STANDIN_FREEZE_AT        the request at which the engine stops stepping
STANDIN_FREEZE_SECONDS   for how long, then and at SIGUSR1 (default: for ever)
STANDIN_DIE_AT           the request at which the process kills itself
STANDIN_FAULTS_SEED      of the shares (default 0)
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Faults:
    after: int = 0
    error_status: int | None = None
    error_first: int = 0
    error_rate: float = 0.0
    reset_first: int = 0
    cut_after: int | None = None
    cut_rate: float = 1.0
    garbage_rate: float = 0.0
    headers_seconds: float = 0.0
    freeze_at: int | None = None
    freeze_seconds: float = float("inf")
    die_at: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one request."""

    error_status: int | None = None
    reset: bool = False
    cut_after: int | None = None
    garbage: bool = False
    headers_seconds: float = 0.0
    freeze: bool = False
    die: bool = False


def faults(environment: Mapping[str, str]) -> Faults:
    given = {
        name.removeprefix("STANDIN_").lower().removeprefix("faults_"): value
        for name, value in environment.items()
    }

    def whole(name: str) -> int | None:
        return int(given[name]) if name in given else None

    def real(name: str, default: float) -> float:
        return float(given.get(name, default))

    return Faults(
        after=whole("after") or 0,
        error_status=whole("error_status"),
        error_first=whole("error_first") or 0,
        error_rate=real("error_rate", 0),
        reset_first=whole("reset_first") or 0,
        cut_after=whole("cut_after"),
        cut_rate=real("cut_rate", 1),
        garbage_rate=real("garbage_rate", 0),
        headers_seconds=real("headers_seconds", 0),
        freeze_at=whole("freeze_at"),
        freeze_seconds=real("freeze_seconds", float("inf")),
        die_at=whole("die_at"),
        seed=whole("seed") or 0,
    )


@dataclass
class Fates:
    """One `next` per request, in the order in which they arrive."""

    faults: Faults
    count: int = 0
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.faults.seed)

    def next(self) -> Fate:
        self.count += 1
        number = self.count - self.faults.after
        if number < 1:
            return Fate()
        faults = self.faults
        # Always as many throws, so that one knob does not change what another does.
        wrong, garbage, cut = (self.dice.random() for _ in range(3))
        fails = number <= faults.error_first or wrong < faults.error_rate
        return Fate(
            error_status=faults.error_status if fails else None,
            reset=number <= faults.reset_first,
            cut_after=faults.cut_after if cut < faults.cut_rate else None,
            garbage=garbage < faults.garbage_rate,
            headers_seconds=faults.headers_seconds,
            freeze=number == faults.freeze_at,
            die=number == faults.die_at,
        )

"""What all gateways tell of all models, added up: the ledger behind `Observed.load`.

Every gateway tells its whole state, so the sum needs no history but the counters of gateways that
are gone. A gateway that falls silent still has its requests: they count as it told them last until
the grace is over, and nothing is taken away meanwhile. Seconds are monotonic, and arguments.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

from berth_api.demand import Demand, ModelDemand
from berth_operator.core.known import least
from berth_operator.core.observed import Load

# A gateway that serves and has not told anything is waited for so long: one that is well tells its
# state within COALESCE_SECONDS of being asked.
FIRST_REPORT_SECONDS: Final = 10.0
# A restarted gateway container is back within some 5 s, and a node that went is noticed by the
# kubelet's silence after 40 s: by then the pod is no longer one that serves.
SILENCE_GRACE_SECONDS: Final = 30.0

# What is news of a model: all that is told, but that a second more has passed.
_TIMES: Final = frozenset({"idle_seconds", "asked_seconds"})
_NEWS: Final[Callable[[ModelDemand], tuple[object, ...]]] = attrgetter(
    *(field for field in ModelDemand.model_fields if field not in _TIMES)
)

Key = tuple[str, str]
"""Namespace and name of a ModelDeployment."""


@dataclass
class _Heard:
    """The last word of one gateway process."""

    process: str
    synced: bool
    models: dict[Key, ModelDemand]
    silent_since: float | None = None

    def counts(self, now: float) -> bool:
        """Whether its requests are still believed in."""
        return self.silent_since is None or now - self.silent_since < SILENCE_GRACE_SECONDS


@dataclass
class Ledger:
    """`gateway` is a pod's uid throughout."""

    _serving: dict[str, float] = field(default_factory=dict)  # gateways, since when
    _heard: dict[str, _Heard] = field(default_factory=dict)
    _ended: dict[Key, tuple[int, int]] = field(default_factory=dict)  # counters of the gone
    _incomplete_since: float | None = None
    _epoch: int = 0

    def serves(self, gateway: str, now: float) -> None:
        """The pod is ready: clients may be sent to it, so its word is needed."""
        self._serving.setdefault(gateway, now)

    def serves_no_more(self, gateway: str) -> None:
        """What it still has counts as long as it tells of it."""
        self._serving.pop(gateway, None)

    def changed(self, gateway: str, told: Demand) -> set[Key]:
        """The models that a line, which is not taken in yet, tells something new of."""
        heard, models = self._heard.get(gateway), _models(told)
        known = {} if heard is None else heard.models
        both = known.keys() | models.keys()
        return {key for key in both if _told(known.get(key)) != _told(models.get(key))}

    def take(self, gateway: str, told: Demand, now: float) -> None:
        """Takes in one line: it replaces what the gateway has told before.

        What a gateway has counted unheard did not come at this moment: another epoch begins.
        """
        before = self._heard.get(gateway)
        if before is None or not before.counts(now):
            self._epoch += 1
        if before is not None and before.process != told.gateway:
            self._end(before)
        self._heard[gateway] = _Heard(told.gateway, told.synced, _models(told))

    def falls_silent(self, gateway: str, now: float) -> None:
        heard = self._heard.get(gateway)
        if heard is not None and heard.silent_since is None:
            heard.silent_since = now

    def forget(self, gateway: str) -> set[Key]:
        """The pod is gone and its stream has ended; returns the models that it had."""
        self._serving.pop(gateway, None)
        heard = self._heard.pop(gateway, None)
        if heard is None:
            return set()
        self._end(heard)
        return set(heard.models)

    def forget_model(self, key: Key) -> None:
        self._ended.pop(key, None)

    def gateways(self, now: float) -> int:
        return sum(one.counts(now) for one in self._heard.values())

    def judge(self, now: float) -> bool:
        """Whether the sums are the whole truth; remembers since when they are not."""
        complete = self._complete(now)
        if complete:
            self._incomplete_since = None
        elif self._incomplete_since is None:
            self._incomplete_since = now
        return complete

    def _complete(self, now: float) -> bool:
        """As far as can be known."""
        speaking = any(one.silent_since is None for one in self._heard.values())
        in_grace = any(
            one.silent_since is not None and one.counts(now) for one in self._heard.values()
        )
        waited_for = any(
            not self._has_reported(gateway) and now - since < FIRST_REPORT_SECONDS
            for gateway, since in self._serving.items()
        )
        return speaking and not (in_grace or waited_for)

    def load(self, key: Key, now: float) -> Load:
        """Of one model; `engines` is someone else's to fill in."""
        return self.loads((key,), now)[key]

    def loads(self, keys: Iterable[Key], now: float) -> dict[Key, Load]:
        complete = self.judge(now)
        return {key: self._load(key, now, complete=complete) for key in keys}

    def _load(self, key: Key, now: float, *, complete: bool) -> Load:
        all_told = [one.models[key] for one in self._heard.values() if key in one.models]
        counting = [one for one in self._heard.values() if one.counts(now)]
        live = [one.models[key] for one in counting if key in one.models]
        arrivals, answered = self._ended.get(key, (0, 0))
        return Load(
            at=now,
            held=sum(one.held for one in live),
            oldest_seconds=max((one.oldest_held_seconds for one in live), default=0.0),
            in_flight=_by_pod(live),
            arrivals=arrivals + sum(one.arrivals for one in all_told),
            answered=answered + sum(one.answered for one in all_told),
            keep_alive_seconds=_last_asked(live),
            idle_seconds=least(one.idle_seconds for one in live),
            asked_seconds=least(one.asked_seconds for one in live),
            gateways=len(counting),
            complete=complete,
            overdue=self._overdue(now),
            epoch=self._epoch,
        )

    def _overdue(self, now: float) -> bool:
        since = self._incomplete_since
        return since is not None and now - since >= FIRST_REPORT_SECONDS

    def _has_reported(self, gateway: str) -> bool:
        heard = self._heard.get(gateway)
        return heard is not None and heard.synced

    def _end(self, heard: _Heard) -> None:
        for key, one in heard.models.items():
            arrivals, answered = self._ended.get(key, (0, 0))
            self._ended[key] = (arrivals + one.arrivals, answered + one.answered)


def _told(one: ModelDemand | None) -> tuple[object, ...]:
    return () if one is None else _NEWS(one)


def _models(told: Demand) -> dict[Key, ModelDemand]:
    return {(one.namespace, one.model): one for one in told.models}


def _last_asked(told: Sequence[ModelDemand]) -> float | None:
    """By the gateway that had the model's last request: of what was asked before, it is silent."""
    known = [one for one in told if one.idle_seconds is not None]
    latest = min(known, key=lambda one: one.idle_seconds or 0.0, default=None)
    return None if latest is None else latest.keep_alive_seconds


def _by_pod(told: Iterable[ModelDemand]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in told:
        for pod, count in one.in_flight.items():
            found[pod] = found.get(pod, 0) + count
    return found

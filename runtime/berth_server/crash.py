"""Why an engine ended, read from the end of its log and its exit code. Pure.

vLLM's last line says only "Engine core initialization failed. See root cause above": the whole
tail is looked through, by the table in `causes`.
"""

import re
import signal
from collections.abc import Sequence
from typing import Final

from berth_api.shape import MOST_BYTES, Failure, Short, Shortage
from berth_server import reasons
from berth_server.causes import ALLOCATION, KV_CACHE_SIZED, RULES, Rule

# A condition's message is read on a terminal; a stack trace is in the pod's log.
MAX_MESSAGE_CHARACTERS: Final = 600

# A line of its own making is shorter; what is longer repeats what a client sent.
_LINE_CHARACTERS: Final = 1000
# By the signal that ended the engine itself, when its log tells nothing.
_SIGNALS: Final[dict[int, tuple[str, str, str]]] = {
    signal.SIGKILL: (
        reasons.OUT_OF_MEMORY,
        "most likely for memory",
        "raise spec.resources.memory",
    ),
    signal.SIGILL: (
        reasons.CRASH_LOOP,
        "an instruction that this processor does not allow",
        "set spec.runtime.dtype to float32, or use another node",
    ),
    signal.SIGBUS: (
        reasons.OUT_OF_MEMORY,
        "most likely for shared memory",
        "raise spec.resources.memory",
    ),
}
_UNKNOWN: Final = (reasons.CRASH_LOOP, "its log does not say why", "read the pod's log")
_SIGNAL_NAMES: Final = {int(known): known.name for known in signal.Signals}

# The last line of a Python traceback, or of an ERROR record, that names an exception.
_EXCEPTION: Final = re.compile(r"^(?:\(.*?\) )?(?:ERROR .*?\] )?(\w*(?:Error|Exception): .+)$")
_POINTS_ABOVE: Final = "See root cause above"


def explain(tail: Sequence[str], returncode: int) -> Failure:
    """The failure behind `tail`, the engine's last lines, oldest first.

    `returncode` is negative for a signal, as `subprocess` has it.
    """
    text = "\n".join(line[:_LINE_CHARACTERS] for line in tail)
    for rule in RULES:
        if match := rule.pattern.search(text):
            failure = _fill(rule, match)
            return failure.model_copy(update={"shortage": _shortage(rule, match, text)})
    return _by_signal(returncode) if returncode < 0 else _by_exception(tail, returncode)


def _fill(rule: Rule, match: re.Match[str]) -> Failure:
    values = {name: value or "some" for name, value in match.groupdict().items()}
    message = rule.message.format(match[0], **values)[:MAX_MESSAGE_CHARACTERS]
    return Failure(reason=rule.reason, message=message, fix=rule.fix.format(match[0], **values))


def _shortage(rule: Rule, match: re.Match[str], text: str) -> Shortage | None:
    """The numbers of a failure for memory; torch's own stand where the rule has none."""
    if rule.short is None:
        return None
    step, numbers = rule.short, match.groupdict()
    if step is Short.LOADING:
        numbers = (ALLOCATION.search(text) or match).groupdict()
        step = Short.RUNNING if KV_CACHE_SIZED.search(text, 0, match.start()) else step
    longest = numbers.get("fits")
    return Shortage(
        step=step,
        needed_bytes=_bytes(numbers.get("need")),
        available_bytes=_bytes(numbers.get("have")),
        total_bytes=_bytes(numbers.get("total")),
        longest_tokens=int(longest) if longest else None,
    )


_UNITS: Final = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def _bytes(text: str | None) -> int | None:
    """Of a number with its unit, or in GiB."""
    number, _, unit = (text or "").partition(" ")
    size = _UNITS.get(unit or "GiB")
    try:
        found = None if size is None else int(float(number) * size)
    except (ValueError, OverflowError):
        return None
    return None if found is None or abs(found) > MOST_BYTES else found


def _by_signal(returncode: int) -> Failure:
    reason, why, fix = _SIGNALS.get(-returncode, _UNKNOWN)
    name = _SIGNAL_NAMES.get(-returncode, f"signal {-returncode}")
    message = f"the engine was ended by {name}: {why}"
    shortage = Shortage(step=Short.HOST) if reason == reasons.OUT_OF_MEMORY else None
    return Failure(reason=reason, message=message, fix=fix, shortage=shortage)


def _by_exception(tail: Sequence[str], returncode: int) -> Failure:
    named = (_EXCEPTION.match(line[:_LINE_CHARACTERS]) for line in tail)
    causes = [match[1] for match in named if match and _POINTS_ABOVE not in match[1]]
    said = causes[0] if causes else "its log does not say why"
    message = f"the engine exited with code {returncode}: {said}"[:MAX_MESSAGE_CHARACTERS]
    return Failure(reason=reasons.CRASH_LOOP, message=message, fix="read the pod's log")


def timed_out(seconds: int, doing: str) -> Failure:
    """No token within the start timeout; `doing` is the phase it ended in."""
    return Failure(
        reason=reasons.LOAD_TIMEOUT,
        message=f"the engine generated no token within {seconds} s; it was {doing}",
        fix="see the pod's log; a slow disk or a long compilation needs a longer start timeout",
    )


def stalled(seconds: int, in_flight: int) -> Failure:
    """Work in flight and no step of the engine for so long."""
    return Failure(
        reason=reasons.STALLED,
        message=f"{in_flight} requests are in flight and the engine made no step for {seconds} s",
        fix="the pod is replaced; if it happens again, report the engine's log",
    )

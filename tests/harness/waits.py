"""How long tests waited, beside how long they may: the numbers of docs/reliability.md.

    BERTH_WAITS=waits.jsonl make faults

A plugin of every test folder: one line of JSON for each wait that came to an end.
"""

import json
import os
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from dev import progress
from dev.installed import Berth


def pytest_configure() -> None:
    told = os.environ.get("BERTH_WAITS")
    if told:
        path = Path(told).absolute()
        for owner, name in ((progress, "wait_for"), (Berth, "wait"), (Berth, "wait_until")):
            setattr(owner, name, _timed(getattr(owner, name), path))


def _timed(wait: Callable[..., Any], path: Path) -> Callable[..., Any]:
    @wraps(wait)
    def timed(*arguments: Any, **named: Any) -> Any:
        began = time.monotonic()
        answer = wait(*arguments, **named)
        line = {
            "test": os.environ.get("PYTEST_CURRENT_TEST", ""),
            "for": next((one for one in arguments if isinstance(one, str)), ""),
            "seconds": round(time.monotonic() - began, 2),
            "bound": named.get("seconds"),
        }
        with path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
        return answer

    return timed

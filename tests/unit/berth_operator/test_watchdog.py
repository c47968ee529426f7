import asyncio
import random
import subprocess
import sys

from berth_operator import watchdog
from berth_operator.workqueue import WorkQueue

STALL = """
import asyncio, time
from berth_operator import watchdog
watchdog.BEAT_SECONDS, watchdog.STALLED_SECONDS = 0.01, 0.05
async def main():
    task = asyncio.create_task(watchdog.watch())
    await asyncio.sleep(0.02)
    time.sleep(5)
asyncio.run(main())
"""


async def test_a_look_that_never_ends_is_a_problem() -> None:
    seconds = 0.0
    queue: WorkQueue[str] = WorkQueue(clock=lambda: seconds, chance=random.Random(7))
    queue.add("a")
    await queue.get()
    seconds = watchdog.STUCK_SECONDS
    assert watchdog.problems(queue) == []
    seconds += 1
    assert watchdog.problems(queue) == ["a look has taken 181 s"]


async def test_a_loop_that_turns_keeps_the_process() -> None:
    watching = asyncio.create_task(watchdog.watch())
    await asyncio.sleep(0.01)
    watching.cancel()


def test_a_loop_that_stands_still_ends_the_process_with_a_traceback() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STALL],
        capture_output=True,
        text=True,
        timeout=20,
        env={"PYTHONPATH": ":".join(sys.path)},
        check=False,
    )
    assert ended.returncode == 1
    assert "time.sleep" in ended.stderr or "main" in ended.stderr

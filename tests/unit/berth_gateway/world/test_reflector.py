import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from berth_gateway.errors import ApiError, ExpiredError
from berth_gateway.world.reflector import MAX_WAIT_SECONDS, Reflector


def _item(name: str, version: int, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": str(version)}} | more


def _event(kind: str, name: str, version: int, **more: Any) -> dict[str, Any]:
    return {"type": kind, "object": _item(name, version, **more)}


class Script:
    """A KubeApi that plays lists and watches in order; when a script ends, so does the test."""

    def __init__(self, lists: list[Any], watches: list[list[Any]]) -> None:
        self.lists = lists
        self.watches = watches
        self.asked: list[tuple[str, str | None]] = []
        self.done = asyncio.Event()

    async def list(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        self.asked.append(("list", query.get("continue")))
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        self.asked.append(("watch", query["resourceVersion"]))
        if not self.watches:
            self.done.set()
            await asyncio.Event().wait()
        for step in self.watches.pop(0):
            if isinstance(step, Exception):
                raise step
            yield step


def _page(*items: Any, version: int = 1, more: str = "") -> dict[str, Any]:
    return {
        "items": list(items) or None,
        "metadata": {"resourceVersion": str(version), "continue": more},
    }


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """How long the reflector would have waited, instead of waiting."""
    asked: list[float] = []
    sleep = asyncio.sleep

    async def at_once(seconds: float) -> None:
        asked.append(seconds)
        await sleep(0)

    monkeypatch.setattr("berth_gateway.world.reflector.asyncio.sleep", at_once)
    return asked


async def _play(lists: list[Any], watches: list[list[Any]]) -> tuple[Reflector[Any], Script, int]:
    changes: list[None] = []
    script = Script(lists, watches)
    reflector = Reflector(
        script,
        "/things",
        {},
        parse=lambda item: item.get("size", item["metadata"]["resourceVersion"]),
        changed=lambda: changes.append(None),
        jitter=lambda: 1.0,
    )
    task = asyncio.create_task(reflector.run())
    await asyncio.wait_for(script.done.wait(), 5)
    task.cancel()
    return reflector, script, len(changes)


async def test_it_lists_page_by_page_and_watches_from_there(waits) -> None:
    pages = [_page(_item("a", 3), more="x"), _page(_item("b", 4), version=9)]
    reflector, script, changes = await _play(pages, [])

    assert reflector.items == {"ns/a": "3", "ns/b": "4"}
    assert script.asked == [("list", None), ("list", "x"), ("watch", "9")]
    assert reflector.synced
    assert changes == 1


async def test_events_change_the_copy(waits) -> None:
    events = [_event("ADDED", "b", 2), _event("MODIFIED", "a", 3), _event("DELETED", "b", 4)]
    reflector, _, changes = await _play([_page(_item("a", 1))], [events])

    assert reflector.items == {"ns/a": "3"}
    assert changes == 4


async def test_a_bookmark_moves_on_and_changes_nothing(waits) -> None:
    events = [{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "77"}}}]
    _, script, changes = await _play([_page()], [events])

    assert script.asked[-1] == ("watch", "77")
    assert changes == 1


async def test_an_object_that_cannot_be_read_any_more_is_left_out(waits) -> None:
    reflector, _, _ = await _play([_page(_item("a", 1))], [[_event("MODIFIED", "a", 2, size=None)]])

    assert reflector.items == {}


async def test_after_410_it_lists_again_and_forgets_what_is_gone(waits) -> None:
    lists = [_page(_item("a", 1)), _page(_item("b", 8), version=8)]
    reflector, script, _ = await _play(lists, [[ExpiredError("too old")]])

    assert reflector.items == {"ns/b": "8"}
    assert [kind for kind, _ in script.asked] == ["list", "watch", "list", "watch"]


async def test_while_the_api_server_is_away_the_copy_stays(waits) -> None:
    away = [[ApiError("refused")]] * 3
    reflector, script, _ = await _play([_page(_item("a", 1), version=5)], list(away))

    assert reflector.items == {"ns/a": "1"}
    assert script.asked == [("list", None), *[("watch", "5")] * 4]


async def test_a_version_that_is_refused_again_and_again_is_given_up_for_a_list(waits) -> None:
    lists = [_page(_item("a", 90), version=90), ApiError("away"), _page(_item("b", 7), version=7)]
    reflector, script, _ = await _play(lists, [[ApiError("500: no such version")]] * 4)

    assert reflector.items == {"ns/b": "7"}
    assert script.asked[-3:] == [("list", None), ("list", None), ("watch", "7")]


async def test_waits_grow_to_five_seconds_and_start_anew_after_an_event(waits) -> None:
    failures = [[ApiError("x")]] * 9
    await _play(
        [_page()] * 9, [*failures, [_event("ADDED", "a", 2), ApiError("x")], [ApiError("x")]]
    )

    assert waits[:3] == [0.0, 0.2, 0.4]
    assert waits[8] == MAX_WAIT_SECONDS
    assert waits[9:11] == [0.0, 0.2]


async def test_a_first_list_that_fails_is_tried_again_and_is_no_sync(waits) -> None:
    reflector, script, _ = await _play([ApiError("403"), _page(_item("a", 1))], [])

    assert reflector.items == {"ns/a": "1"}
    assert [kind for kind, _ in script.asked] == ["list", "list", "watch"]


async def test_what_goes_on_being_refused_is_logged_once_until_something_has_worked(
    waits, caplog
) -> None:
    no, other = ApiError("/things: status 403"), ApiError("/things: status 503")
    await _play([no, no, _page()], [[_event("ADDED", "a", 2), no], [no], [other]])

    told = [one.getMessage().removesuffix("; keeping what is known") for one in caplog.records]
    assert told == [str(no), str(no), str(other)]


async def test_a_storm_of_410_is_not_a_hot_loop(waits) -> None:
    await _play([_page()] * 8, [[ExpiredError("x")]] * 7)

    assert waits[3:6] == [0.8, 1.6, 3.2]


async def test_a_fault_of_our_own_ends_the_reflector() -> None:
    script = Script([_page({"no": "metadata"})], [])
    reflector = Reflector(script, "/things", {}, parse=lambda item: item, changed=lambda: None)
    with pytest.raises(KeyError):
        await reflector.run()

"""Whole lives of a pool on a cluster in a dict: what may never be is checked at every step."""

import itertools
import math

import pytest
from fakes.cluster import READS, Call, Fault
from fakes.obedient_pod import Loaded
from fakes.pool_site import POOL, Died, Site

from berth_api import names
from berth_operator.cluster import kinds
from berth_operator.cluster.cache import ModelKey
from berth_operator.core.kubernetes import moment, timestamp
from berth_operator.core.pools.failures import FIRST_PAUSE
from berth_operator.errors import Unavailable

ORDER = Call("proxy_put", "Pod", "shared-pool-0")


async def site_of(*models: str) -> Site:
    site = Site()
    site.pool()
    for name in models:
        site.model(name)
    await site.run(2)
    return site


async def asked(site: Site, *models: str) -> None:
    for name in models:
        site.ask(name)
        await site.until_answered()


async def test_three_models_take_turns_where_two_have_room() -> None:
    site = await site_of("a", "b", "c")
    for name in ("a", "b", "c", "a", "b", "c"):
        await asked(site, name)
        assert name in site.serving()
        assert len(site.serving()) <= 2
    assert [len(site.clients[name].answered) for name in "abc"] == [2, 2, 2]


async def test_what_is_decided_is_in_the_status_before_the_routes_and_in_these_before_the_orders() -> (
    None
):
    site = await site_of("a", "b", "c")
    await asked(site, "a", "b")
    site.cluster.calls.clear()
    site.ask("c")
    while not site.swapped:
        await site.step()
    (evicted,) = {"a", "b"} - {name for name in "ab" if site.routes(name)}
    swap = [one for one in site.cluster.writes if one.kind != "ModelDeployment"]
    assert swap == [
        Call("apply_status", "ModelPool", "shared"),
        Call("apply", "EndpointSlice", names.model_slice(evicted)),
        ORDER,
    ]


async def test_an_engine_that_drains_gets_no_requests_and_loses_none() -> None:
    """Clients are never idle; the site fails where one is sent to what does not serve."""
    site = await site_of("a", "b", "c")
    for _ in range(60):
        for name in "abc":
            site.ask(name)
        await site.step()
    await site.until_answered(200)
    assert [len(site.clients[name].answered) for name in "abc"] == [60, 60, 60]
    assert len(site.swapped) >= 1


async def test_a_model_that_serves_answers_while_another_is_loading() -> None:
    site = await site_of("a", "b")
    await asked(site, "a")
    site.ask("b")
    while site.engine("b")["state"] != "Loading":
        await site.step()
    site.ask("a")
    await site.step()
    assert site.clients["a"].held == []
    assert site.engine("b")["state"] == "Loading"
    assert site.clients["b"].held != []
    await site.until_answered()


async def test_what_a_gateway_has_sent_to_one_engine_keeps_it_and_not_its_neighbour() -> None:
    """The pod has not counted it yet. But for that, the one of lower priority would go."""
    site = await site_of("a")
    for name in ("b", "c"):
        site.model(name, priority=1)
    await asked(site, "a", "b")
    (engine,) = (one for one in site.pods["shared-pool-0"].loaded.values() if _folder(one) == "a")
    endpoint = names.pool_endpoint(site._uid("shared-pool-0"), engine.order.id)
    site.clients["a"].sent.append((math.inf, endpoint, engine))
    site.ask("c")
    await site.run(10)
    assert site.serving() == {"a", "c"}


def _folder(loaded: Loaded) -> str:
    return loaded.order.config.model_dir.rpartition("/")[2]


async def test_models_are_told_of_their_own_engine_also_where_its_route_could_not_be_written() -> (
    None
):
    site = await site_of("a", "b")
    site.operator.reported.clear()
    site.cluster.faults.append(Fault(Unavailable("away"), "apply", "EndpointSlice"))
    site.ask("a")
    with pytest.raises(Unavailable):
        await site.until_answered()
    assert site.engine("a")["state"] == "Serving"
    assert site.operator.reported[-1:] == [ModelKey("team-a", "a")]
    assert ModelKey("team-a", "b") not in site.operator.reported
    site.operator.reported.clear()
    await site.until_answered()
    assert site.operator.reported == []


async def test_at_rest_nothing_is_written() -> None:
    site = await site_of("a", "b")
    await asked(site, "a")
    await site.run(5)
    site.cluster.calls.clear()
    await site.run(20)
    assert site.cluster.writes == []


async def test_a_new_operator_writes_nothing_about_what_stands() -> None:
    site = await site_of("a", "b")
    await asked(site, "a", "b")
    await site.run(5)
    site.cluster.calls.clear()
    site.restart()
    await site.run(2)
    assert site.cluster.writes == []


WRITES_OF_A_SWAP = 27  # from a pool of three and its first object to its first swap


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(WRITES_OF_A_SWAP))
async def test_whichever_write_an_operator_dies_at_the_next_one_goes_on(
    *, number: int, after: bool
) -> None:
    """The site fails if a card is too full, a request goes astray or a draining one is routed."""
    site = Site()
    site.dies_at(number, after=after)
    site.pool()
    for name in "abc":
        site.model(name)
    await site.run(2)
    await asked(site, "a", "b", "c")
    assert site.deaths == 1
    assert {len(site.clients[name].answered) for name in "abc"} == {1}
    assert {*site.starts()} == {site.engine(name)["id"] for name in "abc"}
    assert len(site.starts()) == 3
    assert "c" in site.serving()
    assert len(site.serving()) == 2


async def test_an_operator_that_dies_all_the_time_still_serves_everybody() -> None:
    site = Site()
    site.cluster.faults.append(Every(3))
    site.pool()
    for name in "abc":
        site.model(name)
    await site.run(5)
    for name in ("a", "b", "c", "a"):
        site.ask(name)
        await site.until_answered(120)
    assert site.deaths > 10
    assert [len(site.clients[name].answered) for name in "abc"] == [2, 1, 1]


async def test_a_load_that_fails_is_tried_again_later_each_time() -> None:
    site = await site_of("a")
    site.failing.add(f"{names.DIR_MODEL}/a")
    site.ask("a")
    tries: list[float] = []
    for _ in range(200):
        await site.step()
        if len(site.starts()) > len(tries):
            tries.append(site.seconds)
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    first = FIRST_PAUSE.total_seconds()
    assert len(tries) == 4
    for number, pause in enumerate(pauses):
        assert first * 2**number <= pause <= first * 2**number + 10
    told = site.engine("a")
    assert (told["state"], told["attempt"], told["failureReason"]) == ("Failed", 4, "CrashLoop")
    assert moment(told["blockedUntil"]) is not None
    assert site.status("a")["phase"] == "Failed"
    site.failing.clear()
    await site.until_answered(200)
    assert site.engine("a")["attempt"] == 0
    assert "failureReason" not in site.engine("a")


async def test_a_failed_engine_leaves_its_room_to_others() -> None:
    site = await site_of("a", "b", "c")
    await asked(site, "a", "b")
    site.failing.add(f"{names.DIR_MODEL}/a")
    pod = site.pods["shared-pool-0"]
    pod.fail(site.engine("a")["id"])
    site.ask("c")
    await site.until_answered()
    assert site.serving() == {"b", "c"}
    assert site.routes("a") == []


async def test_a_model_that_is_loaded_by_name_comes_without_a_request_and_stays() -> None:
    site = await site_of("a", "b", "c")
    site.model("a", annotations={names.ANNOTATION_LOAD: timestamp(site.now)})
    await site.run(10)
    assert site.serving() == {"a"}
    await asked(site, "b", "c", "b", "c")
    assert "a" in site.serving()
    await site.run(400, step=10)
    assert site.serving() == {"a"}


async def test_a_model_that_is_unloaded_by_name_goes_and_comes_back_when_it_is_asked_for() -> None:
    site = await site_of("a")
    await asked(site, "a")
    await site.run(2)
    site.model("a", annotations={names.ANNOTATION_UNLOAD: timestamp(site.now)})
    await site.run(5)
    assert site.serving() == set()
    await asked(site, "a")
    assert site.serving() == {"a"}


async def test_a_model_that_is_unloaded_while_it_answers_goes_when_it_has_answered() -> None:
    site = await site_of("a")
    await asked(site, "a")
    await site.run(2)
    site.ask("a")
    await site.step()
    site.model("a", annotations={names.ANNOTATION_UNLOAD: timestamp(site.now)})
    await site.step()
    assert site.serving() == {"a"}
    await site.run(5)
    assert site.serving() == set()


async def test_a_paused_model_is_neither_unloaded_nor_evicted_and_others_are_ruled_around_it() -> (
    None
):
    site = await site_of("a", "b", "c")
    await asked(site, "a")
    before = site.engine("a")
    site.model("a", paused=True, keepAlive="0", runtime={"maxModelLen": 2048})
    await asked(site, "b", "c", "b", "c")
    assert len(site.serving()) == 2
    await site.run(400, step=10)
    assert site.serving() == {"a"}
    assert (site.engine("a")["id"], site.engine("a")["reason"]) == (before["id"], "Paused")
    (card,) = site.pool_status["cards"]
    assert card["grantedBytes"] == before["memoryBytes"]
    assert site.status("a")["reason"] == "Paused"
    await asked(site, "a")
    assert {*site.clients["a"].answered} == {before["id"]}


async def test_a_paused_model_is_not_loaded_and_is_when_it_is_paused_no_more() -> None:
    site = await site_of("b")
    site.model("a", paused=True)
    site.ask("a")
    await site.run(30)
    assert site.serving() == set()
    assert site.status("a")["reason"] == "Paused"
    site.model("a")
    await site.until_answered()
    assert site.serving() == {"a"}


async def test_a_model_goes_when_its_keep_alive_is_over() -> None:
    site = await site_of()
    site.model("a", keepAlive="30s")
    await asked(site, "a")
    await site.run(25)
    assert site.serving() == {"a"}
    await site.run(10)
    assert site.serving() == set()
    assert site.status("a")["phase"] == "Idle"


async def test_an_edited_model_is_served_by_its_old_engine_until_the_new_one_serves() -> None:
    site = await site_of("a")
    await asked(site, "a")
    before = site.engine("a")["id"]
    site.model("a", runtime={"maxModelLen": 2048})
    await site.step()
    routed = []
    while site.engine("a")["state"] != "Serving":
        site.ask("a")
        await site.step()
        routed.append(bool(site.routes("a")))
        assert len(routed) < 60
    await site.until_answered()
    after = site.engine("a")["id"]
    assert all(routed)
    assert after != before
    assert {*site.clients["a"].answered} >= {before}
    await asked(site, "a")
    assert site.clients["a"].answered[-1] == after
    await site.run(5)
    assert len(site.serving()) == 1
    assert len(site.cluster.of_kind(kinds.REVISION)) == 2  # the pool's template, and the new plan


async def test_of_two_edits_in_a_row_the_first_engine_serves_until_the_last_does() -> None:
    site = await site_of("a")
    await asked(site, "a")
    first = site.engine("a")["id"]
    site.model("a", runtime={"maxModelLen": 2048})
    await site.run(1.5)
    site.model("a", runtime={"maxModelLen": 1024})
    await site.step()
    while site.engine("a")["state"] != "Serving":
        assert site.routes("a")
        await site.step()
    await asked(site, "a")
    assert site.clients["a"].answered[-1] == site.engine("a")["id"] != first
    await site.run(5)
    assert len(site.serving()) == 1


async def test_an_edit_that_is_taken_back_goes_back_to_the_first_engine() -> None:
    site = await site_of("a")
    await asked(site, "a")
    first = site.engine("a")["id"]
    site.model("a", runtime={"maxModelLen": 2048})
    await site.run(20)
    assert site.engine("a")["id"] != first
    site.model("a")
    await site.run(20)
    await asked(site, "a")
    assert site.engine("a")["id"] == first
    assert site.clients["a"].answered[-1] == first


async def test_an_edit_that_cannot_be_planned_leaves_what_serves() -> None:
    site = await site_of("a")
    await asked(site, "a")
    first = site.engine("a")["id"]
    site.model("a", runtime={"maxModelLen": 10**6})
    await site.run(5)
    assert site.status("a")["conditions"][0]["reason"] != "Serving"
    await asked(site, "a")
    assert site.clients["a"].answered == [first, first]


async def test_an_edit_that_cannot_be_read_leaves_what_serves_and_loads_it_again() -> None:
    site = await site_of("a")
    await asked(site, "a")
    site.model("a", "ftp://nowhere")
    await site.run(5)
    await asked(site, "a")
    assert site.status("a")["reason"] == "InvalidSpec"
    assert len(site.starts()) == 1
    await site.run(400, step=5)
    assert site.serving() == set()
    await asked(site, "a")
    assert len(site.starts()) == 2


async def test_an_edited_model_does_not_go_back_to_an_engine_that_others_keep() -> None:
    site = await site_of("a")
    site.model("twin", "a", keepAlive="-1")
    await asked(site, "a", "twin")
    shared = site.engine("a")["id"]
    assert site.engine("twin")["id"] == shared
    site.model("a", runtime={"maxModelLen": 2048}, keepAlive="10s")
    await site.run(20)
    await asked(site, "a")
    own = site.clients["a"].answered[-1]
    assert own != shared
    await site.run(30)
    assert site.routes("a") == []
    assert site.routes("twin") != []
    await asked(site, "a")
    assert site.clients["a"].answered[-1] == own


async def test_a_models_files_are_fetched_before_it_is_loaded() -> None:
    site = await site_of()
    site.model("a", "hf://org/model")
    site.ask("a")
    await site.run(10)
    assert site.starts() == []
    assert site.status("a")["phase"] == "Fetching"
    site.fetched()
    await site.until_answered()
    assert len(site.cluster.of_kind(kinds.JOB)) == 1


async def test_while_the_files_of_another_source_are_fetched_the_one_before_can_be_loaded() -> None:
    site = await site_of()
    site.model("a", "hf://org/model")
    await site.run(2)
    site.fetched()
    await asked(site, "a")
    first = site.clients["a"].answered[-1]
    site.model("a", "hf://org/other", keepAlive="10s")
    await site.run(20)
    await asked(site, "a")
    assert site.clients["a"].answered[-1] == first
    site.fetched()
    await site.run(20)
    await asked(site, "a")
    assert site.clients["a"].answered[-1] != first
    await site.run(2)
    assert len(site.cluster.of_kind(kinds.JOB)) == 1


async def test_the_routes_of_a_pool_that_was_deleted_meanwhile_are_taken_back() -> None:
    site = await site_of("a")
    await asked(site, "a")
    site.cluster.watchers.clear()
    site.cluster.remove(kinds.POOL, *POOL)
    site.restart()
    await site.look()
    assert site.routes("a") == []


async def test_models_spread_over_the_pods_of_a_pool_and_move_when_one_is_gone() -> None:
    site = Site()
    site.pool(replicas=2)
    for name in "abcd":
        site.model(name)
    await site.run(2)
    await asked(site, *"abcd")
    assert site.serving() == {*"abcd"}
    (gone, _) = site.routes("a")[0]
    site.cluster.remove(kinds.POD, POOL.namespace, gone)
    del site.pods[gone]
    await site.look()
    await site.run(2)
    for name in "abcd":
        site.ask(name)
    await site.until_answered(200)
    assert [len(site.clients[name].answered) for name in "abcd"] == [2, 2, 2, 2]


async def test_a_deleted_model_takes_its_route_at_once_and_its_engine_when_it_is_idle() -> None:
    site = await site_of("a", "b")
    await asked(site, "a", "b")
    site.ask("a")
    await site.step()
    site.cluster.remove(kinds.MODEL, POOL.namespace, "a")
    assert site.cluster.find(kinds.SLICE, POOL.namespace, names.model_slice("a")) is None
    await site.until_answered()
    assert len(site.clients["a"].answered) == 2
    await site.run(5)
    assert site.serving() == {"b"}
    assert [one["models"] for one in site.pool_status["engines"]] == [["b"]]


async def test_models_with_the_same_engine_share_it() -> None:
    site = await site_of("a")
    site.model("twin", "a", priority=7)
    await site.run(2)
    await asked(site, "a", "twin")
    assert len(site.starts()) == 1
    assert site.routes("a") == site.routes("twin")
    assert site.engine("a")["models"] == ["a", "twin"]
    site.cluster.remove(kinds.MODEL, POOL.namespace, "a")
    await asked(site, "twin")
    assert len(site.starts()) == 1


async def test_a_pool_that_is_deleted_takes_its_objects_and_tells_its_models() -> None:
    site = await site_of("a")
    await asked(site, "a")
    site.cluster.remove(kinds.POOL, *POOL)
    await site.look()
    assert site.routes("a") == []
    await site.run(1)
    assert site.cluster.of_kind(kinds.DEPLOYMENT) == []
    assert site.status("a")["reason"] == "InvalidSpec"


async def test_a_pool_that_cannot_be_read_is_told_so_once_and_goes_on_serving() -> None:
    site = await site_of("a")
    await asked(site, "a")
    found = site.cluster.find(kinds.POOL, *POOL)
    assert found is not None
    site.cluster.put(found | {"spec": found["spec"] | {"replicas": "many"}})
    await site.look()
    assert site.pool_status["reason"] == "InvalidSpec"
    assert site.routes("a") != []
    site.cluster.calls.clear()
    await site.look()
    assert [one for one in site.cluster.writes if one.kind == "ModelPool"] == []
    site.cluster.put(site.cluster.find(kinds.POOL, *POOL) | {"spec": found["spec"]})
    await site.look()
    assert site.pool_status["phase"] == "Ready"


async def test_a_model_that_moves_into_a_pool_and_out_again_leaves_nothing_behind() -> None:
    dedicated = Site()
    dedicated.model("a", pool=None)
    await dedicated.run(3)
    moved = Site()
    moved.pool()
    moved.model("a", pool=None)
    await moved.run(3)
    moved.model("a")
    await moved.run(3)
    await asked(moved, "a")
    own = {names.LABEL_MODEL: "a"}
    assert [one["kind"] for one in moved.owned(own)] == [
        "ControllerRevision",
        "EndpointSlice",
        "Secret",  # it has no label that tells what it is of, and the next move needs it
    ]
    moved.model("a", pool=None)
    await moved.run(5)
    assert _names(moved.owned(own)) == _names(dedicated.owned(own))
    assert moved.serving() == set()


def _names(objects: list[dict]) -> list[tuple[str, str]]:
    return [(one["kind"], one["metadata"]["name"]) for one in objects]


async def test_a_pod_that_forgot_everything_is_told_again() -> None:
    site = await site_of("a")
    await asked(site, "a")
    pod = site.pods["shared-pool-0"]
    pod.loaded.clear()
    pod.ordered.clear()
    pod.sequence = None
    site.cluster.proxied[pod.name] = pod.status()
    await site.look()
    assert site.routes("a") == []
    await asked(site, "a")


async def test_a_status_that_was_lost_begins_above_what_the_pods_have_heard() -> None:
    site = await site_of("a", "b")
    await asked(site, "a", "b")
    found = site.cluster.find(kinds.POOL, *POOL)
    assert found is not None
    before = found["status"]["sequence"]
    site.cluster.put({key: value for key, value in found.items() if key != "status"})
    await site.run(3)
    assert site.pool_status["sequence"] > before
    assert site.pods["shared-pool-0"].sequence == site.pool_status["sequence"]
    await asked(site, "b")


class Every(Fault):
    """An operator that dies at each so manieth write, in turns before and after it is done."""

    def __init__(self, period: int) -> None:
        super().__init__(Died())
        self.period = period
        self.count = 0

    def hits(self, call: Call) -> bool:
        if call.verb in READS:
            return False
        self.count += 1
        self.after = self.count % (2 * self.period) == 0
        return self.count % self.period == 0

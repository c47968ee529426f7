import pytest
from fault_case import changes_of_size, ends, most_replicas, too_many, written_since

from bench.cluster.traffic import Ask, End, Result
from bench.cluster.watching import Seen

BEGAN = 100.0


def deployment(at: float, replicas: int, revision: str = "a", type_: str = "MODIFIED") -> Seen:
    metadata = {"name": f"tiny-{revision}", "labels": {"berth.dev/model": "tiny"}}
    found = {"metadata": metadata, "spec": {"replicas": replicas}}
    return Seen(at, "Deployment", type_, found)


def ended(end: End) -> Result:
    return Result(Ask("m", "hello", 8, stream=True), end, 0.0, 0.1, 1.0)


@pytest.mark.parametrize(
    ("spec", "most"),
    [
        ({}, 2),
        ({"replicas": 3}, 4),
        ({"replicas": 3, "scaling": {"mode": "Auto", "maxReplicas": 5}}, 6),
    ],
)
def test_a_model_may_have_what_its_user_allows_and_a_surge(spec: dict, most: int) -> None:
    assert most_replicas(spec) == most


def test_replicas_of_all_revisions_are_counted_together() -> None:
    seen = [deployment(90, 2), deployment(110, 2, "b")]
    assert too_many({"tiny": 4}, seen, BEGAN) == []
    assert too_many({"tiny": 3}, seen, BEGAN) == ["tiny had 4 replicas and may have 3"]


def test_what_was_too_many_before_the_test_is_not_of_the_test() -> None:
    assert too_many({"tiny": 3}, [deployment(90, 4), deployment(110, 3)], BEGAN) == []


def test_a_revision_that_is_deleted_has_no_replicas() -> None:
    seen = [deployment(90, 2), deployment(110, 2, type_="DELETED"), deployment(111, 2, "b")]
    assert too_many({"tiny": 2}, seen, BEGAN) == []


def test_an_alarm_of_the_test_before_in_the_same_second_is_not_of_the_test() -> None:
    log = """\
1970-01-01T00:01:40.517123456Z 1970-01-01 00:01:40,517 ERROR berth_gateway denied
1970-01-01T00:01:40.517200000Z Traceback (most recent call last):
1970-01-01T01:01:40.900000000+01:00 1970-01-01 00:01:40,900 ERROR berth_gateway a part died
1970-01-01T00:01:41.000000000Z\x20
unable to retrieve container logs for containerd://4f2a
"""
    assert len(written_since(log, BEGAN)) == 4
    assert written_since(log, BEGAN + 0.75) == [
        "1970-01-01 00:01:40,900 ERROR berth_gateway a part died",
        "",
    ]


def test_a_size_that_is_written_again_is_no_change() -> None:
    seen = [deployment(at, size) for at, size in enumerate((0, 1, 1, 2, 1))]
    assert changes_of_size(seen, "tiny") == [0, 1, 2, 1]
    assert changes_of_size(seen, "other") == []


def test_whole_answers_need_no_excuse() -> None:
    results = [ended(End.WHOLE), ended(End.TOLD), ended(End.TOLD)]
    assert ends(results) == {End.TOLD: 2}

"""An object's metadata, as Kubernetes takes it."""

import pytest

from berth_cli import metadata


def problems(**fields):
    return [where for where, _, _ in metadata.problems({"name": "a"} | fields)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("namespace", 5),
        ("namespace", None),
        ("namespace", "a b"),
        ("namespace", "a" * 64),
        ("uid", None),
        ("uid", ""),
        ("generation", "q"),
        ("generation", True),
        ("generation", -1),
        ("generation", 2**63),
        ("labels", 5),
        ("labels", {"a": 5}),
        ("annotations", ["a"]),
    ],
)
def test_a_field_of_another_kind_is_named_with_the_fix(field, value):
    ((where, shown, said),) = metadata.problems({"name": "a", field: value})
    assert where == f"metadata.{field}"
    assert shown == ("null" if value is None else value)
    assert said.startswith("must be ")
    assert said.endswith("leave it out")


def test_what_a_cluster_writes_is_taken():
    fields = {"namespace": "team-a", "uid": "1", "generation": 3, "labels": {"a": "b"}}
    assert problems(**fields, annotations={}, resourceVersion="7") == []


@pytest.mark.parametrize("given", [None, 5, [], {}, {"name": None}, {"name": ["a"]}])
def test_a_model_without_a_name_is_told_so(given):
    assert [where for where, _, _ in metadata.problems(given)] == ["metadata.name"]

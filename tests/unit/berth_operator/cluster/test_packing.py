from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from berth_operator.cluster.packing import Packer

OBJECTS = st.dictionaries(
    st.text(max_size=4), st.text() | st.integers(0, 9) | st.lists(st.floats(0, 9)), max_size=5
)


@given(st.lists(OBJECTS, max_size=4))
def test_objects_come_back_as_they_were(objects: list[dict[str, Any]]) -> None:
    packer = Packer()
    packed = [packer.pack(obj) for obj in objects]

    assert [one.object for one in packed] == objects


def pod(name: str) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/readyz", "port": "status"}, "periodSeconds": 1}
    containers = [{"name": f"c{n}", "readinessProbe": probe, "image": f"i{n}"} for n in range(50)]
    return {"metadata": {"name": name}, "spec": {"containers": containers}}


def test_what_is_like_another_packs_to_what_it_has_beyond_it() -> None:
    packer = Packer()
    packer.pack(pod("first"))

    assert len(packer.pack(pod("second")).text) < 200


def test_what_is_in_use_is_parsed_once() -> None:
    packed = Packer().pack({"a": 1})

    assert packed.object is packed._replace(text=bytes(bytearray(packed.text))).object


def test_equal_texts_of_two_kinds_are_two_objects() -> None:
    """Both say: the same as before."""
    one, other = Packer(), Packer()
    one.pack({"a": "some words that are long enough"})
    other.pack({"b": "other words that are as long as"})
    packed = one.pack({"a": "some words that are long enough"})
    again = other.pack({"b": "other words that are as long as"})

    assert packed.object != again.object

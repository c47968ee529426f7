import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.routing.keyring import ApiKey, Keyring
from berth_gateway.routing.snapshot import Model, build
from berth_gateway.world.keys import plain

SALT = b"salt of this process"


@given(st.sets(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)), st.text())
def test_exactly_the_known_keys_are_let_in(keys: set[str], other: str) -> None:
    ring = Keyring(
        [plain(f"key-{number}", key) for number, key in enumerate(sorted(keys), 1)], SALT
    )
    for key in keys:
        assert ring.find(f"Bearer {key}".encode()) is not None
    if other.strip() not in keys:
        assert ring.find(f"Bearer {other}".encode()) is None


def test_a_key_is_found_with_what_its_holder_may_do() -> None:
    key = ApiKey("team-a", hashlib.sha256(b"sk-1").hexdigest(), ("a",), 60)

    assert Keyring([key], SALT).find(b"bearer sk-1") is key


@pytest.mark.parametrize("header", [b"", b"sk-1", b"Basic sk-1", b"Bearer", b"Bearer sk-2"])
def test_anything_else_has_no_owner(header: bytes) -> None:
    assert Keyring([plain("key-1", "sk-1")], SALT).find(header) is None


def test_a_header_that_is_known_by_heart_leads_to_the_same_key() -> None:
    first, second = (plain("key-1", "sk-1"), plain("key-2", "sk-2"))
    ring = Keyring([first, second], SALT)
    for _ in range(2):
        assert ring.find(b"Bearer sk-1") is first
        assert ring.find(b"Bearer sk-2") is second
        assert ring.find(b"Bearer sk-3") is None


def test_spellings_of_one_key_beyond_those_that_are_remembered_are_found_too() -> None:
    key = plain("key-1", "sk-1")
    ring = Keyring([key], SALT)

    assert all(ring.find(b"Bearer" + b" " * spaces + b"sk-1") is key for spaces in range(1, 1100))


def test_an_empty_ring_lets_nobody_in() -> None:
    assert Keyring([], SALT).find(b"Bearer ") is None


def test_the_hash_of_a_key_is_not_the_key() -> None:
    ring = Keyring([plain("key-1", "sk-1")], SALT)

    assert ring.find(b"Bearer " + hashlib.sha256(b"sk-1").hexdigest().encode()) is None


def test_a_key_without_a_list_is_for_every_model() -> None:
    model = Model(key="1", name="a")

    assert ApiKey("k", "").admits(model, build([model]))


@pytest.mark.parametrize("name", ["a", "a.team", "nickname", "served"])
def test_a_key_with_a_list_is_for_the_models_that_its_names_lead_to(name: str) -> None:
    mine = Model(key="1", name="a", namespace="team", served_name="served", aliases=("nickname",))
    other = Model(key="2", name="b", namespace="team")
    snapshot = build([mine, other])
    key = ApiKey("k", "", models=(name, "not here yet"))

    assert key.admits(mine, snapshot)
    assert not key.admits(other, snapshot)


def test_a_name_that_another_model_has_does_not_open_a_younger_one() -> None:
    older = Model(key="1", name="chat", created_seconds=1)
    younger = Model(key="2", name="b", aliases=("chat",), created_seconds=2)
    key = ApiKey("k", "", models=("chat",))

    assert key.admits(older, build([older, younger]))
    assert not key.admits(younger, build([older, younger]))


def test_a_key_for_no_model_opens_none() -> None:
    model = Model(key="1", name="a")

    assert not ApiKey("k", "", models=()).admits(model, build([model]))

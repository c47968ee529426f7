import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.routing.keyring import Keyring, hashed

SALT = b"salt of this process"


@given(st.sets(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)), st.text())
def test_exactly_the_known_keys_are_let_in(keys: set[str], other: str) -> None:
    ring = Keyring(hashed(sorted(keys)), SALT)
    for key in keys:
        assert ring.owner(f"Bearer {key}") is not None
    if other.strip() not in keys:
        assert ring.owner(f"Bearer {other}") is None


def test_a_key_is_known_by_its_id() -> None:
    digest = hashlib.sha256(b"sk-1").hexdigest()

    assert Keyring({"team-a": digest}, SALT).owner("bearer sk-1") == "team-a"


@pytest.mark.parametrize("header", [None, "", "sk-1", "Basic sk-1", "Bearer", "Bearer sk-2"])
def test_anything_else_has_no_owner(header: str | None) -> None:
    assert Keyring(hashed(["sk-1"]), SALT).owner(header) is None


def test_an_empty_ring_lets_nobody_in() -> None:
    assert Keyring({}, SALT).owner("Bearer ") is None


def test_the_hash_of_a_key_is_not_the_key() -> None:
    ring = Keyring(hashed(["sk-1"]), SALT)

    assert ring.owner(f"Bearer {hashlib.sha256(b'sk-1').hexdigest()}") is None

import json

import pytest

from berth_gateway.routing.keyring import ApiKey
from berth_gateway.world import keys

DIGEST = "ab" * 32


def test_a_hash_alone_is_a_key_without_limits() -> None:
    assert keys.from_secret({"a": DIGEST.upper().encode() + b"\n"}) == [ApiKey("a", DIGEST)]


def test_an_entry_may_name_models_and_a_rate() -> None:
    entry = {"sha256": DIGEST, "models": ["llama", "chat"], "requestsPerMinute": 600}

    assert keys.from_secret({"a": json.dumps(entry).encode()}) == [
        ApiKey("a", DIGEST, ("llama", "chat"), 600)
    ]


def test_an_entry_may_give_the_right_to_manage_and_else_there_is_none() -> None:
    entry = {"sha256": DIGEST, "manage": True}

    (managing,) = keys.from_secret({"a": json.dumps(entry).encode()})
    (other,) = keys.from_secret({"a": DIGEST.encode()})
    assert (managing.manages, other.manages) == (True, False)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b'{"sha256": "%s", "manage": "yes"}' % DIGEST.encode(), "manage: Input should be a valid"),
        (b"sk-plain", "sha256: String should match pattern"),
        (b"\xff", "can't decode"),
        (b'{"sha256": ', "not JSON"),
        (b'{"models": ["a"]}', "sha256: Field required"),
        (b'{"sha256": "%s", "requestsPerMinute": 0}' % DIGEST.encode(), "requestsPerMinute"),
        (b'{"sha256": "%s", "requestsPerMinute": "6"}' % DIGEST.encode(), "requestsPerMinute"),
        (b'{"sha256": "%s", "models": "a"}' % DIGEST.encode(), "models: Input should be a valid"),
        (b'{"sha256": "%s", "model": ["a"]}' % DIGEST.encode(), "model: Extra inputs"),
        (b'{"a":' * 100_000, "admits nobody"),
    ],
)
def test_what_cannot_be_read_admits_nobody_and_is_named_without_its_value(
    value: bytes, words: str, caplog
) -> None:
    found = keys.from_secret({"bad": value, "good": DIGEST.encode()})

    assert [key.name for key in found] == ["good"]
    assert "bad admits nobody" in caplog.text
    assert words in caplog.text
    assert "sk-plain" not in caplog.text


def test_a_plaintext_key_is_kept_as_its_hash() -> None:
    assert "sk-1" not in repr(keys.plain("key-1", "sk-1"))

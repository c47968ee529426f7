import hashlib
import hmac

from berth_api.keys import engine_key


def test_the_engine_key_is_the_hmac_of_the_uid_in_hex() -> None:
    expected = hmac.new(b"master", b"3f2c", hashlib.sha256).hexdigest()

    assert engine_key(b"master", "3f2c") == expected
    assert len(expected) == 64


def test_another_uid_or_another_master_is_another_key() -> None:
    keys = {engine_key(master, uid) for master in (b"a", b"b") for uid in ("1", "2")}

    assert len(keys) == 4

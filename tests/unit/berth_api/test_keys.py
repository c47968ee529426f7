import hashlib
import hmac

from berth_api.keys import engine_key, models_api_key


def test_the_engine_key_is_the_hmac_of_the_uid_in_hex() -> None:
    expected = hmac.new(b"master", b"3f2c", hashlib.sha256).hexdigest()

    assert engine_key(b"master", "3f2c") == expected
    assert len(expected) == 64


def test_another_uid_or_another_master_is_another_key() -> None:
    keys = {engine_key(master, uid) for master in (b"a", b"b") for uid in ("1", "2")}

    assert len(keys) == 4


def test_the_models_api_has_a_key_that_no_engine_has() -> None:
    assert models_api_key(b"a") != models_api_key(b"b")
    assert models_api_key(b"a") not in {engine_key(b"a", ""), engine_key(b"a", "3f2c")}

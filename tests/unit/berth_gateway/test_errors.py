import json

import pytest

from berth_gateway.errors import Dialect, Kind, Refusal


@pytest.mark.parametrize("kind", Kind)
def test_every_refusal_has_openais_four_fields(kind: Kind) -> None:
    refusal = Refusal(kind, "why \ud800 é", param="model")
    body = refusal.body()

    assert body.isascii()
    assert json.loads(body)["error"] == {
        "message": "why \ud800 é",
        "type": kind.value.type,
        "param": "model",
        "code": kind.value.code,
    }


def test_headers_follow_the_kind() -> None:
    refusal = Refusal(Kind.NOT_READY, "x", retry_after_seconds=3)
    method = Refusal(Kind.METHOD, "x", allow="GET")
    key = Refusal(Kind.INVALID_KEY, "x")

    assert (b"retry-after", b"3") in refusal.headers()
    assert (b"allow", b"GET") in method.headers()
    assert (b"www-authenticate", b"Bearer") in key.headers()


def test_a_code_is_one_status_only() -> None:
    codes = [kind.value.code for kind in Kind if kind.value.code]

    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", Kind)
def test_to_ollamas_clients_every_refusal_is_a_text(kind: Kind) -> None:
    assert json.loads(Refusal(kind, "why é").body(Dialect.OLLAMA)) == {"error": "why é"}

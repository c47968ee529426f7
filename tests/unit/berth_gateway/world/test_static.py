import hashlib
from pathlib import Path

import pytest

from berth_api.spec import RoutingPolicy
from berth_gateway.errors import ConfigurationError
from berth_gateway.routing.keyring import ApiKey, Keyring
from berth_gateway.world import static

GOOD = """\
- model: llama
  endpoints: ["http://10.0.0.1:8000/", "http://10.0.0.2:8000", "http://10.0.0.1:8000"]
  aliases: [chat]
  engineKey: s3cret
- {model: phi, endpoints: []}
"""


def _file(folder: Path, text: str) -> Path:
    path = folder / "file"
    path.write_text(text, encoding="utf-8")
    return path


def test_routes_become_a_snapshot(tmp_path: Path) -> None:
    snapshot = static.read_routes(_file(tmp_path, GOOD))
    llama = snapshot.find("chat")

    assert llama is not None
    assert (llama.name, llama.engine_key) == ("llama", "s3cret")
    assert [one.url for one in llama.endpoints] == ["http://10.0.0.1:8000", "http://10.0.0.2:8000"]
    assert snapshot.find("phi") is not None


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("- model: a\n  endpoint: []\n", 1, "0.endpoints"),
        ("- model: a\n  endpoints: []\n  alias: x\n", 3, "0.alias is 'x'"),
        ("- model: a\n  endpoints:\n  - http://h:1\n  - h:2\n", 4, "0.endpoints.1 is 'h:2'"),
        ("- model: a\n  endpoints: [http://h/v1]\n", 2, "0.endpoints.0 is 'http://h/v1'"),
        ("- {model: a, endpoints: []}\n- {model: 7, endpoints: []}\n", 2, "1.model is '7'"),
        ("model: a\n", 1, "the file is"),
        ("", 1, "the file is 'None'"),
    ],
)
def test_a_bad_route_is_one_line_with_file_line_value_and_fix(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        static.read_routes(path)
    message = str(caught.value)

    assert message.startswith(f"routes {path}:{line}: ")
    assert words in message
    assert "write - {model: my-model" in message
    assert "\n" not in message


@pytest.mark.parametrize("second", ["{model: a, ", "{model: b, aliases: [x], "])
def test_a_name_given_twice_is_an_error(tmp_path: Path, second: str) -> None:
    first = "- {model: a, aliases: [x], endpoints: []}\n"
    path = _file(tmp_path, f"{first}- {second}endpoints: []}}\n")
    with pytest.raises(ConfigurationError, match=r"1 has the name '[ax]', which an earlier"):
        static.read_routes(path)


def test_what_is_no_yaml_is_one_line_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="line 2") as caught:
        static.read_routes(_file(tmp_path, "- a: [\n]]\n"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [static.read_routes, static.read_keys])
def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path, read) -> None:
    with pytest.raises(ConfigurationError, match=r"/absent: No such file"):
        read(tmp_path / "absent")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"/binary: not UTF-8 \(byte 0\)"):
        read(tmp_path / "binary")


def test_keys_are_lines_without_comments_and_kept_as_hashes(tmp_path: Path) -> None:
    hashes = static.read_keys(_file(tmp_path, "# team a\nsk-1 \n\nsk-2\n"))
    ring = Keyring(hashes, b"salt")

    assert len(ring) == 2
    assert ring.find(b"Bearer sk-2") is not None
    assert "sk-1" not in str(hashes)


def test_a_key_may_have_limits_as_in_a_cluster(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"sk-1").hexdigest()
    lines = f'{{"sha256": "{digest}", "models": ["a"]}}\n{{sha256: {digest}, requestsPerMinute: 6}}'

    assert static.read_keys(_file(tmp_path, lines)) == [
        ApiKey("key-1", digest, models=("a",)),
        ApiKey("key-2", digest, requests_per_minute=6),
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{models: [a]}", "sha256: Field required; write {"),
        ("{sha256: short}", "sha256: String should match pattern"),
        (f"{{sha256: {'ab' * 32}, requestPerMinute: 6}}", "requestPerMinute: Extra inputs"),
        ("{sha256: [", "while parsing"),
    ],
)
def test_a_bad_entry_names_file_line_and_field(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        static.read_keys(_file(tmp_path, f"sk-1\n{line}\n"))
    message = str(caught.value)

    assert message.startswith(f"keys {tmp_path}/file:2: ")
    assert words in message
    assert "\n" not in message


def test_a_route_may_bound_its_endpoints_and_its_queue(tmp_path: Path) -> None:
    text = (
        "- {model: a, endpoints: ['http://h:1'], maxInFlight: 4, maxPending: 5, "
        "maxWaitSeconds: 6, policy: PrefixAware}\n- {model: b, endpoints: ['http://h:1']}\n"
    )
    one, other = static.read_routes(_file(tmp_path, text)).models

    assert (one.room, one.max_pending, one.max_wait_seconds) == (4, 5, 6)
    assert one.policy is RoutingPolicy.PREFIX_AWARE
    assert (other.room, other.max_pending, other.max_wait_seconds) == (None, 512, 600)


def test_a_file_without_a_key_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="write one API key per line"):
        static.read_keys(_file(tmp_path, "# none\n"))


def test_a_route_names_its_engines_adapters(tmp_path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text("- {model: llama, endpoints: ['http://127.0.0.1:8000'], adapters: [sql]}")
    found = static.read_routes(file).find("sql")
    assert found is not None
    assert (found.name, found.engine_name) == ("llama", "sql")


def test_an_adapter_with_the_name_of_another_model_is_a_slip_of_the_pen(tmp_path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(
        "- {model: llama, endpoints: []}\n- {model: qwen, endpoints: [], adapters: [llama]}"
    )
    with pytest.raises(ConfigurationError, match="which an earlier entry has"):
        static.read_routes(file)

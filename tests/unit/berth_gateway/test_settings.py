from pathlib import Path

import pytest

from berth_api import names
from berth_gateway import settings
from berth_gateway.errors import ConfigurationError
from berth_gateway.settings import AuthMode, Limits, MediaUrls, Settings

CLUSTER = {"BERTH_NAMESPACE": "berth"}


def test_in_a_cluster_the_environment_says_it_all() -> None:
    environ = CLUSTER | {
        "BERTH_WATCH_NAMESPACES": "a, b,",
        "BERTH_AUTH_MODE": "None",
        "BERTH_MAX_BODY_BYTES": "1000",
        "BERTH_MEDIA_URLS": "Any",
        "BERTH_MAX_HELD_REQUESTS": "5",
        "BERTH_MAX_HELD_BYTES": "600",
        "BERTH_GATEWAY_REPLICAS": "2",
        "BERTH_ALLOWED_FIELDS": "chat_template, prompt_embeds",
        "BERTH_MAX_OUTPUT_TOKENS": "7",
        "BERTH_MAX_CONNECTIONS": "8",
        "BERTH_IDLE_SECONDS": "9",
    }

    assert settings.load([], environ) == Settings(
        routes=None,
        keys=None,
        namespace="berth",
        watch_namespaces=("a", "b"),
        auth=AuthMode.NONE,
        held_requests=5,
        held_bytes=600,
        gateways=2,
        connections=8,
        idle_seconds=9,
        limits=Limits(
            body_bytes=1000,
            output_tokens=7,
            allowed_fields=frozenset({"chat_template", "prompt_embeds"}),
            media_urls=MediaUrls.ANY,
        ),
    )


def test_without_a_cluster_flags_do() -> None:
    given = settings.load(["--routes", "r.yaml", "--keys", "k", "--port", "9000"], {})

    assert (given.routes, given.keys, given.port) == (Path("r.yaml"), Path("k"), 9000)
    assert given.management_port == names.PORT_GATEWAY_MANAGEMENT
    assert given.auth is AuthMode.KEYS


def test_a_flag_wins_over_its_variable_and_an_empty_variable_is_none() -> None:
    environ = CLUSTER | {"BERTH_AUTH_MODE": "None", "BERTH_MAX_CHOICES": ""}
    given = settings.load(["--auth", "Keys"], environ)

    assert given.auth is AuthMode.KEYS
    assert given.limits.choices == Limits().choices


def test_a_service_called_berth_does_not_set_the_port() -> None:
    environ = CLUSTER | {"BERTH_PORT": "tcp://10.0.0.1:8080"}

    assert settings.load([], environ).port == names.PORT_GATEWAY


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (["--port", "x"], CLUSTER, "--port: 'x' is not a whole number"),
        (["--port", "65536"], CLUSTER, "--port: 65536 is not a port; the highest is 65535"),
        (["--auth", "none"], CLUSTER, "--auth: 'none' is not Keys or None"),
        (["--rotues", "r"], CLUSTER, "unrecognized arguments: --rotues"),
        ([], CLUSTER | {"BERTH_MEDIA_URLS": "x"}, "--media-urls: 'x' is not DataOnly or Any"),
        ([], CLUSTER | {"BERTH_ALLOWED_FIELDS": "n"}, "--allowed-fields: 'n' is not chat_template"),
        ([], {}, "BERTH_NAMESPACE is empty; set it to the release's namespace"),
        (["--routes", "r"], {}, "--routes needs --keys FILE"),
        (["--routes", "r", "--cluster"], {}, "exclude each other"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(arguments, environ, words) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings.load(arguments, environ)
    message = str(caught.value)

    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("10.0.0.1", "443", "10.0.0.1:443"),
        ("fd00::1", "6443", "[fd00::1]:6443"),
        ("10.0.0.1", "", ""),
        ("", "443", ""),
    ],
)
def test_a_pod_is_told_where_the_api_server_is(host, port, expected) -> None:
    told = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}

    assert settings.load([], CLUSTER | told).api_server == expected

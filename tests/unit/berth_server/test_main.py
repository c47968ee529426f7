import pytest

from berth_api import names
from berth_api.pool_server import PoolConfig
from berth_api.server import FetchConfig, ServerConfig
from berth_api.shape import Failure
from berth_server import __main__ as main
from berth_server import request, termination
from berth_server.errors import ConfigurationError
from berth_server.pod import exit_code


@pytest.mark.parametrize(("returncode", "expected"), [(3, 3), (0, 1), (-9, 137), (-4, 132)])
def test_an_engine_that_ends_by_itself_is_never_a_success(returncode, expected):
    assert exit_code(returncode) == expected


@pytest.mark.parametrize("text", ["", "{", "{}", '{"engines": []}'])
def test_a_configuration_that_cannot_be_read_is_refused(text):
    with pytest.raises(ConfigurationError, match="BERTH_SERVER_CONFIG"):
        main.read_config(ServerConfig, names.ENV_SERVER_CONFIG, {"BERTH_SERVER_CONFIG": text})


@pytest.mark.parametrize("text", ["", "{", '{"cards": -1}', '{"command": []}'])
def test_a_pools_configuration_that_cannot_be_read_is_refused(text):
    with pytest.raises(ConfigurationError, match="BERTH_POOL_CONFIG"):
        main.read_config(PoolConfig, names.ENV_POOL_CONFIG, {"BERTH_POOL_CONFIG": text})


def test_an_absent_or_empty_key_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="engine key"):
        main.read_key(tmp_path / "absent")
    (tmp_path / "key").write_text("\n")
    with pytest.raises(ConfigurationError, match="is empty"):
        main.read_key(tmp_path / "key")


def test_the_termination_message_is_json(tmp_path):
    failure = Failure(reason="OutOfMemory", message="no room")
    termination.write(tmp_path / "log", failure)
    assert Failure.model_validate_json((tmp_path / "log").read_text()) == failure


def test_a_message_that_cannot_be_written_is_only_lost(tmp_path):
    termination.write(tmp_path / "no" / "log", Failure(reason="x", message="y"))


def test_the_hub_is_asked_where_the_environment_says():
    config = FetchConfig(source="hf://a/b@v1", directory="/m")
    environment = {"HF_ENDPOINT": "http://mirror/", "HF_TOKEN": " t\n"}
    found = request.repository(config, environment)
    assert (found.name, found.revision) == ("a/b", "v1")
    assert (found.endpoint, found.token) == ("http://mirror", "t")
    assert request.repository(config, {}).endpoint == "https://huggingface.co"


def test_only_a_hub_is_fetched_from():
    with pytest.raises(ConfigurationError, match="not fetched from a hub"):
        request.repository(FetchConfig(source="pvc://m", directory="/m"), {})

import shutil
import ssl
from pathlib import Path

import pytest
import yaml

from berth_gateway.errors import ConfigurationError
from berth_gateway.world import access
from berth_gateway.world.access import REREAD_SECONDS, Token


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """A service account's folder, with any certificate for the cluster's."""
    (tmp_path / "token").write_text("first\n")
    known = ssl.get_default_verify_paths().cafile
    if known is None:
        pytest.skip("this machine has no certificate to take")
    shutil.copy(known, tmp_path / "ca.crt")
    return tmp_path


async def test_a_token_is_read_again_when_it_may_have_been_renewed(tmp_path: Path) -> None:
    now = 0.0
    file = tmp_path / "token"
    file.write_text("first\n")
    token = Token(file, clock=lambda: now)
    file.write_text("second\n")
    now = REREAD_SECONDS - 1
    assert await token() == "Bearer first"
    now = REREAD_SECONDS
    assert await token() == "Bearer second"


async def test_a_token_that_is_gone_is_an_error_each_time(tmp_path: Path) -> None:
    now = 0.0
    file = tmp_path / "token"
    file.write_text("first")
    token = Token(file, clock=lambda: now)
    file.write_text("")
    now = REREAD_SECONDS
    for _ in range(2):
        with pytest.raises(OSError, match="empty"):
            await token()


async def test_a_pod_reaches_the_api_server_with_its_service_account(account: Path) -> None:
    made = access.of_service_account("10.0.0.1:443", account)

    assert made.url == "https://10.0.0.1:443"
    assert await made.authorization() == "Bearer first"
    assert made.tls is not None
    assert made.tls.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("file", ["token", "ca.crt"])
def test_an_account_that_lacks_a_file_is_told_in_one_line(account: Path, file: str) -> None:
    (account / file).unlink()
    with pytest.raises(ConfigurationError, match=r"service account: .*--kubeconfig FILE") as caught:
        access.of_service_account("10.0.0.1:443", account)
    assert "\n" not in str(caught.value)


def test_outside_a_cluster_the_service_account_is_missed_in_one_line() -> None:
    with pytest.raises(ConfigurationError, match=r"KUBERNETES_SERVICE_HOST.*--kubeconfig FILE"):
        access.of_service_account("")


async def test_a_kubeconfig_that_is_missing_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"kubeconfig .*absent.*--routes FILE") as caught:
        await access.of_kubeconfig(tmp_path / "absent")
    assert "\n" not in str(caught.value)


async def test_a_kubeconfig_says_where_and_who(tmp_path: Path) -> None:
    cluster = {"server": "https://127.0.0.1:6443/", "insecure-skip-tls-verify": True}
    document = {
        "clusters": [{"name": "c", "cluster": cluster | {"tls-server-name": "kubernetes"}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(document))
    made = await access.of_kubeconfig(file)

    assert (made.url, made.server_name) == ("https://127.0.0.1:6443", "kubernetes")
    assert await made.authorization() == "Bearer secret"
    assert made.tls is not None
    assert made.tls.verify_mode is ssl.CERT_NONE

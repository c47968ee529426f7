"""Where the API server is, and who we are to it: the pod's service account, or a kubeconfig.

Read here and not by a client library, which would take 10 MB of every gateway. A kubeconfig may ask
for anything, so that one is left to `kubernetes.aio`, which is imported only then.
"""

import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from berth_gateway.errors import ConfigurationError

# Where the kubelet puts them, https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# The kubelet renews a token after four fifths of its life, which is 10 minutes or more.
REREAD_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Access:
    url: str
    authorization: Callable[[], Awaitable[str | None]]  # asked for every request; OSError
    tls: ssl.SSLContext | None = None
    proxy: str | None = None
    server_name: str | None = None  # that the certificate is for, where it is not the url's


class Token:
    """A file that its owner renews. Called, it gives the Authorization header."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """OSError if it cannot be read now."""
        self._file = file
        self._clock = clock
        self._read()

    def _read(self) -> None:
        text = self._file.read_text().strip()
        if not text:
            raise OSError(f"{self._file} is empty")
        self._header = f"Bearer {text}"
        self._read_at = self._clock()

    async def __call__(self) -> str:
        if self._clock() - self._read_at >= REREAD_SECONDS:
            self._read()
        return self._header


def of_service_account(api_server: str, folder: Path = SERVICE_ACCOUNT) -> Access:
    """`api_server` is host:port. ConfigurationError if the pod has none or no account."""
    where = "the pod's service account"
    if not api_server:
        raise _unusable(where, "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set")
    try:
        tls = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        return Access(f"https://{api_server}", Token(folder / "token"), tls)
    except (OSError, ValueError) as error:
        raise _unusable(where, error) from error


async def of_kubeconfig(file: Path) -> Access:
    """ConfigurationError if it is unusable."""
    from kubernetes.aio import client, config  # noqa: PLC0415 -- 10 MB, outside a cluster only
    from kubernetes.aio.config import ConfigException  # noqa: PLC0415

    settings = client.Configuration()
    try:
        await config.load_kube_config(str(file), client_configuration=settings)
        tls = _tls(settings)
    except (ConfigException, OSError, ValueError) as error:
        raise _unusable(f"kubeconfig {file}", error) from error

    async def authorization() -> str | None:
        header: str | None = await settings.get_api_key_with_prefix("BearerToken")
        return header

    return Access(
        settings.host.rstrip("/"), authorization, tls, settings.proxy, settings.tls_server_name
    )


def _tls(settings: Any) -> ssl.SSLContext:
    tls = ssl.create_default_context(cafile=settings.ssl_ca_cert)
    if settings.cert_file:
        tls.load_cert_chain(settings.cert_file, settings.key_file)
    if not settings.verify_ssl:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    return tls


def _unusable(where: str, error: object) -> ConfigurationError:
    hint = "give --kubeconfig FILE outside a cluster, or --routes FILE without one"
    return ConfigurationError(f"{where}: {error}; {hint}")

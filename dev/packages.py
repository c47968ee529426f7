"""Debian's packages, installed when absent, with none of their services started."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from dev import progress

_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = "#!/bin/sh\n# Placed by berth's `dev` while it installs packages.\nexit 101\n"

# What each is for, since none is used from Python by name.
_PACKAGES = (
    "buildah",  # builds images without a daemon
    "conntrack",  # kube-proxy
    "containerd",
    "containernetworking-plugins",  # bridge, host-local
    "debootstrap",  # the images' base
    "ipset",  # kube-proxy
    "iptables",  # kube-proxy, the masquerade rule
    "openssl",  # certificates
    "python3-venv",  # Go's wheel, where no Go is installed
    "runc",
    "socat",  # kubectl port-forward
)


# For tests in a real browser.
BROWSER = ("chromium", "chromium-driver")


def install(names: Sequence[str] = _PACKAGES) -> None:
    missing = [name for name in names if not _installed(name)]
    if not missing:
        return
    with progress.step(f"apt-get install {' '.join(missing)}"), _services_stay_down():
        progress.run(["apt-get", "update", "--quiet"])
        progress.run(
            ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *missing],
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )


def _installed(name: str) -> bool:
    return progress.succeeds(["dpkg-query", "--status", name])


@contextlib.contextmanager
def _services_stay_down() -> Iterator[None]:
    """Debian starts a package's service unless this file says no; containerd's is not wanted."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(_POLICY_TEXT)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()

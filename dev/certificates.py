"""A certificate authority for one cluster, made with the `openssl` command.

Every component has a certificate of its own: Kubernetes reads the user from the common name and
the groups from the organisations, so these names are the cluster's first RBAC subjects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev import progress

VALID_DAYS = 3650  # a development cluster should not end by surprise
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


@dataclass(frozen=True)
class KeyPair:
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """The cluster's root of trust, kept in `folder` and reused on the next start."""

    folder: Path

    @property
    def root(self) -> KeyPair:
        return self._pair("ca")

    def create(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.root.certificate.exists():
            self._request("ca", "/CN=berth-dev-ca", ["basicConstraints=critical,CA:TRUE"], ())

    def issue(
        self,
        name: str,
        *,
        user: str,
        groups: Sequence[str] = (),
        addresses: Sequence[str] = (),
    ) -> KeyPair:
        """A certificate for clients and, with `addresses`, for servers; the same one next time.

        `addresses` are in openssl's form: "IP:127.0.0.1", "DNS:localhost".
        """
        pair = self._pair(name)
        if not pair.certificate.exists():
            subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
            extensions = [
                "basicConstraints=critical,CA:FALSE",
                "extendedKeyUsage=clientAuth,serverAuth",
            ]
            if addresses:
                extensions.append("subjectAltName=" + ",".join(addresses))
            signer = ("-CA", self.root.certificate, "-CAkey", self.root.key)
            self._request(name, subject, extensions, signer)
        return pair

    def _pair(self, name: str) -> KeyPair:
        return KeyPair(self.folder / f"{name}.crt", self.folder / f"{name}.key")

    def _request(
        self, name: str, subject: str, extensions: Sequence[str], signer: Sequence[str | Path]
    ) -> None:
        pair = self._pair(name)
        config = self.folder / f"{name}.cnf"
        config.write_text(
            "[req]\ndistinguished_name = none\nx509_extensions = extensions\n[none]\n[extensions]\n"
            + "\n".join(extensions)
            + "\n"
        )
        progress.run(
            [
                *("openssl", "req", "-x509", *_KEY, "-days", str(VALID_DAYS), "-config", config),
                *("-subj", subject, *signer, "-keyout", pair.key, "-out", pair.certificate),
            ]
        )
        config.unlink()

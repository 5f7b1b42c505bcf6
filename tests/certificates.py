"""Certificates of an authority of ours, as files: for both ends of the API, and of etcd."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import trustme

from flowsvc.api.tls import ServerTls
from flowsvc.client import Credentials
from kvconfig import devserver
from kvconfig.etcd import Access

__all__ = ["Authority"]


@dataclass
class Authority:
    """Whose certificates lie in ``folder``, each as ``<name>.pem`` and ``<name>.key``."""

    folder: Path
    ca: trustme.CA = field(default_factory=trustme.CA)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.ca.cert_pem.write_to_path(self.cacert)

    @property
    def cacert(self) -> Path:
        return self.folder / "ca.pem"

    def issue(
        self, name: str, *san: str, until: datetime | None = None, common_name: str | None = None
    ) -> tuple[Path, Path]:
        """A certificate for those alternative names, and its key."""
        issued = self.ca.issue_cert(*san, not_after=until, common_name=common_name)
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        issued.private_key_pem.write_to_path(key)
        cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        return cert, key

    def server(self, *, clients: bool = False, **more: float) -> ServerTls:
        """For a server on 127.0.0.1; ``clients``: that takes those who show a certificate."""
        cert, key = self.issue("server", "127.0.0.1")
        return ServerTls(cert=cert, key=key, client_ca=self.cacert if clients else None, **more)

    def client(self, *san: str, until: datetime | None = None) -> Credentials:
        """For a client of those names."""
        cert, key = self.issue("client", *san, until=until)
        return Credentials(cacert=self.cacert, cert=cert, key=key)

    def etcd(self) -> devserver.ServerTls:
        """For an etcd on 127.0.0.1, which takes nobody without a certificate."""
        cert, key = self.issue("etcd", "127.0.0.1")
        return devserver.ServerTls(cacert=self.cacert, cert=cert, key=key)

    def access(self, user: str, *endpoints: str) -> Access:
        """How somebody comes to etcd whose common name is ``user``."""
        cert, key = self.issue(f"etcd-{user}", "client.test", common_name=user)
        return Access(endpoints=endpoints, cacert=self.cacert, cert=cert, key=key)


def fingerprint(pem: Path) -> str:
    """As ``openssl x509 -fingerprint -sha256`` says it."""
    body = "".join(pem.read_text().split("-----")[2].split())
    digest = hashlib.sha256(base64.b64decode(body)).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, 64, 2))

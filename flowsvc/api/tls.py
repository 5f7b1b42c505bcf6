"""TLS on both sides of the API: files of PEM, read again when they change."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import grpc
import msgspec

from flowsvc.errors import Finding, InvalidInput
from flowsvc.reread import Reread

__all__ = ["Credentials", "Pems", "ServerTls"]


class ServerTls:
    """What a server shows (``cert``: the chain, ``key``: its key), and whose certificates it takes.

    With a ``client_ca`` every client has to show one of it. ``connection_s``: how old a connection
    may grow before it is made anew, when certificates are looked at again (give or take a tenth);
    what runs on it gets a minute more. Each new connection gets what the files hold then.

    Raises OSError, and :class:`InvalidInput` where the files do not fit together.
    """

    def __init__(
        self, *, cert: Path, key: Path, client_ca: Path | None = None, connection_s: float = 600.0
    ) -> None:
        self._cert, self._key, self.client_ca = cert, key, client_ca
        self.connection_s = connection_s
        files = [file for file in (cert, key, client_ca) if file]
        self.certificates = Reread("certificates", files, self._read)

    def credentials(self) -> grpc.ServerCredentials:
        """As gRPC has them."""
        used = self.certificates()

        def changed() -> grpc.ServerCertificateConfiguration | None:
            """What the next connections get, where that is something else."""
            nonlocal used
            before, used = used, self.certificates()
            return used if used is not before else None

        return grpc.dynamic_ssl_server_credentials(
            used,
            changed,  # type: ignore[arg-type] # None is documented, and not in the stubs
            require_client_authentication=self.client_ca is not None,
        )

    def _read(self) -> grpc.ServerCertificateConfiguration:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # Without a password it would ask for one, at the terminal, of a key that has one.
            context.load_cert_chain(self._cert, self._key, password="")
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
        except ssl.SSLError as error:
            said = f"cert, key and client-ca do not fit together: {error.reason or 'no PEM'}"
            raise InvalidInput("TLS", [Finding("$", said)]) from error
        ca = self.client_ca.read_bytes() if self.client_ca is not None else None
        return grpc.ssl_server_certificate_configuration(
            [(self._key.read_bytes(), self._cert.read_bytes())], ca
        )


class Pems(NamedTuple):
    """What the files of a client hold, in the order in which gRPC takes them."""

    cacert: bytes | None
    key: bytes | None
    cert: bytes | None


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """How a client comes to a server over TLS: whom it trusts, and what it shows.

    ``cacert``: the authorities of the server (``None``: the system's). ``cert`` and ``key`` are its
    own certificate, ``token_file`` holds a bearer token; either or both may be asked for. Files are
    read again: the token's when it changes, the others when a connection has failed.
    """

    cacert: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    token_file: Path | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError("a client certificate and its key come together (cert and key)")

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Credentials | None:
        """From ``FLOWCTL_CACERT``, ``_CERT``, ``_KEY``, ``_TOKEN_FILE``; ``None`` without any.

        Raises ValueError where they do not fit together.
        """
        named = {
            field: Path(value)
            for field in cls.__struct_fields__
            if (value := environ.get(f"FLOWCTL_{field.upper()}"))
        }
        return cls(**named) if named else None

    def pems(self) -> Pems:
        """What the files hold now. Raises :class:`InvalidInput` for one that cannot be read."""
        return Pems(*(_content(name, getattr(self, name)) for name in Pems._fields))

    def token(self) -> str:
        """The token as it stands now. Raises :class:`InvalidInput` where it cannot be read."""
        content = _content("token_file", self.token_file) or b""
        return content.decode(errors="replace").strip()


def _content(name: str, path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path is not None else None
    except OSError as error:
        raise InvalidInput("credentials", [Finding(f"$.{name}", f"{error.strerror}")]) from error

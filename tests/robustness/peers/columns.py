"""The clients of the table, and where each is installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["COLUMNS", "OURS", "REPOSITORY", "Column"]

REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True)
class Column:
    """``module`` (of ``clients``) drives it; ``peer`` is its folder below ``.peers``, if any."""

    name: str
    module: str
    peer: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path | None:
        return REPOSITORY / ".peers" / self.peer if self.peer else None

    @property
    def installed(self) -> bool:
        return self.folder is None or (self.folder / ".ready").exists()

    @property
    def title(self) -> str:
        """Its name, and its version where that is not the one of what is around it."""
        if self.folder is None or not self.installed:
            return self.name
        (found,) = self.folder.glob(f"{self.peer.replace('-', '_')}-*.dist-info")
        return f"{self.name} {found.name.removesuffix('.dist-info').rpartition('-')[2]}"


OURS = Column(name="kvconfig", module="kvconfig_client")
COLUMNS = (
    OURS,
    Column(name="aetcd", module="aetcd_client", peer="aetcd"),
    Column(name="python3-etcd3", module="etcd3_client", peer="python3-etcd3"),
    Column(
        name="etcd3",
        module="etcd3_client",
        peer="etcd3",
        # With a protobuf of today it imports in no other way.
        environ={"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
    ),
    Column(name="etcd3aio", module="etcd3aio_client", peer="etcd3aio"),
    Column(name="etcdctl", module="etcdctl_client"),
)

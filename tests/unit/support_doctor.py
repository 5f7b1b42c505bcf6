"""An etcd that is well, as facts; and how to make it sick."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from flowsvc.doctor import Endpoint, Facts, InstanceFacts, Unknown
from flowsvc.status import FlowStatus
from kvconfig.etcd.server import Grant, ListedMember, Member, Published
from kvconfig.keys import prefix
from kvconfig.keyspace import Keyspace
from kvconfig.model import Revision
from kvconfig.records import LAYOUT_VERSION, InstanceStatus, VariantFailure

MIB, DAY_S = 2**20, 86_400.0
SPACE = Keyspace()
NEW = "3.6.14"
NO = Unknown("no answer within 5 s")


def member(at: int, **fields: Any) -> Member:
    said = {
        "endpoint": f"e{at}:2379",
        "version": NEW,
        "member_id": at,
        "cluster_id": 99,
        "leader": at == 1,
        "has_leader": True,
        "revision": 5_000,
        "raft_index": 9_000,
        "raft_applied": 9_000,
        "db_size": 100 * MIB,
        "db_in_use": 90 * MIB,
        "quota": 2048 * MIB,
    }
    return Member(**{**said, **fields})


def endpoint(at: int, **fields: Any) -> Endpoint:
    said = {
        "name": f"e{at}:2379",
        "secure": True,
        "loopback": False,
        "answer_s": 0.02,
        "member": member(at),
        "read_s": 0.001,
        "linearizable_s": 0.002,
        "watch_s": 0.4,
        "published": Published(
            member=member(at),
            fsync_s=0.001,
            compacted_at_s=400 * DAY_S - 60,
            certificate_until_s=500 * DAY_S,
        ),
    }
    return Endpoint(**{**said, **fields})


def dead(at: int) -> Endpoint:
    return Endpoint(name=f"e{at}:2379", secure=True, loopback=False, answer_s=NO)


def listed(at: int, **fields: Any) -> ListedMember:
    said = {"member_id": at, "name": f"m{at}", "endpoints": (f"https://e{at}:2379",)}
    return ListedMember(**{**said, **fields})


def instance(name: str = "i1", **fields: Any) -> InstanceFacts:
    said = {
        "processor": "chunker",
        "name": name,
        "mod_revision": Revision(100),
        "leased": True,
        "status": status(),
        "newest": Revision(90),
    }
    return InstanceFacts(**{**said, **fields})


def status(observed: int = 90, **failed: VariantFailure) -> InstanceStatus:
    return InstanceStatus(
        observed_revision=observed, failed=failed, host="h", started="", version=""
    )


def flow(name: str, state: Any = "running", missing: tuple[str, ...] = ()) -> FlowStatus:
    return FlowStatus(flow=name, state=state, mod_revision=Revision(7), missing=missing)


WELL = Facts(
    now_s=400 * DAY_S,
    keyspace=SPACE,
    endpoints=(endpoint(1), endpoint(2), endpoint(3)),
    user="ann",
    certificate=True,
    settle_s=3.0,
    members=(listed(1), listed(2), listed(3)),
    alarms=(),
    compacted=Revision(4_000),
    auth=True,
    grants=(Grant(range=prefix(b"/"), read=True, write=True),),
    commit_s=0.01,
    layout=LAYOUT_VERSION,
    instances=(instance(),),
    flows=(flow("f1"), flow("f2", "paused")),
    anomalies=(),
    keys=400,
    history=100,
)


def with_(**fields: Any) -> Facts:
    return structs.replace(WELL, **fields)


def with_first(**fields: Any) -> Facts:
    """The first member says something else."""
    first = structs.replace(WELL.endpoints[0], member=member(1, **fields))
    return with_(endpoints=(first, *WELL.endpoints[1:]))


def published(**fields: Any) -> Facts:
    """The first member publishes something else."""
    numbers = structs.replace(WELL.endpoints[0].published, **fields)
    first = structs.replace(WELL.endpoints[0], published=numbers)
    return with_(endpoints=(first, *WELL.endpoints[1:]))

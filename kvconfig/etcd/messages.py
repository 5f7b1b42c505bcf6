"""Our words ↔ etcd's messages. Nothing else in the project knows both."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.etcd.server import Alarm, Grant, ListedMember, Member
from kvconfig.keys import Range, everything, one
from kvconfig.model import Event, KeyValue, Revision, WatchBatch
from kvconfig.txn import (
    Commit,
    DeleteResult,
    Operation,
    Put,
    PutResult,
    Read,
    ReadResult,
    Result,
    Txn,
)

__all__ = [
    "alarm_of",
    "batches_of",
    "commit_of",
    "grant_of",
    "key_value",
    "listed_member",
    "member_of",
    "permission_of",
    "range_request",
]

_KeyValue: Callable[[bytes, bytes, int, int, int, int], KeyValue] = KeyValue  # type: ignore[assignment]
"""To call ``Revision`` and ``LeaseId`` for each number, as types ask, takes as long as all else."""

_DELETE = pb.Event.DELETE


def key_value(kv: pb.KeyValue) -> KeyValue:
    """A key as the store port gives it."""
    return _KeyValue(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def range_request(read: Read) -> pb.RangeRequest:
    """A read."""
    return pb.RangeRequest(
        key=read.key,
        range_end=read.end,
        limit=read.limit,
        revision=read.revision,
        keys_only=read.keys_only,
    )


def commit_of(response: pb.TxnResponse, txn: Txn) -> Commit:
    """The answer to ``txn``; only the outermost header carries the revision (measured)."""
    return _commit(response, txn, Revision(response.header.revision))


def batches_of(events: Iterable[pb.Event]) -> Iterator[WatchBatch]:
    """The events of a watch, in order, all of a revision together."""
    revision = 0
    batch: list[Event] = []
    for event in events:
        kv = key_value(event.kv)
        if kv.mod_revision != revision:
            if batch:
                yield WatchBatch(Revision(revision), tuple(batch))
            revision, batch = kv.mod_revision, []
        batch.append(Event(kv.key, None if event.type == _DELETE else kv))
    if batch:
        yield WatchBatch(Revision(revision), tuple(batch))


def member_of(endpoint: str, status: pb.StatusResponse) -> Member:
    """A member that told its status."""
    # As text, among other complaints: "memberID:10276657743932975437 alarm:NOSPACE".
    said = re.findall(r"memberID:(\d+) alarm:(\w+)", "\n".join(status.errors))
    return Member(
        endpoint=endpoint,
        version=status.version,
        member_id=status.header.member_id,
        cluster_id=status.header.cluster_id,
        leader=status.leader == status.header.member_id,
        has_leader=status.leader != 0,
        learner=status.isLearner,
        revision=status.header.revision,
        raft_index=status.raftIndex,
        raft_applied=status.raftAppliedIndex,
        db_size=status.dbSize,
        db_in_use=status.dbSizeInUse,
        quota=status.dbSizeQuota,
        alarms=tuple(Alarm(kind, int(member)) for member, kind in said),
    )


def alarm_of(alarm: pb.AlarmMember) -> Alarm:
    """An alarm that is on."""
    return Alarm(pb.AlarmMember.AlarmType.Name(alarm.alarm), alarm.memberID)


def listed_member(member: pb.Member) -> ListedMember:
    """A member of the cluster, as all of them know it."""
    return ListedMember(
        member_id=member.ID,
        name=member.name,
        endpoints=tuple(member.clientURLs),
        learner=member.isLearner,
    )


def grant_of(permission: pb.Permission) -> Grant:
    """A permission of a role. Without an end it is for one key, with the end NUL from it on."""
    key, end = permission.key, permission.range_end
    range_ = one(key) if not end else Range(key, everything().end if end == b"\0" else end)
    read = permission.permType != pb.Permission.WRITE
    return Grant(range=range_, read=read, write=permission.permType != pb.Permission.READ)


def permission_of(grant: Grant) -> pb.Permission:
    """The inverse of :func:`grant_of`. Raises ValueError for a grant of nothing."""
    if not (grant.read or grant.write):
        raise ValueError("neither to read nor to write is no permission")
    kind = pb.Permission.READWRITE if grant.read else pb.Permission.WRITE
    start, end = grant.range.start, grant.range.end
    return pb.Permission(
        permType=kind if grant.write else pb.Permission.READ,
        key=start,
        range_end=b"" if grant.range == one(start) else end,
    )


def _commit(response: pb.TxnResponse, txn: Txn, revision: Revision) -> Commit:
    ops = txn.then if response.succeeded else txn.otherwise
    results = tuple(
        [
            _PUT if isinstance(op, Put) else _result(op, result, revision)
            for op, result in zip(ops, response.responses, strict=True)
        ]
    )
    return Commit(response.succeeded, revision, results)


_PUT = PutResult()
"""Of a put nothing is told: it is the same for all of them."""


def _result(op: Operation, result: pb.ResponseOp, revision: Revision) -> Result:
    if isinstance(op, Read):
        found = result.response_range
        return ReadResult(tuple([key_value(kv) for kv in found.kvs]), found.count)
    if isinstance(op, Txn):
        return _commit(result.response_txn, op, revision)
    return DeleteResult(result.response_delete_range.deleted)

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
    Compare,
    Delete,
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
    "txn_request",
]

_TARGETS = {
    "version": pb.Compare.VERSION,
    "create_revision": pb.Compare.CREATE,
    "mod_revision": pb.Compare.MOD,
    "value": pb.Compare.VALUE,
}
_RESULTS = {
    "=": pb.Compare.EQUAL,
    "!=": pb.Compare.NOT_EQUAL,
    "<": pb.Compare.LESS,
    ">": pb.Compare.GREATER,
}


_KeyValue: Callable[[bytes, bytes, int, int, int, int], KeyValue] = KeyValue  # type: ignore[assignment]
"""To call ``Revision`` and ``LeaseId`` for each number, as types ask, takes as long as all else."""

_DELETE = pb.Event.DELETE


def key_value(kv: pb.KeyValue) -> KeyValue:
    """A key as the store port gives it."""
    return _KeyValue(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def range_request(read: Read) -> pb.RangeRequest:
    """A read."""
    request = pb.RangeRequest()
    _fill_range(request, read)
    return request


def txn_request(txn: Txn) -> pb.TxnRequest:
    """A transaction, with those nested in it."""
    request = pb.TxnRequest()
    _fill(request, txn)
    return request


def commit_of(response: pb.TxnResponse) -> Commit:
    """The answer to a transaction; only the outermost header carries the revision (measured)."""
    return _commit(response, Revision(response.header.revision))


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


def _fill(request: pb.TxnRequest, txn: Txn) -> None:
    """In place: a message that is built by itself and put into another is copied."""
    for compare in txn.compares:
        _fill_compare(request.compare.add(), compare)
    for op in txn.then:
        _fill_op(request.success.add(), op)
    for op in txn.otherwise:
        _fill_op(request.failure.add(), op)


def _fill_compare(message: pb.Compare, compare: Compare) -> None:
    message.key = compare.key
    message.target = _TARGETS[compare.target]
    message.result = _RESULTS[compare.op]
    if compare.end:
        message.range_end = compare.end
    setattr(message, compare.target, compare.value)


def _fill_op(message: pb.RequestOp, op: Operation) -> None:
    if isinstance(op, Put):
        put = message.request_put
        put.key, put.value = op.key, op.value
        if op.lease:
            put.lease = op.lease
    elif isinstance(op, Delete):
        delete = message.request_delete_range
        delete.key = op.key
        if op.end:
            delete.range_end = op.end
    elif isinstance(op, Read):
        _fill_range(message.request_range, op)
    else:
        _fill(message.request_txn, op)


def _fill_range(message: pb.RangeRequest, read: Read) -> None:
    message.key = read.key
    if read.end:
        message.range_end = read.end
    if read.limit:
        message.limit = read.limit
    if read.revision:
        message.revision = read.revision
    if read.keys_only:
        message.keys_only = True


def _commit(response: pb.TxnResponse, revision: Revision) -> Commit:
    results = tuple(_result(op, revision) for op in response.responses)
    return Commit(response.succeeded, revision, results)


def _result(op: pb.ResponseOp, revision: Revision) -> Result:
    kind = op.WhichOneof("response")
    if kind == "response_put":
        return PutResult()
    if kind == "response_delete_range":
        return DeleteResult(op.response_delete_range.deleted)
    if kind == "response_range":
        found = op.response_range
        return ReadResult(tuple(key_value(kv) for kv in found.kvs), found.count)
    return _commit(op.response_txn, revision)

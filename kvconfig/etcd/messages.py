"""Our words ↔ etcd's messages. Nothing else in the project knows both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.model import Event, KeyValue, LeaseId, Revision
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

__all__ = ["commit_of", "events_of", "key_value", "range_request", "txn_request"]

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


def key_value(kv: pb.KeyValue) -> KeyValue:
    """A key as the store port gives it."""
    return KeyValue(
        kv.key,
        kv.value,
        Revision(kv.create_revision),
        Revision(kv.mod_revision),
        kv.version,
        LeaseId(kv.lease),
    )


def range_request(read: Read) -> pb.RangeRequest:
    """A read."""
    return pb.RangeRequest(
        key=read.key,
        range_end=read.end,
        limit=read.limit,
        revision=read.revision,
        keys_only=read.keys_only,
    )


def txn_request(txn: Txn) -> pb.TxnRequest:
    """A transaction, with those nested in it."""
    return pb.TxnRequest(
        compare=[_compare(compare) for compare in txn.compares],
        success=[_request_op(op) for op in txn.then],
        failure=[_request_op(op) for op in txn.otherwise],
    )


def commit_of(response: pb.TxnResponse) -> Commit:
    """The answer to a transaction; only the outermost header carries the revision (measured)."""
    return _commit(response, Revision(response.header.revision))


def events_of(events: Iterable[pb.Event]) -> Iterable[tuple[Revision, Event]]:
    """Each event of a watch response with the revision it happened at."""
    for event in events:
        kv = event.kv
        if event.type == pb.Event.DELETE:
            yield Revision(kv.mod_revision), Event(kv.key, None)
        else:
            yield Revision(kv.mod_revision), Event(kv.key, key_value(kv))


def _compare(compare: Compare) -> pb.Compare:
    union: dict[str, Any] = {compare.target: compare.value}
    return pb.Compare(
        key=compare.key,
        range_end=compare.end,
        target=_TARGETS[compare.target],
        result=_RESULTS[compare.op],
        **union,
    )


def _request_op(op: Operation) -> pb.RequestOp:
    if isinstance(op, Put):
        put = pb.PutRequest(key=op.key, value=op.value, lease=op.lease)
        return pb.RequestOp(request_put=put)
    if isinstance(op, Delete):
        delete = pb.DeleteRangeRequest(key=op.key, range_end=op.end)
        return pb.RequestOp(request_delete_range=delete)
    if isinstance(op, Read):
        return pb.RequestOp(request_range=range_request(op))
    return pb.RequestOp(request_txn=txn_request(op))


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

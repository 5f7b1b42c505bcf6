"""The bytes of a transaction: protobuf's, made without protobuf."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.model import LeaseId, Revision
from kvconfig.txn import Compare, Delete, Operation, Put, Read, Txn
from kvconfig.wire import txn_bytes

RESULTS = {"=": "EQUAL", "!=": "NOT_EQUAL", "<": "LESS", ">": "GREATER"}
TARGETS = {
    "version": "VERSION",
    "create_revision": "CREATE",
    "mod_revision": "MOD",
    "value": "VALUE",
}


def message(txn: Txn) -> pb.TxnRequest:
    """The same, as protobuf is meant to be used."""
    made = pb.TxnRequest()
    for compare in txn.compares:
        made.compare.add(
            key=compare.key,
            range_end=compare.end,
            target=TARGETS[compare.target],
            result=RESULTS[compare.op],
            **{compare.target: compare.value},
        )
    made.success.extend(map(operation, txn.then))
    made.failure.extend(map(operation, txn.otherwise))
    return made


def operation(op: Operation) -> pb.RequestOp:
    match op:
        case Put(key, value, lease):
            return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, lease=lease))
        case Delete(key, end):
            delete = pb.DeleteRangeRequest(key=key, range_end=end)
            return pb.RequestOp(request_delete_range=delete)
        case Read(key, end, limit, keys_only, revision):
            read = pb.RangeRequest(
                key=key, range_end=end, limit=limit, keys_only=keys_only, revision=revision
            )
            return pb.RequestOp(request_range=read)
        case Txn():
            return pb.RequestOp(request_txn=message(op))


TEXTS = st.binary(max_size=3) | st.sampled_from([120, 126, 127, 128, 16_400]).map(bytes)
NUMBERS = st.sampled_from([0, 1, 127, 128, 2**62, -1]) | st.integers(-(2**63), 2**63 - 1)
OPS = st.sampled_from(["=", "!=", "<", ">"])
COMPARES = st.one_of(
    st.builds(
        Compare,
        TEXTS,
        st.sampled_from(["version", "create_revision", "mod_revision"]),
        OPS,
        NUMBERS,
        TEXTS,
    ),
    st.builds(Compare, TEXTS, st.just("value"), OPS, TEXTS, TEXTS),
)
LEAVES = st.one_of(
    st.builds(Put, TEXTS, TEXTS, NUMBERS.map(LeaseId)),
    st.builds(Delete, TEXTS, TEXTS),
    st.builds(Read, TEXTS, TEXTS, NUMBERS, st.booleans(), NUMBERS.map(Revision)),
)


def txns(ops: st.SearchStrategy[Operation]) -> st.SearchStrategy[Txn]:
    some = st.lists(ops, max_size=3).map(tuple)
    return st.builds(Txn, st.lists(COMPARES, max_size=3).map(tuple), some, some)


@given(txns(st.recursive(LEAVES, txns, max_leaves=4)))
def test_the_bytes_are_those_that_protobuf_makes(txn: Txn) -> None:
    """Of any transaction: whatever it compares, does and nests, and however long that is."""
    assert txn_bytes(txn) == message(txn).SerializeToString()


@pytest.mark.parametrize(
    "compare", [Compare(b"k", "value", "=", 1), Compare(b"k", "version", "=", b"1")]
)
def test_a_number_is_not_compared_with_bytes(compare: Compare) -> None:
    """It is a mistake in the program, and says so."""
    with pytest.raises(TypeError):
        txn_bytes(Txn((compare,)))

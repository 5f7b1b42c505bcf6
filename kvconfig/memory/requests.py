"""What etcd refuses before it looks at any key: limits, and keys written twice. Pure.

The rules are etcd's own, their odd corners included (``checkTxnRequest`` and ``checkIntervals`` in
``server/etcdserver/api/v3rpc/key.go``), because whoever plans a transaction has to meet them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kvconfig.errors import DuplicateKey, RequestRefused, RequestTooLarge, TooManyOperations
from kvconfig.txn import MAX_OPERATIONS, Compare, Delete, Operation, Put, Read, Txn

__all__ = ["MAX_READ_BYTES", "MAX_REQUEST_BYTES", "check_key", "check_txn", "encoded_size", "puts"]

MAX_REQUEST_BYTES = 1536 * 1024
"""etcd's default ``--max-request-bytes``, for all that goes through its log."""

MAX_READ_BYTES = MAX_REQUEST_BYTES + 512 * 1024
"""What its gRPC server takes at all: the limit of transactions that only read."""

_LOG_ENTRY_BYTES = 20
"""What etcd's log puts around a request; it varies by a few bytes with the request's id."""


def check_key(key: bytes) -> None:
    """Every request names a key."""
    if not key:
        raise RequestRefused("etcdserver: key is not provided")


def check_txn(txn: Txn) -> None:
    """Raises what etcd refuses ``txn`` with, in etcd's order, whatever the store holds."""
    _check_limits(txn, MAX_OPERATIONS)
    _written(txn.then)
    _written(txn.otherwise)
    reads_only = all(isinstance(op, Read) for op in (*txn.then, *txn.otherwise))
    size = encoded_size(txn) + (0 if reads_only else _LOG_ENTRY_BYTES)
    limit = MAX_READ_BYTES if reads_only else MAX_REQUEST_BYTES
    if size > limit:
        raise RequestTooLarge(size=size, limit=limit)


def puts(txn: Txn) -> bool:
    """Whether any branch, on any level, holds a put: what a store out of space refuses."""
    return any(
        puts(op) if isinstance(op, Txn) else isinstance(op, Put)
        for op in (*txn.then, *txn.otherwise)
    )


def _check_limits(txn: Txn, limit: int) -> None:
    """``limit`` is what the levels above left over."""
    width = max(len(txn.compares), len(txn.then), len(txn.otherwise))
    if width > limit:
        raise TooManyOperations(count=width, limit=limit)
    for compare in txn.compares:
        check_key(compare.key)
        if isinstance(compare.value, bytes) is not (compare.target == "value"):
            raise TypeError(f"{compare.target} cannot be compared with {compare.value!r}")
    for op in (*txn.then, *txn.otherwise):
        if isinstance(op, Txn):
            _check_limits(op, limit - width)
        else:
            check_key(op.key)


class _Deletes:
    """Deletes seen so far. A delete of all keys from one on is not among them, as in etcd."""

    def __init__(self, ops: Iterable[Operation]) -> None:
        found = [op for op in ops if isinstance(op, Delete)]
        self._keys = {op.key for op in found if not op.end}
        self._ranges = [(op.key, op.end) for op in found if op.end]

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys or any(start <= key < end for start, end in self._ranges)

    def add(self, other: _Deletes) -> None:
        self._keys |= other._keys
        self._ranges += other._ranges


def _written(ops: Sequence[Operation]) -> tuple[set[bytes], _Deletes]:
    """The keys that one branch puts and deletes, on all levels.

    Raises :class:`DuplicateKey` for a key put twice, or put and deleted, unless only one of the two
    can happen. etcd looks at nested transactions in order and checks the puts of each against the
    deletes of those *before* it: put in one and delete in a later one passes. Here too.
    """
    deletes = _Deletes(ops)
    written: set[bytes] = set()
    for op in ops:
        if isinstance(op, Txn):
            then_puts, then_deletes = _written(op.then)
            else_puts, else_deletes = _written(op.otherwise)
            _check_apart(then_puts, written, deletes)
            _check_apart(else_puts, written, deletes)
            written |= then_puts | else_puts
            deletes.add(then_deletes)
            deletes.add(else_deletes)
    for op in ops:
        if isinstance(op, Put):
            _check_apart({op.key}, written, deletes)
            written.add(op.key)
    return written, deletes


def _check_apart(new: set[bytes], written: set[bytes], deletes: _Deletes) -> None:
    if not new.isdisjoint(written) or any(key in deletes for key in new):
        raise DuplicateKey


# -- size on the wire: protobuf's, counted without making the message -----------------------------


def encoded_size(txn: Txn) -> int:
    """The bytes of the request on the wire."""
    return sum(_nested(_compare_size(compare)) for compare in txn.compares) + sum(
        _nested(_nested(_op_size(op))) for op in (*txn.then, *txn.otherwise)
    )


def _compare_size(compare: Compare) -> int:
    enums = 2 * (compare.op != "=") + 2 * (compare.target != "version")
    value = compare.value
    held = _nested(len(value)) if isinstance(value, bytes) else 1 + _varint(value)
    end = 1 + _nested(len(compare.end)) if compare.end else 0  # its field number takes two bytes
    return enums + _bytes(compare.key) + held + end


def _op_size(op: Operation) -> int:
    if isinstance(op, Txn):
        return encoded_size(op)
    if isinstance(op, Put):
        return _bytes(op.key) + _bytes(op.value) + _number(op.lease)
    size = _bytes(op.key) + _bytes(op.end)
    if isinstance(op, Read):
        size += _number(op.limit) + _number(op.revision) + 2 * op.keys_only
    return size


def _nested(size: int) -> int:
    return 1 + _varint(size) + size


def _bytes(value: bytes) -> int:
    return _nested(len(value)) if value else 0


def _number(value: int) -> int:
    return 1 + _varint(value) if value else 0


def _varint(value: int) -> int:
    return max(1, (value.bit_length() + 6) // 7) if value >= 0 else 10

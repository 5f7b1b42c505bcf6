"""What etcd refuses before it looks at any key: limits, and keys written twice. Pure.

The rules are etcd's own, their odd corners included (``checkTxnRequest`` and ``checkIntervals`` in
``server/etcdserver/api/v3rpc/key.go``), because whoever plans a transaction has to meet them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kvconfig.errors import DuplicateKey, RequestRefused, RequestTooLarge, TooManyOperations
from kvconfig.txn import MAX_OPERATIONS, Delete, Operation, Put, Read, Txn
from kvconfig.wire import txn_bytes

__all__ = ["MAX_READ_BYTES", "MAX_REQUEST_BYTES", "check_key", "check_txn", "puts"]

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
    size = len(txn_bytes(txn)) + (0 if reads_only else _LOG_ENTRY_BYTES)
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

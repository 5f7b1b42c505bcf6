"""Transactions as etcd reads them: the bytes of a ``TxnRequest``, made without a message. Pure.

What protobuf puts around keys and values depends on their lengths alone: a field is a tag, and then
a number, or a length and so many bytes (https://protobuf.dev/programming-guides/encoding). The
start of a flow is 130 small messages inside each other, of a few lengths; so what stands before a
key is remembered by length, and everything is joined once. To have protobuf make an object of each,
and bytes of them afterwards, takes twice as long. And how large a request is has to be known where
none is sent, too.

Field numbers are etcd's, as in ``etcd/rpc.proto``; fields that are zero or empty are left out.
"""

from __future__ import annotations

from functools import lru_cache

from kvconfig.txn import Compare, Delete, Operation, Put, Read, Txn

__all__ = ["txn_bytes"]

_REMEMBERED = 4096
"""Of each kind of pieces, which take some fifty bytes each."""

_COMPARE, _SUCCESS, _FAILURE = 1, 2, 3
_RANGE, _PUT, _DELETE_RANGE, _TXN = 1, 2, 3, 4
_RESULTS = {"=": 0, ">": 1, "<": 2, "!=": 3}
_TARGETS = {"version": 0, "create_revision": 1, "mod_revision": 2, "value": 3}


def txn_bytes(txn: Txn) -> bytes:
    """The transaction, with those nested in it.

    Raises TypeError for a compare of a number with bytes, a mistake in the program.
    """
    pieces: list[bytes] = []
    for compare in txn.compares:
        key, rest = compare.key, _compared(compare)
        pieces += (_before_compared(compare.op, compare.target, len(key), len(rest)), key, rest)
    for branch, ops in ((_SUCCESS, txn.then), (_FAILURE, txn.otherwise)):
        for op in ops:
            pieces += _operation(branch, op)
    return b"".join(pieces)


def _operation(branch: int, op: Operation) -> tuple[bytes, ...]:
    """A ``RequestOp`` in one of the branches."""
    if isinstance(op, Put):
        key, value = op.key, op.value
        middle = _before_bytes(2, len(value)) if value else b""
        lease = _number(3, op.lease) if op.lease else b""
        size = len(middle) + len(value) + len(lease)
        return _before_key(branch, _PUT, len(key), size), key, middle, value, lease
    if isinstance(op, Read):
        rest = _range(op)
        return _before_key(branch, _RANGE, len(op.key), len(rest)), op.key, rest
    if isinstance(op, Delete):
        rest = _bytes(2, op.end)
        return _before_key(branch, _DELETE_RANGE, len(op.key), len(rest)), op.key, rest
    nested = txn_bytes(op)
    return _inside((branch, _TXN), b"", len(nested)), nested


def _compared(compare: Compare) -> bytes:
    """What stands after the key of a compare."""
    number, value = _TARGETS[compare.target] + 4, compare.value
    if isinstance(value, bytes) is not (compare.target == "value"):
        raise TypeError(f"{compare.target} cannot be compared with {value!r}")
    if isinstance(value, bytes):
        held = _before_bytes(number, len(value)) + value
    else:
        held = _tag(number, 0) + _varint(value)
    return held + _bytes(64, compare.end) if compare.end else held


def _range(read: Read) -> bytes:
    """What stands after the key of a read."""
    if not (read.end or read.limit or read.revision or read.keys_only):
        return b""
    numbers = _number(3, read.limit) + _number(4, read.revision) + _number(8, read.keys_only)
    return _bytes(2, read.end) + numbers


# -- what stands before keys -----------------------------------------------------------------------


@lru_cache(maxsize=_REMEMBERED)
def _before_compared(op: str, target: str, key: int, rest: int) -> bytes:
    """``key`` and ``rest``, which is what stands after the key, are lengths here and below."""
    how = _number(1, _RESULTS[op]) + _number(2, _TARGETS[target])
    return _inside((_COMPARE,), how + (_before_bytes(3, key) if key else b""), key + rest)


@lru_cache(maxsize=_REMEMBERED)
def _before_key(branch: int, operation: int, key: int, rest: int) -> bytes:
    return _inside((branch, operation), _before_bytes(1, key) if key else b"", key + rest)


def _inside(numbers: tuple[int, ...], first: bytes, rest: int) -> bytes:
    """What stands before a message that is in a field of a message, and so on, ``numbers`` from
    the outermost in; and of it the ``first`` bytes. So many more are the ``rest``."""
    for number in reversed(numbers):
        first = _before_bytes(number, len(first) + rest) + first
    return first


# -- fields ----------------------------------------------------------------------------------------


@lru_cache(maxsize=_REMEMBERED)
def _before_bytes(number: int, length: int) -> bytes:
    return _tag(number, 2) + _varint(length)


def _bytes(number: int, value: bytes) -> bytes:
    return _before_bytes(number, len(value)) + value if value else b""


def _number(number: int, value: int) -> bytes:
    return _tag(number, 0) + _varint(value) if value else b""


@lru_cache(maxsize=_REMEMBERED)
def _tag(number: int, kind: int) -> bytes:
    """``kind`` is 0 for a number, 2 for so many bytes."""
    return _varint(number << 3 | kind)


@lru_cache(maxsize=_REMEMBERED)
def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; a negative one as the 64 bits that it is."""
    left, groups = value & (1 << 64) - 1, bytearray()
    while left > 0x7F:
        groups.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*groups, left])

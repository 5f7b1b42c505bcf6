"""A transaction is a value: it can be compared, counted, printed, and sent as often as one likes.

Build one from :class:`Compare` and the operations below, give it to ``Store.commit``. Large ones
are put together by :func:`assemble`, which nests what does not fit side by side.

All these are immutable and so never refer to themselves; they are kept out of the garbage
collector's books (``gc=False``), which a plan of hundreds of them would make run again and again.

Compares of nested transactions are evaluated against the state *before* the whole transaction
(etcd's rule, measured), so a guard means the same on every level.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import msgspec

from kvconfig.errors import TooManyOperations, show_key
from kvconfig.keys import Range
from kvconfig.model import KeyValue, LeaseId, Revision

__all__ = [
    "MAX_OPERATIONS",
    "Commit",
    "Compare",
    "Delete",
    "DeleteResult",
    "Guarded",
    "Operation",
    "Put",
    "PutResult",
    "Read",
    "ReadResult",
    "Result",
    "Txn",
    "abort",
    "absent",
    "assemble",
    "at_revision",
    "capacity",
    "empty",
    "exists",
    "holds",
    "may_write",
    "not_created_after",
    "not_newer",
    "write_count",
]

MAX_OPERATIONS = 128
"""etcd's default ``--max-txn-ops``; a transaction counts max(compares, success, failure)."""


class Compare(msgspec.Struct, frozen=True, gc=False):
    """``target`` of ``key`` (of every key up to ``end``, where given) ``is`` ``value``.

    An absent key has create_revision, mod_revision and version 0; comparing the *value* of an
    absent key never holds.
    """

    key: bytes
    target: Literal["create_revision", "mod_revision", "version", "value"]
    op: Literal["=", "!=", "<", ">"]
    value: int | bytes
    end: bytes = b""

    def __str__(self) -> str:
        where = str(Range(self.key, self.end)) if self.end else show_key(self.key)
        value = f"<{len(self.value)} bytes>" if isinstance(self.value, bytes) else self.value
        return f"{self.target}({where}) {self.op} {value}"


class Put(msgspec.Struct, frozen=True, gc=False):
    """Set a key."""

    key: bytes
    value: bytes
    lease: LeaseId = LeaseId(0)

    def __str__(self) -> str:
        return f"put {show_key(self.key)} {self.value.decode('utf-8', 'backslashreplace')}"


class Delete(msgspec.Struct, frozen=True, gc=False):
    """Remove a key, or all from ``key`` up to ``end``."""

    key: bytes
    end: bytes = b""

    def __str__(self) -> str:
        return f"del {Range(self.key, self.end) if self.end else show_key(self.key)}"


class Read(msgspec.Struct, frozen=True, gc=False):
    """Read a key, or up to ``limit`` (0: all) from ``key`` up to ``end``."""

    key: bytes
    end: bytes = b""
    limit: int = 0
    keys_only: bool = False
    revision: Revision = Revision(0)

    def __str__(self) -> str:
        return f"get {Range(self.key, self.end) if self.end else show_key(self.key)}"


class Txn(msgspec.Struct, frozen=True, gc=False):
    """If all ``compares`` hold do ``then``, otherwise do ``otherwise``: at one revision."""

    compares: tuple[Compare, ...] = ()
    then: tuple[Operation, ...] = ()
    otherwise: tuple[Operation, ...] = ()

    def __str__(self) -> str:
        return "\n".join(_lines(self, ""))


Operation: TypeAlias = Put | Delete | Read | Txn


class PutResult(msgspec.Struct, frozen=True, gc=False):
    """A put was done."""


class DeleteResult(msgspec.Struct, frozen=True, gc=False):
    """``deleted`` keys were removed."""

    deleted: int


class ReadResult(msgspec.Struct, frozen=True, gc=False):
    """``items`` in key order; ``count`` says how many there are, ``limit`` or not."""

    items: tuple[KeyValue, ...]
    count: int


class Commit(msgspec.Struct, frozen=True, gc=False):
    """The answer to a transaction: which branch ran, at which revision, with which results.

    ``revision`` is the store's after the transaction; nested ones repeat it.
    """

    succeeded: bool
    revision: Revision
    results: tuple[Result, ...] = ()


Result: TypeAlias = PutResult | DeleteResult | ReadResult | Commit

_NEVER = Revision(2**62)


def abort(key: bytes) -> Read:
    """In the branch of a nested transaction: ends the *whole* one before anything is written.

    A read at a revision that cannot exist yet; etcd answers OUT_OF_RANGE (measured on 3.4 and 3.5),
    ``Store.commit`` raises :class:`kvconfig.errors.TransactionAborted`. ``key`` is one that the
    sender may read: from 3.5.33, 3.6.14 and 3.7.1 on etcd looks at rights in nested ones too.
    """
    return Read(key, revision=_NEVER)


def absent(key: bytes) -> Compare:
    """The key does not exist."""
    return Compare(key, "create_revision", "=", 0)


def exists(key: bytes) -> Compare:
    """The key exists."""
    return Compare(key, "create_revision", "!=", 0)


def at_revision(key: bytes, mod_revision: Revision) -> Compare:
    """The key was last written at ``mod_revision`` (0: it is absent)."""
    return Compare(key, "mod_revision", "=", mod_revision)


def holds(key: bytes, value: bytes) -> Compare:
    """The key exists and has exactly this value."""
    return Compare(key, "value", "=", value)


def empty(range_: Range) -> Compare:
    """No key of the range exists. etcd reads the whole range for it: keep ranges small."""
    return Compare(range_.start, "create_revision", "=", 0, range_.end)


def not_newer(range_: Range, revision: Revision) -> Compare:
    """No key of the range was written after ``revision``. etcd reads the whole range for it."""
    return Compare(range_.start, "mod_revision", "<", revision + 1, range_.end)


def not_created_after(range_: Range, revision: Revision) -> Compare:
    """No key of the range is new since ``revision``. etcd reads the whole range for it."""
    return Compare(range_.start, "create_revision", "<", revision + 1, range_.end)


class Guarded(msgspec.Struct, frozen=True, gc=False):
    """Operations and the compares that must hold for them: what must not be torn apart."""

    compares: tuple[Compare, ...] = ()
    ops: tuple[Put | Delete | Read, ...] = ()

    @property
    def weight(self) -> int:
        """How much of a transaction's limit it takes."""
        return max(len(self.compares), len(self.ops))


def assemble(
    head: Guarded,
    parts: Iterable[Guarded],
    *,
    otherwise: tuple[Read, ...] = (),
    limit: int = MAX_OPERATIONS,
) -> Txn:
    """One transaction that does ``head`` and all ``parts`` exactly when every compare holds.

    Side by side where that fits; then a compare that fails leads to the reads ``otherwise`` (left
    out where there are more than ``limit``). If it does not fit, the parts go into nested
    transactions, each with its own guards and :func:`abort` as its failure branch, and nothing is
    read. Each nested transaction may use ``limit`` less what the outer one uses.

    Raises :class:`TooManyOperations` where no such transaction fits: it is never split in two.
    """
    parts = list(parts)
    flat = _side_by_side([head, *parts])
    if _width(flat) <= limit:
        return Txn(flat.compares, flat.then, otherwise if len(otherwise) <= limit else ())
    for children in range(1, limit):
        room = limit - max(len(head.compares), len(head.ops) + children)
        groups = _pack(parts, room, children) if room > 0 else None
        if groups is not None:
            return Txn(head.compares, (*head.ops, *map(_nested, groups)))
    raise TooManyOperations(count=_width(flat), limit=capacity(head, limit=limit))


def capacity(head: Guarded, *, limit: int = MAX_OPERATIONS) -> int:
    """How many operations of parts (of weight 1) can go with ``head`` at the most."""
    best = 0
    for children in range(1, limit):
        outer = max(len(head.compares), len(head.ops) + children)
        best = max(best, children * max(0, limit - outer))
    return best


def may_write(txn: Txn) -> bool:
    """Whether some branch of it, or of one nested in it, writes."""
    ops = (*txn.then, *txn.otherwise)
    return any(may_write(op) if isinstance(op, Txn) else not isinstance(op, Read) for op in ops)


def write_count(txn: Txn) -> int:
    """How many keys the success branch writes, nested ones counted."""
    return sum(
        write_count(op) if isinstance(op, Txn) else isinstance(op, Put | Delete) for op in txn.then
    )


def _side_by_side(parts: Sequence[Guarded]) -> Txn:
    return Txn(
        tuple([compare for part in parts for compare in part.compares]),
        tuple([op for part in parts for op in part.ops]),
    )


def _width(txn: Txn) -> int:
    return max(len(txn.compares), len(txn.then))


def _pack(parts: Sequence[Guarded], room: int, most: int) -> list[list[Guarded]] | None:
    """The parts in order in at most ``most`` groups of ``room`` each, or ``None``."""
    groups: list[list[Guarded]] = []
    compares = ops = room + 1
    for part in parts:
        compares, ops = compares + len(part.compares), ops + len(part.ops)
        if max(compares, ops) > room:
            if len(groups) == most or part.weight > room:
                return None
            groups.append([])
            compares, ops = len(part.compares), len(part.ops)
        groups[-1].append(part)
    return groups


def _nested(parts: Sequence[Guarded]) -> Txn:
    flat = _side_by_side(parts)
    ops = (op for part in parts for op in part.ops)
    key = next((each.key for each in (*flat.compares, *ops)), b"\0")
    return Txn(flat.compares, flat.then, (abort(key),))


def _lines(txn: Txn, indent: str) -> Iterable[str]:
    yield f"{indent}if"
    yield from (f"{indent}  {compare}" for compare in txn.compares)
    for word, ops in (("then", txn.then), ("else", txn.otherwise)):
        if ops:
            yield f"{indent}{word}"
        for op in ops:
            if isinstance(op, Txn):
                yield from _lines(op, indent + "  ")
            else:
                yield f"{indent}  {op}"

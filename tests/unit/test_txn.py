"""Transactions as values: put together within etcd's limits, counted, printed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvconfig.errors import TooManyOperations
from kvconfig.keys import Range, prefix
from kvconfig.model import LeaseId, Revision
from kvconfig.txn import (
    MAX_OPERATIONS,
    Compare,
    Delete,
    Guarded,
    Put,
    Read,
    Txn,
    abort,
    absent,
    assemble,
    at_revision,
    capacity,
    empty,
    exists,
    holds,
    may_write,
    not_newer,
    write_count,
)


def guarded(name: str, compares: int, ops: int) -> Guarded:
    keys = [f"/{name}/{n}".encode() for n in range(max(compares, ops))]
    puts = tuple(Put(key, b"") for key in keys[:ops])
    return Guarded(tuple(absent(key) for key in keys[:compares]), puts)


def check_limits(txn: Txn, limit: int) -> None:
    """etcd's rule: a level may use what those above left, each child separately."""
    width = max(len(txn.compares), len(txn.then), len(txn.otherwise))
    assert width <= limit
    for op in (*txn.then, *txn.otherwise):
        if isinstance(op, Txn):
            check_limits(op, limit - width)


def check_whole(txn: Txn, head: Guarded, parts: Sequence[Guarded]) -> None:
    """All of head and parts is there, in order, and no part is torn apart."""
    children = [op for op in txn.then if isinstance(op, Txn)]
    if not children:
        assert txn.compares == tuple(c for part in (head, *parts) for c in part.compares)
        assert txn.then == tuple(op for part in (head, *parts) for op in part.ops)
        return
    assert txn == Txn(head.compares, (*head.ops, *children))
    for child in children:  # on a key of its own, which the sender may read
        keys = [each.key for each in (*child.compares, *child.then) if not isinstance(each, Txn)]
        assert child.otherwise == (abort(keys[0]),)
    left = list(parts)
    for child in children:
        compares: tuple[Compare, ...] = ()
        ops: tuple[Put | Delete | Read, ...] = ()
        while left and (compares, ops) != (child.compares, child.then):
            part = left.pop(0)
            compares, ops = compares + part.compares, ops + part.ops
        assert (compares, ops) == (child.compares, child.then)
    assert all(part.weight == 0 for part in left)


sizes = st.tuples(st.integers(0, 5), st.integers(0, 5))


@settings(derandomize=True, deadline=None)
@example((0, 5), [], 4, 0)
@example((5, 0), [(0, 0)], 4, 0)
@given(sizes, st.lists(sizes, max_size=40), st.integers(1, 24), st.integers(0, 30))
def test_assemble(
    head_size: tuple[int, int], part_sizes: list[tuple[int, int]], limit: int, read_count: int
) -> None:
    """Whatever is assembled is whole, in order and within the limit; flat exactly if that fits."""
    head = guarded("head", *head_size)
    parts = [guarded(f"{n}", *size) for n, size in enumerate(part_sizes)]
    reads = tuple(Read(b"%d" % n) for n in range(read_count))
    width = max(sum(size[side] for size in (head_size, *part_sizes)) for side in (0, 1))
    try:
        txn = assemble(head, parts, otherwise=reads, limit=limit)
    except TooManyOperations:
        assert width > limit
        return
    check_limits(txn, limit)
    check_whole(txn, head, parts)
    if width <= limit:
        assert txn.otherwise == (reads if read_count <= limit else ())
        assert not any(isinstance(op, Txn) for op in txn.then)


@pytest.mark.parametrize("head", [Guarded(), guarded("head", 1, 3), guarded("head", 40, 2)])
@pytest.mark.parametrize("limit", [4, 64, MAX_OPERATIONS])
def test_capacity(head: Guarded, limit: int) -> None:
    """As many single operations as ``capacity`` says fit, and not one more."""
    most = capacity(head, limit=limit)
    parts = [guarded(f"{n}", 1, 1) for n in range(most + 1)]
    if head.weight <= limit:
        check_limits(assemble(head, parts[:most], limit=limit), limit)
    with pytest.raises(TooManyOperations) as caught:
        assemble(head, [*parts, *parts[: limit + 1]], limit=limit)
    assert caught.value.limit == most


def test_most() -> None:
    """64 times 64 keys are the most, by etcd's limits; the error names count and limit."""
    parts = [guarded(f"{n}", 1, 1) for n in range(4097)]
    assert capacity(Guarded()) == 4096
    assert write_count(assemble(Guarded(), parts[:4096])) == 4096
    with pytest.raises(TooManyOperations, match=r"4097 operations, at most 4096 fit") as caught:
        assemble(Guarded(), parts)
    assert (caught.value.count, caught.value.limit) == (4097, 4096)


def test_torn_parts() -> None:
    """A part that fits into no nested transaction is refused, never torn."""
    with pytest.raises(TooManyOperations):
        assemble(Guarded(), [guarded("a", 1, 100), guarded("b", 128, 1)])
    txn = assemble(Guarded(), [guarded("a", 1, 100), guarded("b", 100, 60)])
    assert [len(op.then) for op in txn.then if isinstance(op, Txn)] == [100, 60]


@pytest.mark.parametrize(
    ("txn", "writes", "count"),
    [
        (Txn(), False, 0),
        (Txn((absent(b"a"),), (Read(b"a"),), (Read(b"a"),)), False, 0),
        (Txn(then=(Put(b"a", b""), Delete(b"b"), Read(b"c"))), True, 2),
        (Txn(otherwise=(Delete(b"a"),)), True, 0),
        (Txn(then=(Txn(then=(Put(b"a", b""),)), Put(b"b", b""))), True, 2),
        (Txn(then=(Txn(then=(Txn(otherwise=(Put(b"a", b""),)),)),)), True, 0),
        (Txn(then=(Txn(then=(abort(b"a"),)),)), False, 0),
    ],
)
def test_counting(txn: Txn, writes: bool, count: int) -> None:
    """A transaction knows whether any branch writes, and how much its success branch does."""
    assert (may_write(txn), write_count(txn)) == (writes, count)


def test_guards() -> None:
    """Each guard is the compare that etcd needs for it."""
    range_ = Range(b"/p/", b"/p0")
    assert [
        absent(b"k"),
        exists(b"k"),
        at_revision(b"k", Revision(7)),
        holds(b"k", b"v"),
        empty(range_),
        not_newer(range_, Revision(7)),
    ] == [
        Compare(b"k", "create_revision", "=", 0),
        Compare(b"k", "create_revision", "!=", 0),
        Compare(b"k", "mod_revision", "=", 7),
        Compare(b"k", "value", "=", b"v"),
        Compare(b"/p/", "create_revision", "=", 0, b"/p0"),
        Compare(b"/p/", "mod_revision", "<", 8, b"/p0"),
    ]


def test_printing() -> None:
    """A transaction prints as a person reads it: compared values by size, keys escaped."""
    refs = prefix(b"/ref/")
    inner = Txn((exists(b"/c"),), (Put(b"/c", b'{"a":1}', LeaseId(5)),), (abort(b"/c"),))
    txn = Txn(
        (
            absent(b"/a\n"),
            holds(b"/b", b"secret"),
            empty(refs),
            not_newer(Range(b"a", b"c"), Revision(4)),
        ),
        (Delete(refs.start, refs.end), Delete(b"/x"), inner),
        (Read(b"/a"), Read(b"/a\xff", b"/c")),
    )
    assert str(txn).splitlines() == [
        "if",
        r"  create_revision(/a\n) = 0",
        "  value(/b) = <6 bytes>",
        "  create_revision(/ref/*) = 0",
        "  mod_revision([a, c)) < 5",
        "then",
        "  del /ref/*",
        "  del /x",
        "  if",
        "    create_revision(/c) != 0",
        "  then",
        '    put /c {"a":1}',
        "  else",
        "    get /c",
        "else",
        "  get /a",
        r"  get [/a\xff, /c)",
    ]
    assert str(Txn()) == "if"

"""What every store promises of compares and of large, nested and refused transactions."""

from __future__ import annotations

import operator
from typing import Any, Literal

import pytest

from kvconfig.errors import (
    DuplicateKey,
    LeaseNotFound,
    RequestTooLarge,
    TooManyOperations,
    TransactionAborted,
)
from kvconfig.keys import Range, prefix
from kvconfig.model import KeyValue, Revision
from kvconfig.store import Store, list_all
from kvconfig.txn import (
    Compare,
    Delete,
    DeleteResult,
    Operation,
    Put,
    PutResult,
    Read,
    ReadResult,
    Txn,
    abort,
    absent,
    empty,
    exists,
    holds,
    not_newer,
)
from tests.contract.support import decide, keys_of, put, put_each

# -- compares -------------------------------------------------------------------------------------

OPERATORS = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt}
Op = Literal["=", "!=", "<", ">"]


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("target", ["create_revision", "mod_revision", "version", "value"])
async def test_compare(store: Store, base: bytes, target: Any, op: Op) -> None:
    """Each target compares with each operator as numbers and bytes do; an absent value never."""
    key = base + b"k"
    for written in (b"0", b"1", b"mm"):
        await put(store, (key, written))
    kv = await store.read(key)
    actual: Any = getattr(kv, target)
    near: list[Any] = [b"m", b"mm", b"mmm", b"", b"\xff"]
    if target != "value":
        near = [actual - 1, actual, actual + 1]
    for value in near:
        held = await decide(store, Txn((Compare(key, target, op, value),)))
        assert held is OPERATORS[op](actual, value), (target, op, value)
    for value in near[-2:] if target == "value" else [0, 1]:
        held = await decide(store, Txn((Compare(base + b"absent", target, op, value),)))
        expected = target != "value" and OPERATORS[op](0, value)
        assert held is expected, (target, op, value)


async def test_compare_range(store: Store, base: bytes) -> None:
    """A compare of a range holds when it does of every key in it; an empty one is like no key."""
    first, last = await put_each(store, [base + b"a/1", base + b"a/2"])
    await put_each(store, [base + b"a0", base + b"a"], b"other")
    full, none = prefix(base + b"a/"), prefix(base + b"none/")

    def of(range_: Range, target: Any, op: Op, value: int | bytes) -> Compare:
        return Compare(range_.start, target, op, value, range_.end)

    table: list[tuple[Compare, bool]] = [
        (of(full, "value", "=", b"v"), True),
        (of(full, "value", "!=", b"v"), False),
        (of(full, "mod_revision", "<", last + 1), True),
        (of(full, "mod_revision", "<", last), False),
        (of(full, "mod_revision", ">", first), False),
        (of(full, "mod_revision", ">", first - 1), True),
        (of(full, "create_revision", "=", first), False),
        (of(full, "version", "=", 1), True),
        (not_newer(full, last), True),
        (not_newer(full, first), False),
        (empty(full), False),
        (empty(none), True),
        (not_newer(none, Revision(0)), True),
        (of(none, "version", "=", 0), True),
        (of(none, "version", ">", 0), False),
        (of(none, "value", "=", b""), False),
        (of(none, "value", "!=", b"v"), False),
        (of(Range(base + b"a/2", base + b"a/1"), "version", "=", 0), True),
    ]
    for compare, held in table:
        assert await decide(store, Txn((compare,))) is held, str(compare)


async def test_nobody_else(store: Store, base: bytes) -> None:
    """Two compares, of the refs before and after one's own, tell whether there is another one."""
    refs, mine = prefix(base), base + b"m"
    alone = Txn((empty(refs.before(mine)), empty(refs.after(mine))))
    await put(store, (mine, b"{}"))
    assert await decide(store, alone)
    for other in (base + b"a", base + b"m\0", base + b"m1", base + b"z"):
        await put(store, (other, b"{}"))
        assert not await decide(store, alone), other
        await store.commit(Txn(then=(Delete(other),)))
    assert await decide(store, alone)


# -- nested ---------------------------------------------------------------------------------------


async def test_reads_inside(store: Store, base: bytes) -> None:
    """A read in a transaction sees what was done before it there, or an older revision it names."""
    a, b = base + b"a", base + b"b"
    before = await put(store, (a, b"old"))
    limited = Read(base, base + b"\xff", limit=1, keys_only=True)
    ops = (Read(b), Put(b, b"new"), limited, Delete(a), Read(a), Read(a, revision=before))
    answer = await store.commit(Txn(then=ops))
    kv = KeyValue(a, b"old", before, before, 1)
    assert [r for r in answer.results if isinstance(r, ReadResult)] == [
        ReadResult((), 0),
        ReadResult((KeyValue(a, b"", before, before, 1),), 2),
        ReadResult((), 0),
        ReadResult((kv,), 1),
    ]


async def test_nested_compares(store: Store, base: bytes) -> None:
    """Compares of nested transactions see what stood before the whole of it, on every level."""
    key = base + b"k"
    inner = Txn((absent(key),), (Put(base + b"then", b""),), (Put(base + b"else", b""),))
    answer = await store.commit(
        Txn(then=(Put(key, b""), Txn(then=(inner, Read(key))), Delete(key + b"0")))
    )
    page = await list_all(store, prefix(base))
    assert keys_of(page) == [key, base + b"then"]
    middle = answer.results[1]
    assert not isinstance(middle, PutResult | DeleteResult | ReadResult)
    assert middle.results[0].succeeded  # type: ignore[union-attr] # a nested answer, by its place
    assert middle.revision == answer.revision == page.revision


async def test_4096(store: Store, base: bytes) -> None:
    """64 times 64 puts, nested, are one transaction at one revision."""
    groups = [[Put(base + b"%02d/%02d" % (n, m), b"v") for m in range(64)] for n in range(64)]
    nested = (
        Txn(tuple(absent(op.key) for op in group), tuple(group), (abort(group[0].key),))
        for group in groups
    )
    answer = await store.commit(Txn(then=tuple(nested)))
    page = await list_all(store, prefix(base))
    assert len(page.items) == 4096
    assert {kv.mod_revision for kv in page.items} == {answer.revision}


async def test_abort(store: Store, base: bytes) -> None:
    """A nested guard that does not hold ends the whole: nothing is written, no revision is made."""
    before = await put(store, (base + b"taken", b"1"))
    guarded = Txn((absent(base + b"taken"),), (Put(base + b"taken", b"2"),), (abort(base),))
    for op in (guarded, Txn(then=(Put(base + b"b", b""), guarded)), abort(base)):
        with pytest.raises(TransactionAborted):
            await store.commit(Txn(then=(Put(base + b"a", b""), op)))
        with pytest.raises(TransactionAborted):
            await store.commit(Txn((exists(base),), otherwise=(Delete(base + b"x"), op)))
    page = await list_all(store, prefix(base))
    assert (keys_of(page), page.revision) == ([base + b"taken"], before)


# -- refused --------------------------------------------------------------------------------------


def puts(base: bytes, count: int, *, mark: bytes = b"") -> tuple[Put, ...]:
    return tuple(Put(base + mark + b"%d" % n, b"") for n in range(count))


def nested(base: bytes, count: int, width: int) -> tuple[Txn, ...]:
    return tuple(Txn(then=puts(base, width, mark=b"%d/" % n)) for n in range(count))


@pytest.mark.parametrize(
    ("fits", "over"),
    [
        (lambda b: Txn(then=puts(b, 128)), lambda b: Txn(then=puts(b, 129))),
        (lambda b: Txn(otherwise=puts(b, 128)), lambda b: Txn(otherwise=puts(b, 129))),
        (lambda b: Txn((absent(b),) * 128), lambda b: Txn((absent(b),) * 129)),
        (lambda b: Txn(then=nested(b, 64, 64)), lambda b: Txn(then=nested(b, 64, 65))),
        (lambda b: Txn(then=nested(b, 1, 127)), lambda b: Txn(then=nested(b, 2, 127))),
        (lambda b: Txn(then=nested(b, 127, 1)), lambda b: Txn(then=nested(b, 128, 1))),
        (
            lambda b: Txn((absent(b),) * 28, then=nested(b, 1, 100)),
            lambda b: Txn((absent(b),) * 29, then=nested(b, 1, 100)),
        ),
        (
            lambda b: Txn(then=(Txn((absent(b),) * 127),)),
            lambda b: Txn(otherwise=(Txn((absent(b),) * 128),)),
        ),
        (
            lambda b: Txn(then=(Txn(then=nested(b, 1, 126)),)),
            lambda b: Txn(then=(Txn(then=nested(b, 1, 127)),)),
        ),
    ],
    ids=["then", "else", "compares", "64x64", "1x127", "127x1", "outer", "inner", "deeper"],
)
async def test_too_many(store: Store, base: bytes, fits: Any, over: Any) -> None:
    """128 a level, less what the levels above use: one more is refused, and writes nothing."""
    with pytest.raises(TooManyOperations):
        await store.commit(over(base))
    assert (await list_all(store, prefix(base))).items == ()
    await store.commit(fits(base))


async def test_too_large(store: Store, base: bytes) -> None:
    """A request of 1.5 MiB is refused, whatever it is made of; a little less is not."""
    limit = 1536 * 1024
    await put(store, (base + b"k", b"x" * (limit - 256)))
    for size in (limit, 2 * limit):
        with pytest.raises(RequestTooLarge):
            await put(store, (base + b"l", b"x" * size))
    many = tuple(Put(base + b"%d" % n, b"x" * (limit // 100)) for n in range(101))
    with pytest.raises(RequestTooLarge):
        await store.commit(Txn(then=many))
    with pytest.raises(RequestTooLarge):
        await store.commit(Txn((holds(base, b"x" * limit),), otherwise=(Delete(base + b"k"),)))
    assert keys_of(await list_all(store, prefix(base), keys_only=True)) == [base + b"k"]


P, D, R = Put(b"k", b""), Delete(b"k"), Delete(b"a", b"z")


@pytest.mark.parametrize(
    "ops",
    [
        (P, P),
        (P, D),
        (D, P),
        (R, P),
        (P, Delete(b"k", b"l")),
        (P, Txn(then=(P,))),
        (Txn(then=(P,)), Txn(then=(P,))),
        (Txn(then=(P,)), Txn(otherwise=(P,))),
        (Txn(then=(P,)), Txn(then=(Txn(otherwise=(P,)),))),
        (P, Txn(then=(D,))),
        (P, Txn(otherwise=(D,))),
        (D, Txn(otherwise=(P,))),
        (Txn(then=(Txn(then=(P,)),)), R),
        (Txn(then=(D,)), Txn(then=(P,))),
    ],
    ids=lambda ops: " | ".join("; ".join(str(op).split("\n")) for op in ops),
)
async def test_duplicates(store: Store, base: bytes, ops: tuple[Operation, ...]) -> None:
    """A transaction that may write one key twice is refused, in whichever branch it may."""
    mine = tuple(below(base, op) for op in (Put(b"other", b""), *ops))
    for txn in (Txn(then=mine), Txn(otherwise=mine), Txn((exists(base),), then=mine)):
        with pytest.raises(DuplicateKey):
            await store.commit(txn)
    assert (await list_all(store, prefix(base))).items == ()


@pytest.mark.parametrize(
    ("ops", "left"),
    [
        ((Txn(then=(P,), otherwise=(P,)),), [b"k"]),
        ((Txn(then=(P,), otherwise=(D,)),), [b"k"]),
        ((D, D, R), []),
        ((P, Delete(b"l", b"z"), Delete(b"a", b"k")), [b"k"]),
        ((P, Delete(b"k\0")), [b"k"]),
        ((P, Read(b"k"), Read(b"a", b"z")), [b"k"]),
        ((Txn(then=(P,)), Txn(then=(D,))), []),  # etcd's own corner: it looks at deletes before
    ],
    ids=lambda value: " | ".join("; ".join(str(part).split("\n")) for part in value),
)
async def test_no_duplicates(
    store: Store, base: bytes, ops: tuple[Operation, ...], left: list[bytes]
) -> None:
    """Writes that exclude each other, do not meet, or only delete, may stand together."""
    await store.commit(Txn(then=tuple(below(base, op) for op in ops)))
    assert keys_of(await list_all(store, prefix(base))) == [base + key for key in left]


def below(base: bytes, op: Operation) -> Operation:
    """The same operation on keys below ``base``."""
    match op:
        case Put(key, value, lease):
            return Put(base + key, value, lease)
        case Delete(key, end):
            return Delete(base + key, end and base + end)
        case Read(key, end):
            return Read(base + key, end and base + end)
        case Txn(compares, then, otherwise):
            return Txn(
                compares,
                tuple(below(base, inner) for inner in then),
                tuple(below(base, inner) for inner in otherwise),
            )


async def test_dead_lease(store: Store, base: bytes) -> None:
    """A put under a lease that is gone refuses the whole transaction, if its branch is taken."""
    lease = await store.grant(60)
    await store.revoke(lease)
    dead = Put(base + b"k", b"", lease)
    for ops in ((Put(base + b"a", b""), dead), (Put(base + b"a", b""), Txn(then=(dead,)))):
        with pytest.raises(LeaseNotFound):
            await store.commit(Txn(then=ops))
        assert (await store.commit(Txn((exists(base),), then=ops))).succeeded is False
    assert (await list_all(store, prefix(base))).items == ()

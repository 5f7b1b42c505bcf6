"""The checker itself, on histories short enough to see: what is right passes, each breach is named.

A history is written as text: ``2: a=c1 b=c1`` is a revision, ``a=`` a delete, ``<1`` a restore.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise

import pytest

from kvconfig.codec import encode
from kvconfig.keys import everything, one, prefix
from kvconfig.memory.faults import Restored
from kvconfig.model import Event, KeyValue, LeaseId, Revision, WatchBatch
from kvconfig.txn import Commit, Delete, DeleteResult, Put, PutResult, Txn, absent
from tests.history.checker import check
from tests.history.record import Change, History, Looked, Read, Told, Watcher, Write
from tests.history.replay import State, Truth


def kv(key: str, by: str, at: int, *, created: int | None = None, lease: int = 0) -> KeyValue:
    first = at if created is None else created
    value = encode({"by": by})
    return KeyValue(key.encode(), value, Revision(first), Revision(at), 1, LeaseId(lease))


def put(*keys: str, by: str) -> Txn:
    return Txn(then=tuple(Put(key.encode(), encode({"by": by})) for key in keys))


def journal(*lines: str) -> list[WatchBatch | Restored]:
    """See the module."""
    found: list[WatchBatch | Restored] = []
    states: dict[int, dict[bytes, KeyValue]] = {1: {}}
    now = 1
    for line in lines:
        if line.startswith("<"):
            now = int(line[1:])
            found.append(Restored(Revision(now), tuple(states[now].values())))
            continue
        number, _, changes = line.partition(":")
        state, now = dict(states[now]), int(number)
        events = []
        for key, by in (change.split("=") for change in changes.split()):
            new = kv(key, by, now) if by else None
            events.append(Event(key.encode(), new))
            state.pop(key.encode(), None)
            if new is not None:
                state[new.key] = new
        states[now] = state
        found.append(WatchBatch(Revision(now), tuple(events)))
    return found


def acked(id_: str, txn: Txn, at: int, *, sent: int, done: int) -> Write:
    commit = Commit(True, Revision(at), tuple(PutResult() for _ in txn.then))
    return Write(
        id=id_,
        txn=txn,
        sent=sent,
        done=done,
        outcome="acked",
        commit=commit,
        revision=commit.revision,
    )


def rules(history: History) -> list[str]:
    return [finding.rule for finding in check(history)]


def history(
    *lines: str, writes: list[Write] | None = None, reads: list[Read] | None = None
) -> History:
    return History(
        name="by hand",
        first=Revision(1),
        journal=journal(*lines),
        writes=writes or [],
        reads=reads or [],
    )


def two_writes() -> History:
    """Two acknowledged writes, one after the other."""
    a = acked("w1", put("a", "b", by="w1"), 2, sent=1, done=2)
    b = acked("w2", put("a", by="w2"), 3, sent=3, done=4)
    return history("2: a=w1 b=w1", "3: a=w2", writes=[a, b])


# -- writes ---------------------------------------------------------------------------------------


def test_what_is_right_passes() -> None:
    """Acknowledged and done; refused and not done; unknown and done, or not."""
    good = two_writes()
    good.journal = [*good.journal, *journal("4: c=w3")]
    good.writes += [
        Write(id="w3", txn=put("c", by="w3"), sent=5, done=6, outcome="unknown"),
        Write(id="w4", txn=put("c", by="w4"), sent=7, done=8, outcome="unknown"),
        Write(id="w5", txn=put("c", by="w5"), sent=9, done=10, outcome="refused"),
    ]
    assert rules(good) == []


def test_done_twice() -> None:
    """Once is right; twice is only after a restore that undid the first time."""
    write = Write(id="w1", txn=put("a", by="w1"), sent=1, done=9, outcome="unknown")
    assert rules(history("2: a=w1", "3: a=w1", writes=[write])) == ["exactly-once"]
    assert rules(history("2: a=w1", "<1", "2: a=w1", writes=[write])) == []


def test_refused_and_done() -> None:
    """Who is told that nothing was written must not find it there."""
    write = Write(id="w1", txn=put("a", by="w1"), sent=1, done=2, outcome="refused")
    assert rules(history("2: a=w1", writes=[write])) == ["exactly-once"]


def test_acknowledged_and_lost() -> None:
    """An acknowledged write is at its revision, or it was undone by a restore."""
    lost = two_writes()
    lost.journal = lost.journal[:1]
    assert rules(lost) == ["exactly-once"]
    elsewhere = two_writes()
    elsewhere.writes[1].revision = Revision(7)
    assert rules(elsewhere) == ["exactly-once"]
    restored = two_writes()
    restored.journal = journal("2: a=w1 b=w1", "3: a=w2", "<2")
    assert rules(restored) == []


def test_torn() -> None:
    """A revision is all of a write, of one write, and of one that was asked for."""
    torn = two_writes()
    torn.journal = journal("2: a=w1", "3: a=w2")
    assert rules(torn) == ["whole"]
    mixed = two_writes()
    mixed.journal = journal("2: a=w1 b=w1", "3: a=w2 b=w3")
    assert rules(mixed) == ["whole", "exactly-once"]
    nobody = two_writes()
    nobody.journal = [*nobody.journal, *journal("4: c=w9")]
    assert rules(nobody) == ["whole"]


def test_compares_count() -> None:
    """A write whose compare did not hold just before must not be done."""
    guarded = Txn((absent(b"a"),), put("a", by="w2").then)
    bad = two_writes()
    bad.writes[1] = acked("w2", guarded, 3, sent=3, done=4)
    assert "whole" in rules(bad)


def test_an_answer_is_so() -> None:
    """What a transaction answers is what was there: here one key was deleted, not two."""
    txn = Txn(then=(Delete(b"b"), *put("a", by="w2").then))
    both = two_writes()
    both.journal = journal("2: a=w1 b=w1", "3: b= a=w2")
    both.writes[1] = acked("w2", txn, 3, sent=3, done=4)
    both.writes[1].commit = Commit(True, Revision(3), (DeleteResult(1), PutResult()))
    assert rules(both) == []
    both.writes[1].commit = Commit(True, Revision(3), (DeleteResult(2), PutResult()))
    assert rules(both) == ["answer"]


def test_a_failed_compare_is_an_answer() -> None:
    """It changes nothing, and is as true at its revision as any read."""
    guarded = Txn((absent(b"a"),), put("a", by="w3").then)
    refused = two_writes()
    write = acked("w3", guarded, 3, sent=5, done=6)
    write.commit = Commit(False, Revision(3))
    refused.writes.append(write)
    assert rules(refused) == []
    write.revision = Revision(1)
    assert rules(refused) == ["exactly-once"]


def test_a_counter_loses_nothing() -> None:
    """It goes up by one each time, whoever writes."""
    good, bad = (
        [
            WatchBatch(
                Revision(at),
                (Event(b"n", KeyValue(b"n", count(at, n), Revision(2), Revision(at), 1)),),
            )
            for at, n in ((2, 1), (3, n3))
        ]
        for n3 in (2, 1)
    )
    for entries, expected in ((good, []), (bad, ["lost-update"])):
        run = history()
        run.journal = entries
        for at, batch in enumerate(entries, 2):
            kv_ = batch.events[0].kv
            assert kv_ is not None
            run.writes.append(
                acked(f"w{at}", Txn(then=(Put(b"n", kv_.value),)), at, sent=at * 2, done=at * 2 + 1)
            )
        assert rules(run) == expected


def count(at: int, n: int) -> bytes:
    return json.dumps({"by": f"w{at}", "n": n}).encode()


def test_a_lease_may_end() -> None:
    """All of its keys at once, and nothing else: that needs no write."""
    lent = [
        WatchBatch(Revision(2), tuple(Event(k.encode(), kv(k, "w1", 2, lease=7)) for k in "ab")),
        WatchBatch(Revision(3), (Event(b"a", None), Event(b"b", None))),
    ]
    txn = Txn(then=tuple(Put(k, encode({"by": "w1"}), LeaseId(7)) for k in (b"a", b"b")))
    run = history(writes=[acked("w1", txn, 2, sent=1, done=2)])
    run.journal = lent
    assert rules(run) == []
    run.journal = [lent[0], WatchBatch(Revision(3), (Event(b"a", None),))]
    assert rules(run) == ["whole"]


# -- time -----------------------------------------------------------------------------------------


def test_real_time() -> None:
    """What is acknowledged before another is sent has the lower revision; else either may."""
    for sent, expected in ((3, ["real-time"]), (1, [])):
        a = acked("w1", put("a", by="w1"), 3, sent=0, done=2)
        b = acked("w2", put("a", by="w2"), 2, sent=sent, done=5)
        assert rules(history("2: a=w2", "3: a=w1", writes=[a, b])) == expected


def test_reads_are_never_stale() -> None:
    """A read finds what was acknowledged before it, or what is newer; and never what was not."""
    new, old = ((b"a", kv("a", by, at).value, Revision(at)) for by, at in (("w2", 3), ("w1", 2)))
    for found, sent, expected in (
        ((new,), 5, []),
        ((old,), 5, ["real-time"]),
        ((old,), 1, []),
        (((b"a", b"{}", Revision(2)),), 5, ["answer"]),
        ((), 5, ["real-time"]),
    ):
        run = two_writes()
        run.reads = [Read(id="r1", range=one(b"a"), sent=sent, done=9, found=found)]
        assert rules(run) == expected, (found, sent)


def test_reads_go_forward() -> None:
    """Two readers, one after the other: the second does not see less."""
    found = [((b"a", kv("a", by, at).value, Revision(at)),) for by, at in (("w2", 3), ("w1", 2))]
    run = two_writes()
    run.writes[1].done = 100
    run.reads = [
        Read(id=f"r{n}", range=one(b"a"), sent=10 + 2 * n, done=11 + 2 * n, found=it)
        for n, it in enumerate(found)
    ]
    assert rules(run) == ["real-time"]


def test_a_list_is_of_its_revision() -> None:
    """All keys of the range as they stood at the revision that the answer names."""
    state = Truth(Revision(1), journal("2: a=w1 b=w1")).steps[-1].after
    found = tuple((k, state[k].value, state[k].mod_revision) for k in sorted(state))
    for revision, items, expected in (
        (2, found, []),
        (2, found[:1], ["answer"]),
        (3, found, ["answer"]),
    ):
        run = two_writes()
        run.reads = [
            Read(
                id="r", range=everything(), sent=1, done=9, found=items, revision=Revision(revision)
            )
        ]
        assert rules(run) == expected


# -- informers ------------------------------------------------------------------------------------


LINES = ("2: t/a=w1 t/b=w1", "3: u/x=w2", "4: t/a=w3", "5: t/b=")
TRUTH = Truth(Revision(1), journal(*LINES))
ALL = [0, 1, 3, 4]
"""The positions at which something of ``t/`` changed."""


def at(place: int) -> State:
    return {key: kv for key, kv in TRUTH.steps[place].after.items() if key.startswith(b"t/")}


def batch(old: int, new: int, *, resync: bool = False, revision: int | None = None) -> Told:
    """Right: from one position to another."""
    changes = moved(at(old), at(new), values=resync)
    told_at = Revision(revision or TRUTH.steps[new].revision)
    return Told(revision=told_at, resync=resync, changes=changes, cache=at(new))


def moved(old: State, new: State, *, values: bool) -> tuple[Change, ...]:
    return tuple(
        (key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if (_value(old, key) != _value(new, key) if values else old.get(key) != new.get(key))
    )


def _value(state: Mapping[bytes, KeyValue], key: bytes) -> bytes | None:
    return state[key].value if key in state else None


def watched(*log: Told | Looked) -> list[str]:
    """What the checker says of an informer that said that. (Of who wrote what it is not asked.)"""
    run = history(*LINES)
    for id_, txn in (
        ("w1", put("t/a", "t/b", by="w1")),
        ("w2", put("u/x", by="w2")),
        ("w3", put("t/a", by="w3")),
    ):
        run.writes.append(Write(id=id_, txn=txn, sent=0, done=1))
    run.watchers = [Watcher(name="i", range=prefix(b"t/"), log=list(log), settled=True)]
    return [rule for rule in rules(run) if rule != "whole"]  # revision 5 is nobody's


def live() -> list[Told | Looked]:
    return [batch(0, 0, resync=True), *(batch(old, new) for old, new in pairwise(ALL))]


def test_an_informer_that_is_right_passes() -> None:
    """One batch for each revision of its range, or a list instead of some."""
    assert watched(*live()) == []
    assert watched(batch(0, 1, resync=True), batch(1, 3), batch(3, 4)) == []
    assert watched(batch(0, 1, resync=True), batch(1, 4, resync=True)) == []
    again = batch(1, 1, resync=True, revision=3)
    assert watched(batch(0, 1, resync=True), again, batch(1, 3), batch(3, 4)) == []


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ([live()[0], *live()[2:]], "adds-up"),  # and what it says does not fit either
        ([batch(0, 0, resync=True), batch(0, 3, revision=4), batch(3, 4)], "batch"),
        ([*live()[:2], live()[1], *live()[2:]], "adds-up"),
        ([live()[0], live()[1], batch(1, 4)], "batch"),
        ([batch(0, 1), batch(1, 3), batch(3, 4)], "batch"),
        ([batch(0, 4, resync=True), batch(4, 1, resync=True), *live()[2:]], "resync"),
        ([batch(0, 1, resync=True, revision=5), *live()[2:]], "resync"),
        ([*live()[:2], Looked(cache={}), *live()[2:]], "cache"),
        (live()[:3], "settled"),
    ],
    ids=[
        "a revision is left out",
        "two in one",
        "twice",
        "one too few",
        "no list first",
        "back again",
        "what never was",
        "emptied",
        "behind at the end",
    ],
)
def test_an_informer_that_is_not_is_named(log: list[Told | Looked], expected: str) -> None:
    """Each breach has its rule."""
    assert watched(*log)[0] == expected


def test_a_delete_that_is_not_told() -> None:
    """A list finds it gone: then it says so."""
    silent = batch(1, 4, resync=True)
    silent.changes = tuple(change for change in silent.changes if change[2] is not None)
    assert watched(batch(0, 1, resync=True), silent) == ["adds-up"]


def test_defects_that_were_reported() -> None:
    """What kvconfig says itself, and what it dies of, counts."""
    run = history()
    run.watchers = [
        Watcher(name="i", range=prefix(b"t/"), log=[], settled=True, differences=1, died="KeyError")
    ]
    assert rules(run) == ["defect", "defect", "settled"]

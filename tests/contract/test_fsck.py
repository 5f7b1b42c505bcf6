"""Check and repair on both stores, beside others who write; and ``flowctl fsck``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import pytest

from flowsvc import cli
from flowsvc.fsck import check, repair
from flowsvc.model import PauseFlow, ResumeFlow, RollBackFlow, RollOut, StopFlow, UpdateFlow
from kvconfig.codec import encode
from kvconfig.errors import LayoutTooNew, OutcomeUnknown
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.memory import MemoryStore
from kvconfig.model import Revision
from kvconfig.records import FlowRecord, FlowVariants, HistoryRecord, VariantRecord
from kvconfig.store import Store, list_all
from kvconfig.txn import Commit, Delete, Put, Txn
from tests.flows import a_service, start

CHUNKER, QUERY = VariantName("chunker", "f1"), VariantName("query", "small")
BY_HAND = VariantName("chunker", "by-hand")
VALUE = VariantRecord(topics={"input": "in"}, parameters={"size": "500"})
OTHER = VariantRecord(topics={"input": "elsewhere"})


@pytest.fixture
def ks(root: str) -> Keyspace:
    return Keyspace(root)


def flow_record(op: str = "op-1") -> FlowRecord:
    return FlowRecord(
        blueprint_name="small",
        description="",
        interfaces={},
        parameters={},
        variants=FlowVariants(own=(str(CHUNKER),), shared=(str(QUERY),)),
        op=op,
    )


def started(ks: Keyspace) -> list[Put]:
    """What the start of one flow leaves, and its blueprint."""
    after = {"record": flow_record(), "variants": {str(CHUNKER): VALUE, str(QUERY): VALUE}}
    told = HistoryRecord(action="start", by="", at="2026-01-01T00:00:00Z", why="", after=after)
    blueprint: dict[str, Any] = {
        "blueprint": {},
        "flow": {"chunker:{id}": {}},
        "interfaces": {},
        "parameters": {},
    }
    return [
        Put(ks.flow_blueprint("small"), encode(blueprint)),
        Put(ks.flow("f1"), encode(flow_record())),
        Put(ks.active_flow(CHUNKER), encode(VALUE)),
        Put(ks.active_flow(QUERY), encode(VALUE)),
        Put(ks.flow_ref(QUERY, "f1"), b"{}"),
        Put(ks.blueprint_use("small", "f1"), b"{}"),
        Put(ks.history("flow", "f1", "op-1"), encode(told)),
    ]


async def write(store: Store, *writes: Put | Delete) -> None:
    assert (await store.commit(Txn(then=writes))).succeeded


async def damaged(store: Store, ks: Keyspace) -> None:
    """A flow with a finding of every kind of repair: a put, an overwrite and a delete."""
    await write(store, *started(ks))
    await write(
        store,
        Delete(ks.active_flow(QUERY)),
        Put(ks.active_flow(CHUNKER), encode(OTHER)),
        Put(ks.active_flow(BY_HAND), encode(OTHER)),
    )


CODES = ["orphan-variant", "wrong-value", "missing-variant"]


class Meddling:
    """A store on which somebody else writes just before one of the commits."""

    def __init__(self, store: Store, *writes: Put | Delete, before: int) -> None:
        self._store = store
        self._writes = writes
        self._left = before
        self.read, self.list = store.read, store.list

    async def commit(self, txn: Txn) -> Commit:
        self._left -= 1
        if self._left == 0:
            await write(self._store, *self._writes)
        return await self._store.commit(txn)


async def test_check_reads_and_repair_mends(store: Store, ks: Keyspace) -> None:
    """All findings, at the revision at which they were made; then none, and what was done."""
    await damaged(store, ks)
    revision, found = await check(store, ks)
    assert [each.code for each in found] == CODES
    assert (await check(store, ks))[0] == revision, "a check writes nothing"
    repaired = await repair(store, ks)
    assert (list(repaired.done), repaired.left, repaired.lost) == (found, (), 0)
    assert repaired.revision == revision + len(found), "a transaction for each"
    assert await check(store, ks) == (repaired.revision, [])
    standing = {kv.key: kv.value for kv in (await list_all(store, ks.everything())).items}
    assert standing == {put.key: put.value for put in started(ks)}


async def test_check_of_nothing_finds_nothing(store: Store, ks: Keyspace) -> None:
    """An empty system is in order, and has a revision."""
    revision, found = await check(store, ks)
    assert revision >= 1
    assert found == []


async def test_all_is_read_at_one_revision(store: Store, ks: Keyspace) -> None:
    """A flow that stops while a check reads leaves no trace in what it finds."""
    await write(store, *started(ks))

    class StoppedInBetween:
        def __init__(self) -> None:
            self.read, self.stopped = store.read, False

        async def list(self, range_, *, revision=Revision(0), keys_only=False):
            async for page in store.list(range_, revision=revision, keys_only=keys_only):
                yield page
            if not self.stopped:
                self.stopped = True
                gone = [put.key for put in started(ks) if b"/history/" not in put.key]
                await write(store, *map(Delete, gone))

    before, _ = await check(store, ks)
    meddled = StoppedInBetween()
    assert await check(meddled, ks) == (before, [])  # type: ignore[arg-type]
    assert meddled.stopped


async def test_a_repair_never_overwrites_who_was_faster(store: Store, ks: Keyspace) -> None:
    """What was put between audit and repair stays, if it is right; else it is looked at anew."""
    await damaged(store, ks)
    mended = Put(ks.active_flow(QUERY), encode(VALUE))
    again = Put(ks.active_flow(BY_HAND), encode(VALUE))
    repaired = await repair(Meddling(store, mended, again, before=1), ks)  # type: ignore[arg-type]
    assert repaired.left == ()
    assert repaired.lost == 2
    assert sorted(each.code for each in repaired.done) == ["orphan-variant", "wrong-value"]
    assert await store.read(ks.active_flow(BY_HAND)) is None
    kv = await store.read(ks.active_flow(QUERY))
    assert kv is not None
    assert kv.version == 1, "put once, by the other"


async def test_a_flow_stopped_in_between_gets_nothing_back(store: Store, ks: Keyspace) -> None:
    """A missing variant is put only while the record that names it stands."""
    await write(store, *started(ks))
    await write(store, Delete(ks.active_flow(CHUNKER)))
    gone = [put.key for put in started(ks) if put.key != ks.active_flow(CHUNKER)]
    stop = [Delete(key) for key in gone if b"/history/" not in key]
    repaired = await repair(Meddling(store, *stop, before=1), ks)  # type: ignore[arg-type]
    assert repaired.lost == 1
    assert await store.read(ks.active_flow(CHUNKER)) is None
    assert [each.code for each in repaired.done] == ["history-differs"], "the stop wrote none"
    assert repaired.left == ()


async def test_an_orphan_that_a_flow_takes_up_stays(store: Store, ks: Keyspace) -> None:
    """A flow can share an orphan without writing it; its reference alone stops the repair."""
    await write(store, *started(ks))
    await write(store, Put(ks.active_flow(BY_HAND), encode(VALUE)))
    _, (orphan,) = await check(store, ks)
    assert orphan.repair is not None
    await write(store, Put(ks.flow_ref(BY_HAND, "f2"), b"{}"))
    assert not (await store.commit(orphan.repair)).succeeded
    assert await store.read(ks.active_flow(BY_HAND)) is not None


async def test_rounds_are_bounded(store: Store, ks: Keyspace) -> None:
    """Against somebody who never stops writing, a repair gives up, and says what is left."""
    await write(store, *started(ks))

    class Restless(Meddling):
        async def commit(self, txn: Txn) -> Commit:
            await write(store, Put(ks.active_flow(CHUNKER), encode(OTHER)))
            return await store.commit(txn)

    await write(store, Put(ks.active_flow(CHUNKER), encode(OTHER)))
    restless = Restless(store, before=0)
    repaired = await repair(restless, ks, most_rounds=3)  # type: ignore[arg-type]
    assert (repaired.done, repaired.lost) == ((), 3)
    assert [each.code for each in repaired.left] == ["wrong-value"]


async def test_a_repair_of_nested_transactions_loses_too(store: Store, ks: Keyspace) -> None:
    """A compare that fails in a nested transaction counts as lost, and is no error."""
    names = [VariantName("p", f"v{n:03}") for n in range(200)]
    variants = FlowVariants(own=tuple(map(str, names)))
    record = msgspec.structs.replace(flow_record("op-2"), variants=variants)
    blueprint, *_ = started(ks)
    await write(
        store,
        blueprint,
        Put(ks.flow("f1"), encode(record)),
        Put(ks.blueprint_use("small", "f1"), b"{}"),
    )
    for some in (names[:100], names[100:]):
        await write(store, *(Put(ks.active_flow(name), encode(VALUE)) for name in some))
    meddling = Meddling(store, Put(ks.active_flow(names[-1]), encode(OTHER)), before=1)
    repaired = await repair(meddling, ks)  # type: ignore[arg-type]
    assert (repaired.lost, repaired.left) == (1, ())
    assert [each.code for each in repaired.done] == ["history-missing"]


async def test_a_repair_after_a_lost_reply_is_safe_to_repeat(ks: Keyspace) -> None:
    """A lost reply is raised; whichever way it went, the next repair comes to the same end."""
    fates: tuple[Literal["applied", "dropped"], ...] = ("applied", "dropped")
    for fate in fates:
        store = MemoryStore()
        await damaged(store, ks)
        store.lose_next_reply(fate)
        with pytest.raises(OutcomeUnknown):
            await repair(store, ks)
        assert (await repair(store, ks)).left == ()
        standing = {kv.key: kv.value for kv in (await list_all(store, ks.everything())).items}
        assert standing == {put.key: put.value for put in started(ks)}


async def test_keys_of_a_newer_layout_are_not_judged(store: Store, ks: Keyspace) -> None:
    """A later version may have other invariants: nothing is looked at, nothing repaired."""
    await damaged(store, ks)
    await write(store, Put(ks.layout(), b'{"version":2}'))
    for look in (check, repair):
        with pytest.raises(LayoutTooNew):
            await look(store, ks)


async def test_what_the_service_leaves_is_clean(store: Store, ks: Keyspace) -> None:
    """Started, updated, paused, resumed, rolled out and back, stopped: nothing is ever wrong."""
    async with a_service(store, ks) as service:
        for request in (
            start("f1", size=300, op="op-1"),
            start("f2"),
            RollOut(blueprint_name="small", parameters={"limit": 20}),
            UpdateFlow(flow="f1", parameters={"size": 400}),
            PauseFlow(flow="f1"),
            UpdateFlow(flow="f1", parameters={"size": 500}),
            PauseFlow(flow="f2"),
            ResumeFlow(flow="f1"),
            StopFlow(flow="f2"),
            RollBackFlow(flow="f1", to="op-1"),
            StopFlow(flow="f1"),
            RollBackFlow(flow="f1", to="op-1"),
        ):
            await service.change(request)
            assert (await check(store, ks))[1] == [], request


# -- flowctl fsck --------------------------------------------------------------------------------


@pytest.fixture
def flowctl(etcd_endpoint: str, root: str) -> Callable[..., int]:
    """``flowctl fsck`` on the session's etcd; its exit code."""

    def call(*args: str) -> int:
        full = [*args, "--endpoints", etcd_endpoint, "--root", root]
        code = cli.flowctl.main(["fsck", *full], "flowctl", standalone_mode=False)
        return int(code or 0)

    return call


@pytest.fixture
def on_etcd(etcd_endpoint: str, ks: Keyspace) -> Callable[..., None]:
    """Write to the session's etcd, for tests without a loop."""
    from kvconfig.etcd import connect

    def put(*writes: Put | Delete) -> None:
        async def main() -> None:
            async with connect([etcd_endpoint]) as store:
                await write(store, *writes)

        asyncio.run(main())

    return put


def test_flowctl_tells_of_every_finding(flowctl, on_etcd, ks, capsys) -> None:
    """A table on stdout, how many there are on stderr; exit code 1 while there are errors."""
    on_etcd(*started(ks), Put(ks.active_flow(BY_HAND), encode(OTHER)))
    on_etcd(Delete(ks.flow_blueprint("small")))
    assert flowctl() == 1
    out, err = capsys.readouterr()
    head, orphan, warning = out.splitlines()
    assert head.split() == ["SEVERITY", "CODE", "REPAIR", "KEY", "MESSAGE"]
    assert orphan.split()[:3] == ["error", "orphan-variant", "possible"]
    assert orphan.split()[3] == f"/{ks.root}/active-flow/chunker/by-hand"
    assert warning.split()[:3] == ["warning", "blueprint-missing", "none"]
    assert err.startswith("1 error, 1 warning at revision ")
    assert err.endswith("; --repair mends 1\n")


def test_flowctl_repairs(flowctl, on_etcd, ks, capsys) -> None:
    """--repair says what was done and what is left; warnings alone are exit code 0."""
    on_etcd(*started(ks), Put(ks.active_flow(BY_HAND), encode(OTHER)))
    on_etcd(Delete(ks.flow_blueprint("small")))
    assert flowctl("--repair", "-o", "json") == 0
    out, err = capsys.readouterr()
    told = [(each["severity"], each["code"], each["repair"]) for each in json.loads(out)]
    assert told == [("error", "orphan-variant", "done"), ("warning", "blueprint-missing", "none")]
    assert err.startswith("1 repaired; 0 errors, 1 warning at revision ")
    assert flowctl("-o", "name") == 0
    assert capsys.readouterr().out == f"/{ks.root}/flow/f1\n"


def test_flowctl_finds_nothing_wrong(flowctl, on_etcd, ks, capsys) -> None:
    """Nothing on stdout but the head, all is well on stderr, exit code 0."""
    on_etcd(*started(ks))
    assert flowctl() == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert err.startswith("all is well at revision ")
    assert flowctl("-o", "json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_flowctl_needs_etcd(monkeypatch) -> None:
    """Without endpoints it is wrong usage: a flow service cannot be asked for this."""
    from click import UsageError

    monkeypatch.delenv("ETCDCTL_ENDPOINTS", raising=False)
    with pytest.raises(UsageError, match="--endpoints"):
        cli.flowctl.main(["fsck"], "flowctl", standalone_mode=False)


def test_flowctl_help_has_an_example(capsys) -> None:
    """As every command has."""
    cli.flowctl.main(["fsck", "--help"], "flowctl", standalone_mode=False)
    assert "Example:\n    flowctl fsck " in capsys.readouterr().out

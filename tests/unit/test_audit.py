"""The invariants of flows: a clean system has no anomaly, and each damage has its own.

The system is made by hand here, key by key, so that nothing depends on what the service does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from flowsvc.audit import Anomaly, audit
from flowsvc.fsck import check, repair
from kvconfig.codec import encode
from kvconfig.errors import TransactionAborted
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.memory import MemoryStore
from kvconfig.model import KeyValue, Revision
from kvconfig.records import FlowRecord, FlowVariants, HistoryRecord, VariantRecord
from kvconfig.store import list_all
from kvconfig.txn import Delete, Put, Txn

KS = Keyspace("@s")
Write = Put | Delete

SHARED = VariantRecord(topics={"request": "ask"}, parameters={"limit": "10"})
BLUEPRINT: dict[str, Any] = {
    "flow": {"chunker:{id}": {"topics": {"input": "in:{id}"}, "parameters": {}}},
    "blueprint": {"query:{blueprint}": {"topics": {"request": "ask"}, "parameters": {}}},
    "interfaces": {},
    "parameters": {},
}


def own(flow: str) -> VariantRecord:
    return VariantRecord(topics={"input": f"in:{flow}"}, parameters={"secret": f"hush-{flow}"})


def values(flow: str) -> dict[str, VariantRecord]:
    return {f"chunker/{flow}": own(flow), "query/small": SHARED}


def record(flow: str, op: str, *, paused: bool = False, **changed: Any) -> FlowRecord:
    made = FlowRecord(
        blueprint_name="small",
        description="",
        interfaces={},
        parameters={},
        given={},
        variants=FlowVariants(own=(f"chunker/{flow}",), shared=("query/small",)),
        op=op,
        paused=values(flow) if paused else None,
    )
    return msgspec.structs.replace(made, **changed)


def entry(action: str, after: object = None) -> bytes:
    return encode(
        HistoryRecord(action=action, by="", at="2026-01-01T00:00:00Z", why="", after=after)
    )


def after(
    made: FlowRecord, variants: Mapping[str, VariantRecord] | None = None
) -> dict[str, object]:
    return {"record": made, "variants": {} if variants is None else variants}


def history(flow: str, op: str) -> bytes:
    return KS.history("flow", flow, op)


def active(name: str) -> bytes:
    return KS.active_flow(VariantName.parse(name))


def ref(flow: str) -> bytes:
    return KS.flow_ref(VariantName("query", "small"), flow)


def use(flow: str, blueprint: str = "small") -> bytes:
    return KS.blueprint_use(blueprint, flow)


def variant(name: str, value: VariantRecord) -> Put:
    return Put(active(name), encode(value))


def running(flow: str, op: str) -> list[Write]:
    made = record(flow, op)
    return [
        Put(KS.flow(flow), encode(made)),
        variant(f"chunker/{flow}", own(flow)),
        Put(ref(flow), b"{}"),
        Put(use(flow), b"{}"),
        Put(history(flow, op), entry("start", after(made, values(flow)))),
    ]


def clean() -> list[Write]:
    """f1 and f2 run and share a variant, f3 is paused, f4 is gone; and what else there is."""
    paused = record("f3", "op-3b", paused=True)
    return [
        Put(KS.layout(), b'{"version":1}'),
        Put(KS.flow_blueprint("small"), encode(BLUEPRINT)),
        Put(KS.history("flow-blueprint", "small", "op-0"), entry("put", BLUEPRINT)),
        Put(KS.parameter_type("size"), b"{}"),
        Put(KS.item("prompt", "a/b c"), b"[1]"),
        Put(KS.processor("chunker", "one"), b"{}"),
        Put(history("f1", "z-older"), entry("start", after(record("f1", "z-older"), values("f1")))),
        variant("query/small", SHARED),
        *running("f1", "op-1"),
        *running("f2", "op-2"),
        Put(history("f1", "z-lost"), entry("abandoned")),
        Put(history("f3", "op-3"), entry("start", after(record("f3", "op-3"), values("f3")))),
        Put(KS.flow("f3"), encode(paused)),
        Put(use("f3"), b"{}"),
        Put(history("f3", "op-3b"), entry("pause", after(paused))),
        Put(history("f4", "z-4"), entry("start", after(record("f4", "z-4"), values("f4")))),
        Put(history("f4", "a-4"), entry("stop")),
    ]


async def a_store(*writes: Write) -> MemoryStore:
    """A revision for each write, as history needs it."""
    store = MemoryStore()
    for write in writes:
        await store.commit(Txn(then=(write,)))
    return store


async def audited(store: MemoryStore) -> list[Anomaly]:
    return audit(KS, (await list_all(store, KS.everything())).items)


def short(found: list[Anomaly]) -> list[tuple[str, str]]:
    """Code and key; a warning in brackets."""
    return [
        (each.code if each.severity == "error" else f"({each.code})", each.key.removeprefix("/@s/"))
        for each in found
    ]


def edited(flow: str, op: str, **changed: Any) -> Put:
    """The record of a flow, edited by hand."""
    return Put(KS.flow(flow), encode(record(flow, op, **changed)))


def written(flow: str, op: str, variants: FlowVariants) -> list[Write]:
    """A flow of any variants, as if a service had started it."""
    made = record(flow, op, variants=variants)
    held = dict.fromkeys((*variants.own, *variants.shared), own(flow))
    return [
        Put(KS.flow(flow), encode(made)),
        Put(use(flow), b"{}"),
        Put(history(flow, op), entry("start", after(made, held))),
        *(variant(name, own(flow)) for name in held),
        *(Put(KS.flow_ref(VariantName.parse(name), flow), b"{}") for name in variants.shared),
    ]


OTHER = VariantRecord(topics={"input": "elsewhere"}, parameters={"secret": "hush-other"})
MANY = FlowVariants(own=tuple(f"p/v{n:04}" for n in range(4_200)))
TWICE = FlowVariants(own=("chunker/f5", "chunker/f5"))

Case = tuple[list[Write], list[tuple[str, str]]]

MENDED: dict[str, Case] = {
    "a variant written by hand": (
        [variant("chunker/by-hand", OTHER)],
        [("orphan-variant", "active-flow/chunker/by-hand")],
    ),
    "one that is no variant either": (
        [Put(active("chunker/by-hand"), b"nonsense")],
        [("orphan-variant", "active-flow/chunker/by-hand")],
    ),
    "an orphan with a stray reference": (
        [Put(active("query/x"), b"{}"), Put(KS.flow_ref(VariantName("query", "x"), "f9"), b"{}")],
        [("orphan-variant", "active-flow/query/x"), ("stray-ref", "flow-ref/query/x/f9")],
    ),
    "a variant of a paused flow": (
        [variant("chunker/f3", own("f3"))],
        [("orphan-variant", "active-flow/chunker/f3")],
    ),
    "an own variant deleted": (
        [Delete(active("chunker/f1"))],
        [("missing-variant", "active-flow/chunker/f1")],
    ),
    "a shared variant deleted": (
        [Delete(active("query/small"))],
        [("missing-variant", "active-flow/query/small")],
    ),
    "an own variant changed": (
        [variant("chunker/f1", OTHER)],
        [("wrong-value", "active-flow/chunker/f1")],
    ),
    "a shared variant changed": (
        [variant("query/small", OTHER)],
        [("wrong-value", "active-flow/query/small")],
    ),
    "a variant that does not decode": (
        [Put(active("chunker/f1"), b'{"topics":{},"command":"rm"}')],
        [("broken-variant", "active-flow/chunker/f1")],
    ),
    "a record that does not decode": (
        [Put(KS.flow("f1"), b"hush")],
        [("broken-flow-record", "flow/f1")],
    ),
    "a record with a field of another type": (
        [Put(KS.flow("f1"), encode(record("f1", "op-1")).replace(b"{}", b'{"\\u001b[2J":{"":1}}'))],
        [("broken-flow-record", "flow/f1")],
    ),
    "a record that names what cannot be a variant": (
        [edited("f1", "op-1", variants=FlowVariants(own=("chunker",)))],
        [("broken-flow-record", "flow/f1")],
    ),
    "a record whose blueprint cannot be one": (
        [edited("f1", "op-1", blueprint_name="a/b")],
        [("broken-flow-record", "flow/f1")],
    ),
    "a paused record that lacks a value": (
        [
            Put(
                KS.flow("f3"),
                encode(
                    msgspec.structs.replace(record("f3", "op-3b"), paused={"query/small": SHARED})
                ),
            )
        ],
        [("broken-flow-record", "flow/f3")],
    ),
    "a record edited": (
        [edited("f1", "op-1", variants=FlowVariants(), description="mine")],
        [("wrong-record", "flow/f1")],
    ),
    "a reference deleted": ([Delete(ref("f1"))], [("missing-ref", "flow-ref/query/small/f1")]),
    "a reference of no flow": (
        [Put(ref("f9"), b"{}")],
        [("stray-ref", "flow-ref/query/small/f9")],
    ),
    "a reference of a paused flow": (
        [Put(ref("f3"), b"{}")],
        [("stray-ref", "flow-ref/query/small/f3")],
    ),
    "a reference to what the flow owns": (
        [Put(KS.flow_ref(VariantName("chunker", "f1"), "f1"), b"{}")],
        [("stray-ref", "flow-ref/chunker/f1/f1")],
    ),
    "a use deleted": ([Delete(use("f1"))], [("missing-use", "blueprint-use/small/f1")]),
    "a paused flow's use deleted": (
        [Delete(use("f3"))],
        [("missing-use", "blueprint-use/small/f3")],
    ),
    "a use of no flow": ([Put(use("f9"), b"{}")], [("stray-use", "blueprint-use/small/f9")]),
    "a use of another blueprint": (
        [Put(use("f1", "large"), b"{}")],
        [("stray-use", "blueprint-use/large/f1")],
    ),
    "the history of the record deleted": (
        [Delete(history("f1", "op-1"))],
        [("history-missing", "history/flow/f1/op-1")],
    ),
    "a paused flow's history deleted": (
        [Delete(history("f3", "op-3b"))],
        [("history-missing", "history/flow/f3/op-3b")],
    ),
    "the history of the record overwritten": (
        [Put(history("f1", "op-1"), b"hush")],
        [("broken-history", "history/flow/f1/op-1")],
    ),
    "the history of the record with another's": (
        [Put(history("f1", "op-1"), entry("start", after(record("f1", "op-7"), values("f1"))))],
        [("broken-history", "history/flow/f1/op-1")],
    ),
    "the history of the record without its variants": (
        [Put(history("f1", "op-1"), entry("start", after(record("f1", "op-1"))))],
        [("broken-history", "history/flow/f1/op-1")],
    ),
    "a flow that went without a word": (
        [Delete(history("f4", "a-4"))],
        [("history-differs", "history/flow/f4/z-4")],
    ),
    "a record deleted": (
        [Delete(KS.flow("f1"))],
        [
            ("orphan-variant", "active-flow/chunker/f1"),
            ("stray-use", "blueprint-use/small/f1"),
            ("stray-ref", "flow-ref/query/small/f1"),
            ("history-differs", "history/flow/f1/op-1"),
        ],
    ),
    "keys that no record can name": (
        [
            Put(b"/@s/active-flow/chunker/f 1", b"{}"),
            Put(b"/@s/flow-ref/query/small/f 1", b"{}"),
            Put(b"/@s/blueprint-use/small/", b"{}"),
        ],
        [
            ("unreadable-name", "active-flow/chunker/f 1"),
            ("unreadable-name", "blueprint-use/small/"),
            ("unreadable-name", "flow-ref/query/small/f 1"),
        ],
    ),
    "several at once, one in the way of another": (
        [Put(KS.flow("f1"), b"hush"), Delete(active("chunker/f1")), Delete(ref("f1"))],
        [
            ("missing-variant", "active-flow/chunker/f1"),
            ("missing-ref", "flow-ref/query/small/f1"),
            ("broken-flow-record", "flow/f1"),
        ],
    ),
}

LEFT: dict[str, Case] = {
    "a record that nothing else knows": (
        [
            Put(KS.flow("f9"), b"hush"),
            variant("chunker/f9", OTHER),
            Put(ref("f9"), b"{}"),
            Put(use("f9"), b"{}"),
        ],
        [("orphan-variant", "active-flow/chunker/f9"), ("broken-flow-record", "flow/f9")],
    ),
    "variants and flows as older versions kept them": (
        [
            Put(b"/@s/active-flow/chunker", b'{"f7":{"input":"in"}}'),
            Put(b"/@s/active-flow/chunker:f8", b'{"input":"in"}'),
            Put(KS.flow("f7"), b'{"blueprint-name":"small","description":"","interfaces":{}}'),
        ],
        [
            ("old-layout", "active-flow/chunker"),
            ("old-layout", "active-flow/chunker:f8"),
            ("old-layout", "flow/f7"),
        ],
    ),
    "a record broken after its history": (
        [Put(KS.flow("f4"), b"hush")],
        [("broken-flow-record", "flow/f4")],
    ),
    "an older record put back": (
        [edited("f1", "z-older", variants=FlowVariants(shared=("query/small",)))],
        [
            ("orphan-variant", "active-flow/chunker/f1"),
            ("history-differs", "history/flow/f1/op-1"),
        ],
    ),
    "a stop in the history of a flow that runs": (
        [Put(history("f1", "op-9"), entry("stop"))],
        [("history-differs", "history/flow/f1/op-9")],
    ),
    "the operation of the record was a stop": (
        [Put(history("f1", "op-1"), entry("stop"))],
        [("history-differs", "history/flow/f1/op-1")],
    ),
    "own by two": (
        written("f5", "op-5", FlowVariants(own=("chunker/f1",))),
        [("claimed-twice", "active-flow/chunker/f1")],
    ),
    "own by one and shared by another": (
        written("f5", "op-5", FlowVariants(shared=("chunker/f1",))),
        [("claimed-twice", "active-flow/chunker/f1")],
    ),
    "two histories of one shared variant": (
        [
            Put(
                history("f2", "op-2"),
                entry("start", after(record("f2", "op-2"), values("f2") | {"query/small": OTHER})),
            )
        ],
        [("wrong-value", "active-flow/query/small")],
    ),
    "two histories of one that is missing": (
        [
            Delete(active("query/small")),
            Put(
                history("f2", "op-2"),
                entry("start", after(record("f2", "op-2"), values("f2") | {"query/small": OTHER})),
            ),
        ],
        [("missing-variant", "active-flow/query/small")],
    ),
    "neither variant nor history": (
        [Delete(active("chunker/f1")), Delete(history("f1", "op-1"))],
        [
            ("missing-variant", "active-flow/chunker/f1"),
            ("history-missing", "history/flow/f1/op-1"),
        ],
    ),
    "more than one transaction can delete": (
        written("f5", "op-5", MANY),
        [("cannot-be-stopped", "flow/f5")],
    ),
    "a variant named twice": (
        written("f5", "op-5", TWICE),
        [("cannot-be-stopped", "flow/f5")],
    ),
    "a variant of its own that it also shares": (
        written("f5", "op-5", FlowVariants(own=("chunker/f5",), shared=("chunker/f5",))),
        [("cannot-be-stopped", "flow/f5")],
    ),
    "a blueprint deleted by force": (
        [Delete(KS.flow_blueprint("small"))],
        [("(blueprint-missing)", f"flow/f{n}") for n in (1, 2, 3)],
    ),
    "a blueprint overwritten": (
        [Put(KS.flow_blueprint("small"), b"hush")],
        [("(broken-blueprint)", "flow-blueprint/small")],
    ),
    "an error and warnings": (
        [Delete(KS.flow_blueprint("small")), Put(b"/@s/flow/z/z", b"{}")],
        [
            ("unreadable-name", "flow/z/z"),
            *[("(blueprint-missing)", f"flow/f{n}") for n in (1, 2, 3)],
        ],
    ),
    "a newer entry that is none": (
        [Put(history("f1", "op-8"), b"hush")],
        [("(broken-history)", "history/flow/f1/op-8")],
    ),
    "an older entry overwritten": (
        [Put(history("f1", "z-older"), b"hush")],
        [("(broken-history)", "history/flow/f1/z-older")],
    ),
    "keys by hand that hold something": (
        [
            Put(b"/@s/flow/a/b", b"hush"),
            Put(b"/@s/flow-blueprint/-", b"{}"),
            Put(b"/@s/history/flow/f1", b"{}"),
            Put(b"/@s/parameter-type/a b", b"{}"),
            Put(b"/@s/processor/chunker/\xff", b"{}"),
        ],
        [
            ("unreadable-name", "flow-blueprint/-"),
            ("unreadable-name", "flow/a/b"),
            ("unreadable-name", "history/flow/f1"),
            ("unreadable-name", "parameter-type/a b"),
            ("unreadable-name", "processor/chunker/\\xff"),
        ],
    ),
}


async def test_a_clean_system_has_no_anomaly() -> None:
    """Running, paused and stopped flows, abandoned operations, other types: nothing is wrong."""
    assert await audited(await a_store(*clean())) == []


async def test_other_systems_in_the_same_etcd_are_none_of_its_business() -> None:
    """Without a root, the keys below other roots are left alone."""
    store = await a_store(*clean(), variant("chunker/by-hand", OTHER))
    page = await list_all(store, Keyspace("").everything())
    assert audit(Keyspace(""), page.items) == []


@pytest.mark.parametrize(("damage", "expected"), MENDED.values(), ids=MENDED)
async def test_damage_is_found_and_mended(
    damage: list[Write], expected: list[tuple[str, str]]
) -> None:
    """Each damage is named, once; its repairs make the system clean, and say so beforehand."""
    store = await a_store(*clean(), *damage)
    found = await audited(store)
    assert short(found) == expected
    assert all(each.repair is not None and "; repair " in each.message for each in found)
    repaired = await repair(store, KS)
    assert repaired.left == ()
    assert await audited(store) == []
    assert {each.key for each in repaired.done} == {each.key for each in found}


@pytest.mark.parametrize(("damage", "expected"), LEFT.values(), ids=LEFT)
async def test_damage_that_nobody_can_mend_is_found_and_left_alone(
    damage: list[Write], expected: list[tuple[str, str]]
) -> None:
    """Where two readings are possible nothing is written, and the message says what to do."""
    store = await a_store(*clean(), *damage)
    found = await audited(store)
    assert short(found) == expected
    assert all(each.repair is None and "; no repair: " in each.message for each in found)
    before = store.revision
    repaired = await repair(store, KS)
    assert (list(repaired.left), repaired.done, store.revision) == (found, (), before)


GUARDS: dict[str, list[str]] = {
    "a variant written by hand": ["active-flow/chunker/by-hand", "flow-ref/chunker/by-hand/*"],
    "an orphan with a stray reference": ["active-flow/query/x", "flow-ref/query/x/*"],
    "an own variant deleted": ["active-flow/chunker/f1", "flow/f1"],
    "an own variant changed": ["active-flow/chunker/f1", "flow/f1"],
    "a shared variant changed": ["active-flow/query/small", "flow/f1"],
    "a variant that does not decode": ["active-flow/chunker/f1", "flow/f1"],
    "a record that does not decode": ["flow/f1", "history/flow/f1/op-1"],
    "a record edited": ["flow/f1", "history/flow/f1/op-1"],
    "a reference deleted": ["flow-ref/query/small/f1", "flow/f1"],
    "a reference of no flow": ["flow-ref/query/small/f9", "flow/f9"],
    "a reference of a paused flow": ["flow-ref/query/small/f3", "flow/f3"],
    "a use deleted": ["blueprint-use/small/f1", "flow/f1"],
    "a use of no flow": ["blueprint-use/small/f9", "flow/f9"],
    "a use of another blueprint": ["blueprint-use/large/f1", "flow/f1"],
    "the history of the record deleted": [
        "history/flow/f1/op-1",
        "flow/f1",
        "active-flow/chunker/f1",
        "active-flow/query/small",
    ],
    "the history of the record overwritten": [
        "history/flow/f1/op-1",
        "flow/f1",
        "active-flow/chunker/f1",
        "active-flow/query/small",
    ],
    "a flow that went without a word": [
        "flow/f4",
        "history/flow/f4/z-4",
        "history/flow/f4/fsck-25",
    ],
    "keys that no record can name": ["active-flow/chunker/f 1"],
}


@pytest.mark.parametrize(("case", "guards"), GUARDS.items(), ids=GUARDS)
async def test_a_repair_does_nothing_once_what_it_rests_on_was_written(
    case: str, guards: list[str]
) -> None:
    """Each key that a finding rests on is compared; a write to any of them stops the repair."""
    damage, _ = MENDED[case]
    found = (await audited(await a_store(*clean(), *damage)))[0]
    assert found.repair is not None
    compares = found.repair.compares
    assert await _committed_by(await a_store(*clean(), *damage), found)
    assert [str(each).partition("(/@s/")[2].partition(")")[0] for each in compares] == guards
    for compare in compares:
        written_to = compare.key + b"f9" if compare.end else compare.key
        store = await a_store(*clean(), *damage, Put(written_to, b"{}"))
        assert not (await store.commit(found.repair)).succeeded, compare


async def test_values_never_appear_in_messages() -> None:
    """A value may be secret: no finding holds any part of one."""
    for damage, _ in (MENDED | LEFT).values():
        for each in await audited(await a_store(*clean(), *damage)):
            assert "hush" not in each.message + each.key
            assert each.message.isprintable()


async def test_a_repair_puts_back_just_what_was_there() -> None:
    """Record, variants and references have the bytes that they had before the damage."""
    store = await a_store(*clean())
    before = {kv.key: kv.value for kv in (await list_all(store, KS.everything())).items}
    for key in (active("chunker/f1"), active("query/small"), ref("f1"), use("f2")):
        await store.commit(Txn(then=(Delete(key),)))
    await store.commit(Txn(then=(Put(KS.flow("f2"), b"hush"), variant("chunker/f2", OTHER))))
    assert (await repair(store, KS)).left == ()
    assert before == {kv.key: kv.value for kv in (await list_all(store, KS.everything())).items}


async def test_history_is_written_anew_from_what_stands() -> None:
    """The entry says who wrote it and when; and a flow of any size has its variants compared."""
    names = FlowVariants(own=tuple(f"p/v{n:03}" for n in range(300)))
    store = await a_store(*clean(), *written("f5", "op-5", names), Delete(history("f5", "op-5")))
    (found,) = await audited(store)
    assert found.repair is not None
    late = await a_store(
        *clean(),
        *written("f5", "op-5", names),
        Delete(history("f5", "op-5")),
        variant("p/v299", OTHER),
    )
    assert not await _committed_by(late, found)
    assert (await repair(store, KS, now_s=lambda: 0.5)).left == ()
    kv = await store.read(history("f5", "op-5"))
    assert kv is not None
    told = json.loads(kv.value)
    assert (told["action"], told["by"]) == ("repair", "flowctl fsck")
    assert told["at"] == "1970-01-01T00:00:00.500Z"
    assert told["after"]["record"]["op"] == "op-5"
    assert len(told["after"]["variants"]) == 300


async def _committed_by(store: MemoryStore, found: Anomaly) -> bool:
    assert found.repair is not None
    try:
        return (await store.commit(found.repair)).succeeded
    except TransactionAborted:
        return False


async def test_a_flow_that_no_record_tells_of_protects_every_orphan() -> None:
    """As long as a record cannot be read, what seems to be an orphan may be that flow's."""
    damage = [Put(KS.flow("f9"), b"hush"), variant("chunker/f9", OTHER)]
    store = await a_store(*clean(), *damage)
    assert all(each.repair is None for each in await audited(store))
    await store.commit(Txn(then=(Delete(KS.flow("f9")),)))
    (orphan,) = await audited(store)
    assert orphan.repair is not None


async def test_check_and_audit_see_the_same() -> None:
    """``check`` reads all types that the audit looks at, whatever the size of a page."""
    for damage, expected in (MENDED | LEFT).values():
        store = MemoryStore(page_size=3)
        for write in (*clean(), *damage):
            await store.commit(Txn(then=(write,)))
        revision, found = await check(store, KS)
        assert (revision, short(found)) == (store.revision, expected)


def test_a_large_system_is_audited_in_seconds() -> None:
    """4,000 flows with 36,000 variants of their own: linear (200,000 take some five seconds)."""
    items = _large(flows=4_000, own=9)
    started = time.perf_counter()
    assert audit(KS, items) == []
    took_s = time.perf_counter() - started
    print(f"audited {len(items)} keys in {took_s:.1f} s")
    assert took_s < 20


def _large(*, flows: int, own: int) -> list[KeyValue]:
    value = VariantRecord(topics={"input": "in", "output": "out"}, parameters={"size": "500"})
    found = {KS.flow_blueprint("small"): encode(BLUEPRINT)}
    for n in range(flows):
        flow = f"f{n}"
        shared = f"query/s{n // 20}"
        names = FlowVariants(own=tuple(f"p{i}/{flow}" for i in range(own)), shared=(shared,))
        made = record(flow, f"op-{n}", variants=names)
        held = dict.fromkeys((*names.own, shared), value)
        found |= {active(name): encode(each) for name, each in held.items()}
        found[KS.flow(flow)] = encode(made)
        found[KS.flow_ref(VariantName.parse(shared), flow)] = b"{}"
        found[use(flow)] = b"{}"
        found[history(flow, made.op)] = entry("start", after(made, held))
    one = Revision(1)
    return [KeyValue(key, value, one, one, 1) for key, value in found.items()]

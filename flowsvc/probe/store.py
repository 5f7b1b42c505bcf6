"""What lies in etcd, and whether a watch on it is alive: seen as a flow service would."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial

from msgspec import structs

from flowsvc import fsck
from flowsvc.audit import Anomaly
from flowsvc.doctor import NOT_ASKED, Endpoint, Facts, InstanceFacts
from flowsvc.observe import Observer
from flowsvc.probe.asking import known, timed
from flowsvc.status import FlowStatus
from kvconfig.errors import InvalidName, InvalidValue
from kvconfig.etcd import Access, connect
from kvconfig.informer import Informer
from kvconfig.keys import Range, one
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue, Revision
from kvconfig.records import FlowRecord, InstanceStatus, decode_flow, decode_layout, decode_status
from kvconfig.store import Store, list_all
from kvconfig.txn import Read, ReadResult, Txn

__all__ = ["below", "watched"]

COMMITS = 3
"""Of which the median counts."""

LEASE_S = 10
"""Should the connection end before it is revoked."""

LOOKS = 10
"""At instances that are behind."""


async def watched(
    facts: Facts, access: Access, timeout_s: float, silence_s: float
) -> tuple[Endpoint, ...]:
    """Whether a watch lives, at each endpoint that answers."""
    key = facts.keyspace.layout()

    async def watch(endpoint: Endpoint, given: str) -> Endpoint:
        if not endpoint.answers:
            return endpoint
        there = structs.replace(access, endpoints=(given,))
        sign = partial(_sign_of_life, there, key, silence_s)
        return structs.replace(endpoint, watch_s=await known(timed(sign), timeout_s))

    return tuple(await asyncio.gather(*map(watch, facts.endpoints, access.endpoints)))


async def below(facts: Facts, access: Access, timeout_s: float, *, write: bool) -> Facts:
    """What lies below the root, read through endpoints that have a quorum behind them."""
    given = tuple(
        each
        for endpoint, each in zip(facts.endpoints, access.endpoints, strict=True)
        if endpoint.agrees
    )
    if not given:
        return structs.replace(facts, commit_s=NOT_ASKED if write else None)
    keyspace = facts.keyspace
    async with connect(structs.replace(access, endpoints=given), timeout_s=timeout_s) as store:
        layout, instances, flows, anomalies, keys, history = await asyncio.gather(
            known(_layout(store, keyspace), timeout_s),
            known(_settled(store, keyspace, facts.settle_s), timeout_s + facts.settle_s),
            known(_flows(store, keyspace), timeout_s),
            known(_anomalies(store, keyspace), timeout_s),
            known(_count(store, keyspace.all_types()), timeout_s),
            known(_count(store, [keyspace.type_range("history")]), timeout_s),
        )
        commit_s = await known(_commit_s(store), timeout_s) if write else None
    return structs.replace(
        facts,
        layout=layout,
        instances=instances,
        flows=flows,
        anomalies=anomalies,
        keys=keys,
        history=history,
        commit_s=commit_s,
    )


async def _sign_of_life(access: Access, key: bytes, silence_s: float) -> None:
    async with (
        connect(access, silence_s=silence_s) as store,
        store.watch(one(key), start=Revision(0)) as watch,
    ):
        await anext(aiter(watch))


# -- what lies there -----------------------------------------------------------------------------


async def _layout(store: Store, keyspace: Keyspace) -> int | None:
    found = await store.read(keyspace.layout())
    return None if found is None else decode_layout(found.value, key=found.key).version


async def _settled(store: Store, keyspace: Keyspace, settle_s: float) -> tuple[InstanceFacts, ...]:
    """The instances, once none is behind, or after ``settle_s``."""
    newest = await _newest(store, keyspace)  # once: what comes after it need not be reported yet
    found = await _instances(store, keyspace, newest)
    for _ in range(LOOKS):
        if not any(each.behind for each in found):
            break
        await asyncio.sleep(settle_s / LOOKS)
        found = await _instances(store, keyspace, newest)
    return found


async def _newest(store: Store, keyspace: Keyspace) -> dict[str, Revision]:
    """The revision of the last put of a variant, by processor."""
    newest: dict[str, Revision] = {}
    async for page in store.list(keyspace.type_range("active-flow"), keys_only=True):
        for kv in page.items:
            try:
                processor = keyspace.parse_active_flow(kv.key).processor
            except InvalidName:
                continue  # no instance looks at it
            newest[processor] = max(kv.mod_revision, newest.get(processor, Revision(0)))
    return newest


async def _instances(
    store: Store, keyspace: Keyspace, newest: Mapping[str, Revision]
) -> tuple[InstanceFacts, ...]:
    found = []
    for kv in (await list_all(store, keyspace.type_range("processor"))).items:
        try:
            processor, name = keyspace.parse_processor(kv.key)
        except InvalidName:
            continue  # told by fsck
        found.append(
            InstanceFacts(
                processor=processor,
                name=name,
                mod_revision=kv.mod_revision,
                leased=kv.lease != 0,
                status=_status(kv),
                newest=newest.get(processor, Revision(0)),
            )
        )
    return tuple(found)


def _status(kv: KeyValue) -> InstanceStatus | None:
    try:
        return decode_status(kv.value, key=kv.key)
    except InvalidValue:
        return None


async def _flows(store: Store, keyspace: Keyspace) -> tuple[FlowStatus, ...]:
    def decode(kv: KeyValue) -> tuple[str, FlowRecord]:
        return keyspace.parse_named(kv.key, "flow"), decode_flow(kv.value, key=kv.key)

    async with Informer(store, keyspace.type_range("flow"), decode, name="flow") as flows:
        await flows.synced()
        async with Observer(store, keyspace, flows) as observer:
            return tuple(await observer.statuses())


async def _anomalies(store: Store, keyspace: Keyspace) -> tuple[Anomaly, ...]:
    _, found = await fsck.check(store, keyspace)
    return tuple(found)


async def _count(store: Store, ranges: Iterable[Range]) -> int:
    reads = (Read(range_.start, range_.end, limit=1, keys_only=True) for range_ in ranges)
    results = (await store.commit(Txn(then=tuple(reads)))).results
    return sum(result.count for result in results if isinstance(result, ReadResult))


async def _commit_s(store: Store) -> float:
    """How long it takes to grant a lease: a commit like any other, which no key shows."""
    leases = []

    async def grant() -> None:
        leases.append(await store.grant(LEASE_S))

    try:
        return await timed(grant, times=COMMITS)
    finally:
        for lease in leases:
            await store.revoke(lease)

"""etcd restored from a snapshot: its revision goes back, and its cluster id stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from kvconfig.devserver import EtcdBinary, LocalCluster
from kvconfig.etcd import EtcdStore, connect
from kvconfig.informer import Informer
from kvconfig.keys import prefix
from kvconfig.model import Revision
from kvconfig.store import list_all
from kvconfig.txn import Delete, Put, Txn
from tests.robustness.admin import restore
from tests.robustness.proxy import Proxy
from tests.robustness.recorder import Recorder, raw
from tests.robustness.report import Row, report
from tests.robustness.waiting import is_exactly, shows

pytestmark = [pytest.mark.timeout(120), pytest.mark.robustness_ci]

Etcdctl = Callable[..., Awaitable[str]]
BASE = b"/r/"


@pytest.fixture
async def single(robust_binary: EtcdBinary) -> AsyncIterator[LocalCluster]:
    async with LocalCluster(1, binary=robust_binary) as started:
        yield started


async def put_all(store: EtcdStore, value: bytes, count: int = 40) -> Revision:
    """Each key in a transaction of its own; the last revision."""
    revision = Revision(0)
    for n in range(count):
        put = Put(BASE + b"k%02d" % n, value)
        revision = (await store.commit(Txn(then=(put,)))).revision
    return revision


@pytest.mark.parametrize("more", [False, True], ids=["behind", "past"])
async def test_etcd_is_restored(
    single: LocalCluster, etcdctl: Etcdctl, etcdctl_path: Path, tmp_path: Path, more: bool
) -> None:
    """What is in etcd now is what is shown: what came after the snapshot is gone, what was deleted
    after it is back; also where new writes (``past``) have hidden that the revision went back."""
    (member,) = single.members
    snapshot = tmp_path / "snapshot.db"
    async with (
        Proxy(member.endpoint) as link,
        connect([link.endpoint]) as store,
        connect(single.endpoints) as direct,
    ):
        await put_all(direct, b"before")
        await etcdctl(member.endpoint, "snapshot", "save", str(snapshot))
        informer = Informer(store, prefix(BASE), raw)
        recorder = Recorder(informer)
        async with informer:
            await informer.synced()
            # Lost by the restore: changed, new and deleted keys.
            await put_all(direct, b"after", 20)
            for n in range(30):
                await direct.commit(Txn(then=(Put(BASE + b"new%02d" % n, b"after"),)))
            gone = await direct.commit(Txn(then=(Delete(BASE + b"k39"),)))
            await informer.until(lambda items: BASE + b"k39" not in items)

            await link.refuse()
            await asyncio.to_thread(member.stop)
            await restore(single, member, snapshot, etcdctl_path)
            single.spawn(member)
            await single.wait_ready()
            if more:
                # Other keys of the prefix, until the revision is higher than it was.
                revision = Revision(0)
                while revision <= gone.revision:
                    put = Put(BASE + b"other", b"%d" % revision)
                    revision = (await direct.commit(Txn(then=(put,)))).revision
            await link.heal()
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            page = await list_all(direct, prefix(BASE))
            assert (page.revision > gone.revision) is more
            await is_exactly(informer, {kv.key: kv for kv in page.items}, within_s=15)
            name = f"snapshot restore{', written past the old revision' if more else ''}"
            report(Row(scenario=name, since="ready", cache_s=loop.time() - began_s))
            # And it goes on from there.
            await put_all(direct, b"now", 5)
            await shows(informer, BASE + b"k04", b"now")
        recorder.check_end()
        assert set(informer.items) >= {BASE + b"k39"}
        assert BASE + b"new00" not in informer.items

"""Tokens that expire, and rights that are missing or taken away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from kvconfig.devserver import EtcdBinary, LocalCluster
from kvconfig.errors import AuthenticationFailed, PermissionDenied
from kvconfig.etcd import Access, connect
from kvconfig.informer import Informer
from kvconfig.keys import prefix
from kvconfig.store import list_all
from kvconfig.txn import Put, Txn
from tests.robustness.admin import APP, ROOT, as_root, enable_auth
from tests.robustness.history import History
from tests.robustness.proxy import proxies
from tests.robustness.recorder import Recorder, raw
from tests.robustness.scenario import scenario
from tests.robustness.waiting import eventually, shows

pytestmark = pytest.mark.timeout(180)

Etcdctl = Callable[..., Awaitable[str]]
TTL_S = 3


@asynccontextmanager
async def guarded(binary: EtcdBinary, etcdctl: Etcdctl, *args: str) -> AsyncIterator[LocalCluster]:
    """A cluster that asks who comes."""
    async with LocalCluster(binary=binary, extra_args=args) as cluster:
        await enable_auth(etcdctl, cluster.endpoints[0])
        yield cluster


def app(endpoints: tuple[str, ...], password: str = APP[1]) -> Access:
    return Access(endpoints=endpoints, user=APP[0], password=password)


def signed_tokens(folder: Path) -> str:
    """Flag for tokens that end when their time is over, in use or not; with keys made for it."""
    pair = trustme.CA().issue_cert("etcd.test", key_type=trustme.KeyType.RSA)
    private, public = folder / "token.key", folder / "token.pem"
    pair.private_key_pem.write_to_path(private)
    pair.cert_chain_pems[0].write_to_path(public)
    parts = (f"pub-key={public}", f"priv-key={private}", "sign-method=RS256", f"ttl={TTL_S}s")
    return f"--auth-token=jwt,{','.join(parts)}"


@pytest.mark.robustness_ci
async def test_tokens_expire_in_use(
    robust_binary: EtcdBinary, etcdctl: Etcdctl, tmp_path: Path
) -> None:
    """Over three lifetimes of a token nobody is refused: not reads, writes, nor new watches."""
    async with guarded(robust_binary, etcdctl, signed_tokens(tmp_path)) as cluster:
        access = app(cluster.endpoints)
        history = History(cluster.endpoints[0], user=ROOT[0], password=ROOT[1])
        async with scenario(
            "tokens expire in use", cluster.endpoints, access=access, history=history
        ) as run:
            await run.warm_up()
            until = asyncio.get_running_loop().time() + 3 * TTL_S
            opened = 0
            while asyncio.get_running_loop().time() < until:
                range_ = run.informers[opened % len(run.informers)].range
                async with Informer(run.store, range_, raw) as another:
                    await asyncio.wait_for(another.synced(), 5)
                assert not another.stats.watch_ends
                opened += 1
            run.began("3 lifetimes")
            await run.recovered(within_s=5)
            assert not run.read_errors
            assert not set().union(*(writer.errors for writer in run.writers))
            assert all(informer.stats.lists == 1 for informer in run.informers)
            await run.verdict()
            assert opened > 20


@pytest.mark.robustness_ci
async def test_tokens_expire_while_nobody_uses_them(
    robust_binary: EtcdBinary, etcdctl: Etcdctl
) -> None:
    """After a silence a read, a write and a new watch, all at once, work at the first attempt; the
    watch that was there before lives on."""
    async with (
        guarded(robust_binary, etcdctl, f"--auth-token-ttl={TTL_S}") as cluster,
        connect(app(cluster.endpoints)) as store,
        Informer(store, prefix(b"/r-old/"), raw) as old,
    ):
        recorder = Recorder(old)
        await old.synced()
        await asyncio.sleep(TTL_S + 2)  # etcd looks for old ones every second
        put = Put(b"/r-old/k", b"1")
        async with Informer(store, prefix(b"/r-new/"), raw) as new:
            await asyncio.gather(
                store.read(b"/r-old/k"), store.commit(Txn(then=(put,))), new.synced()
            )
            assert not new.stats.watch_ends
        await shows(old, put.key, put.value)
        assert old.stats.lists == 1
        recorder.check_end()


@pytest.mark.robustness_ci
async def test_a_prefix_is_forbidden(robust_binary: EtcdBinary, etcdctl: Etcdctl) -> None:
    """Whoever waits for it is told, at once, which prefix it was; neighbours are not disturbed."""
    async with (
        guarded(robust_binary, etcdctl) as cluster,
        connect(app(cluster.endpoints)) as store,
        Informer(store, prefix(b"/r-mine/"), raw) as mine,
        Informer(store, prefix(b"/secret/"), raw) as secret,
    ):
        await asyncio.wait_for(mine.synced(), 5)
        for attempt in (
            secret.synced(),
            list_all(store, prefix(b"/secret/")),
            store.read(b"/secret/"),
            store.commit(Txn(then=(Put(b"/secret/", b"1"),))),
        ):
            with pytest.raises(PermissionDenied, match="/secret/") as caught:
                await asyncio.wait_for(attempt, 5)
            assert caught.value.key == b"/secret/"
        await store.commit(Txn(then=(Put(b"/r-mine/k", b"1"),)))
        await shows(mine, b"/r-mine/k", b"1", within_s=5)
        assert mine.stats.watch_ends == 0


async def test_a_wrong_password_is_said_at_once(
    robust_binary: EtcdBinary, etcdctl: Etcdctl
) -> None:
    """An informer of a user who is not let in ends with that, and does not try for ever."""
    async with (
        guarded(robust_binary, etcdctl) as cluster,
        connect(app(cluster.endpoints, "wrong")) as store,
        Informer(store, prefix(b"/r-mine/"), raw) as informer,
    ):
        with pytest.raises(AuthenticationFailed):
            await asyncio.wait_for(informer.synced(), 5)


async def test_rights_are_taken_away(robust_binary: EtcdBinary, etcdctl: Etcdctl) -> None:
    """An informer that may not list any more keeps what it had, and its age tells; once the rights
    are given back it catches up."""
    prefix_ = ("/r-", "--prefix=true")
    async with (
        guarded(robust_binary, etcdctl) as cluster,
        proxies(cluster.endpoints) as links,
        connect(app(tuple(link.endpoint for link in links))) as store,
    ):
        (endpoint, *_) = cluster.endpoints
        await store.commit(Txn(then=(Put(b"/r-mine/k", b"1"),)))
        async with Informer(store, prefix(b"/r-mine/"), raw) as informer:
            recorder = Recorder(informer)
            await informer.synced()
            await as_root(etcdctl, endpoint, "role", "revoke-permission", "app", *prefix_)
            for link in links:
                link.reset()
            with pytest.raises(PermissionDenied, match="/r-mine/"):
                await list_all(store, informer.range)
            await as_root(etcdctl, endpoint, "put", "/r-mine/k", "2")
            await eventually(lambda: informer.last_progress_age_s > 5)
            assert informer.items[b"/r-mine/k"].value == b"1"
            granted = ("grant-permission", "app", "readwrite", *prefix_)
            await as_root(etcdctl, endpoint, "role", *granted)
            await shows(informer, b"/r-mine/k", b"2")
            recorder.check_end()


async def test_users_change_under_load(robust_binary: EtcdBinary, etcdctl: Etcdctl) -> None:
    """Every change of a user makes etcd refuse what was under way; nobody hears of it."""
    async with guarded(robust_binary, etcdctl) as cluster:
        access = app(cluster.endpoints)
        history = History(cluster.endpoints[0], user=ROOT[0], password=ROOT[1])
        async with scenario(
            "users change under load", cluster.endpoints, access=access, history=history
        ) as run:
            await run.warm_up()
            for turn in range(15):
                await as_root(etcdctl, cluster.endpoints[turn % 3], "user", "add", f"u{turn}:pw")
                await run.more_writes(3)
            run.began("last change")
            await run.recovered(within_s=5)
            assert not run.read_errors
            assert not set().union(*(writer.errors for writer in run.writers))
            await run.verdict()

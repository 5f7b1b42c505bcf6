"""Certificates replaced under running clients: another authority, one member after the other."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import trustme

from kvconfig.devserver import EtcdBinary, LocalCluster, ServerTls
from kvconfig.errors import PermissionDenied, Unavailable
from kvconfig.etcd import Access, connect
from kvconfig.informer import Informer
from kvconfig.keys import prefix
from kvconfig.txn import Put, Txn
from tests.robustness.admin import ALLOWED, Etcdctl, enable_auth
from tests.robustness.history import History
from tests.robustness.recorder import raw
from tests.robustness.scenario import scenario
from tests.robustness.waiting import shows

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Files:
    """Where everybody's certificates lie."""

    cacert: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path

    @classmethod
    def below(cls, folder: Path) -> Files:
        names = ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")
        return cls(*(folder / name for name in names))

    def issue(self, *, life_s: float | None = None) -> None:
        """A new authority, and certificates of it in place of what lies there."""
        ca = trustme.CA()
        until = None
        if life_s is not None:
            until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=life_s)
        server = ca.issue_cert("127.0.0.1", not_after=until)
        client = ca.issue_cert("app.test", common_name="app", not_after=until)
        ca.cert_pem.write_to_path(self.cacert)
        server.private_key_pem.write_to_path(self.server_key)
        server.cert_chain_pems[0].write_to_path(self.server)
        client.private_key_pem.write_to_path(self.client_key)
        client.cert_chain_pems[0].write_to_path(self.client)

    def tls(self) -> ServerTls:
        return ServerTls(cacert=self.cacert, cert=self.server, key=self.server_key)

    def access(self, endpoints: tuple[str, ...] = ("127.0.0.1:1",)) -> Access:
        return Access(
            endpoints=endpoints, cacert=self.cacert, cert=self.client, key=self.client_key
        )

    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(
            self.cacert.read_bytes(), self.client_key.read_bytes(), self.client.read_bytes()
        )


@pytest.mark.robustness_ci
async def test_certificates_are_replaced(robust_binary: EtcdBinary, tmp_path: Path) -> None:
    """New files on disk and members restarted one by one: clients read the files again and go on,
    without a restart of theirs, although nothing of the old authority is accepted any more."""
    files = Files.below(tmp_path)
    files.issue()
    async with LocalCluster(binary=robust_binary, tls=files.tls()) as cluster:
        history = History(cluster.endpoints[0], credentials=files.credentials())
        async with scenario(
            "certificates of a new authority",
            cluster.endpoints,
            access=files.access(),
            history=history,
        ) as run:
            await run.warm_up()
            files.issue()
            for member in cluster.members:
                await cluster.restart(member)
                await run.more_writes(10)
            run.began("last member")
            await run.recovered(within_s=20)
            history.credentials = files.credentials()
            await run.verdict()


@pytest.mark.robustness_ci
async def test_the_common_name_is_the_user(
    robust_binary: EtcdBinary, etcdctl: Etcdctl, tmp_path: Path
) -> None:
    """With a client certificate and no password: its name has rights, and no others."""
    files = Files.below(tmp_path)
    files.issue()
    flags = (f"--cacert={files.cacert}", f"--cert={files.client}", f"--key={files.client_key}")
    async with LocalCluster(1, binary=robust_binary, tls=files.tls()) as cluster:

        async def over_tls(endpoint: str, *args: str) -> str:
            return await etcdctl(endpoint, *flags, *args)

        await enable_auth(over_tls, cluster.endpoints[0])
        async with connect(files.access(cluster.endpoints)) as store:
            await store.commit(Txn(then=(Put(ALLOWED + b"/k", b"1"),)))
            with pytest.raises(PermissionDenied):
                await store.read(b"/others")
            with pytest.raises(PermissionDenied):
                await store.commit(Txn(then=(Put(b"/others", b"1"),)))
            async with Informer(store, prefix(ALLOWED + b"/"), raw) as informer:
                await shows(informer, ALLOWED + b"/k", b"1")
            async with Informer(store, prefix(b"/others/"), raw) as informer:
                with pytest.raises(PermissionDenied, match="/others/"):
                    await informer.synced()
            assert store.calls["Auth/Authenticate"] == 0


async def test_certificates_expire(robust_binary: EtcdBinary, tmp_path: Path) -> None:
    """Connections made before go on; once they end, the new files are read, with no restart."""
    files = Files.below(tmp_path)
    life_s = 15
    files.issue(life_s=life_s)
    async with LocalCluster(binary=robust_binary, tls=files.tls()) as cluster:
        history = History(cluster.endpoints[0], credentials=files.credentials())
        async with scenario(
            "certificates expire", cluster.endpoints, access=files.access(), history=history
        ) as run:
            await run.warm_up()
            await asyncio.sleep(life_s)
            await run.more_writes(10)
            files.issue()
            for member in cluster.members:
                await cluster.restart(member)
            run.began("last member")
            await run.recovered(within_s=20)
            history.credentials = files.credentials()
            await run.verdict()


async def test_a_stranger_is_not_let_in(robust_binary: EtcdBinary, tmp_path: Path) -> None:
    """With certificates of another authority every call ends, with an error, in time."""
    files = Files.below(tmp_path)
    files.issue()
    strange = Files.below(tmp_path / "strange")
    (tmp_path / "strange").mkdir()
    strange.issue()
    async with (
        LocalCluster(1, binary=robust_binary, tls=files.tls()) as cluster,
        connect(strange.access(cluster.endpoints)) as stranger,
    ):
        with pytest.raises(Unavailable):
            await asyncio.wait_for(stranger.read(b"/r/k"), 35)

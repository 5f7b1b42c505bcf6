"""What only the store on etcd has: several endpoints, and what members say of themselves."""

from __future__ import annotations

import logging
import socket

import pytest

from flowsvc.service import FlowService
from kvconfig.errors import RequestRefused, Unavailable
from kvconfig.etcd import Access, connect
from kvconfig.etcd.server import advise, parse_version
from kvconfig.keyspace import Keyspace

DEAD = "127.0.0.1:1"


async def test_a_dead_endpoint_costs_a_try_and_no_more(etcd_endpoint: str) -> None:
    """Calls and watches move on to the next endpoint; a name is as good as an address."""
    port = etcd_endpoint.rpartition(":")[2]
    access = Access(endpoints=(DEAD, f"http://localhost:{port}"))
    async with connect(access) as store:
        assert await store.read(b"/nothing") is None
        assert store.calls["KV/Range"] == 2
        assert await store.read(b"/nothing") is None
        assert store.calls["KV/Range"] == 3


async def test_nobody_there_is_said_after_a_bounded_time() -> None:
    """Naming the endpoint and the reason."""
    async with connect([DEAD]) as store:
        with pytest.raises(Unavailable) as refused:
            await store.read(b"/nothing")
        assert refused.value.endpoints == (DEAD,)
        assert store.calls["KV/Range"] <= 6


async def test_where_two_are_silent_a_third_is_asked_in_time(etcd_endpoint: str) -> None:
    """All attempts together take at most three times as long as one. A flow service that opens asks
    again for 3 s."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        silent = [f"127.0.0.1:{server.getsockname()[1]}" for server in (one, other)]
        async with connect([*silent, etcd_endpoint], timeout_s=0.5) as store:
            assert await store.read(b"/nothing") is None
            assert store.calls["KV/Range"] == 3
        async with connect(silent, timeout_s=0.5) as store:
            with pytest.raises(Unavailable, match="DEADLINE_EXCEEDED"):
                await store.read(b"/nothing")
            assert store.calls["KV/Range"] <= 3
            with pytest.raises(Unavailable, match="DEADLINE_EXCEEDED"):
                async with FlowService(store, Keyspace()):
                    pass
            assert store.calls["KV/Range"] <= 3 + 3 * 3


async def test_members_say_what_they_are(
    etcd_endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Version, leader and size of each; one that is away says why. Known faults are logged."""
    async with connect([etcd_endpoint, DEAD]) as store:
        here, away = await store.members()
        assert here.leader
        assert here.has_leader
        assert here.db_size > 0
        assert away.error
        assert not away.version
        version = parse_version(here.version)
        assert version is not None
        with caplog.at_level(logging.WARNING, "kvconfig.etcd.store"):
            await store.log_advice()
        said = [record.__dict__["advice"] for record in caplog.records]
        assert said == [advice.what for advice in advise(version)]


async def test_a_closed_store_says_so(etcd_endpoint: str) -> None:
    """At once, without trying again."""
    async with connect([etcd_endpoint]) as store:
        pass
    with pytest.raises(RequestRefused):
        await store.read(b"/nothing")


def test_access_reads_what_etcdctl_reads() -> None:
    """The names and forms of etcdctl's environment; what does not fit together is refused."""
    environ = {
        "ETCDCTL_ENDPOINTS": "https://a:1, b:2",
        "ETCDCTL_CACERT": "ca.pem",
        "ETCDCTL_CERT": "me.pem",
        "ETCDCTL_KEY": "me.key",
        "ETCDCTL_USER": "ann:secret",
    }
    access = Access.from_environ(environ)
    assert access.endpoints == ("https://a:1", "b:2")
    assert (access.user, access.password) == ("ann", "secret")
    assert "secret" not in repr(access)
    assert access.secure("b:2")
    separate = Access.from_environ({"ETCDCTL_USER": "ann", "ETCDCTL_PASSWORD": "a:b"})
    assert (separate.endpoints, separate.password) == (("127.0.0.1:2379",), "a:b")
    assert not separate.secure("b:2")
    with pytest.raises(ValueError, match="come together"):
        Access.from_environ({"ETCDCTL_CERT": "me.pem"})

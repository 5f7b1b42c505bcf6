"""Every role, every kind of key, every operation, on a real etcd that asks who comes; and the ways
around its checks that are known, with what this etcd does about them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from flowsvc.cli import main
from flowsvc.probe import probe
from kvconfig.codec import encode
from kvconfig.config import Config
from kvconfig.devserver import DevServer, EtcdBinary
from kvconfig.errors import AuthenticationFailed, NoSpace, PermissionDenied
from kvconfig.etcd import Access, EtcdStore, connect
from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.etcd.inspection import inspecting
from kvconfig.etcd.server import advise
from kvconfig.keys import Range, prefix
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.model import Revision
from kvconfig.store import list_all
from kvconfig.txn import Compare, Delete, Put, Read, Txn, exists
from tests.robustness.admin import ROOT

Etcdctl = Callable[..., Awaitable[str]]
KS, ELSEWHERE = Keyspace(), Keyspace("@other")

AREAS: dict[str, bytes] = {
    "variants of chunk": KS.active_flow(VariantName("chunk", "f1")),
    "variants of chunker": KS.active_flow(VariantName("chunker", "f1")),
    "flows": KS.flow("f1"),
    "references": KS.flow_ref(VariantName("chunk", "f1"), "f1"),
    "blueprints": KS.flow_blueprint("b"),
    "uses": KS.blueprint_use("b", "f1"),
    "parameter types": KS.parameter_type("p"),
    "history": KS.history("flow", "f1", "op-1"),
    "status of chunk": KS.processor("chunk", "i1"),
    "status of chunker": KS.processor("chunker", "i1"),
    "schemas": KS.schema("prompt"),
    "applied": KS.item("applied", "set"),
    "layout": KS.layout(),
    "beside the layout": KS.item("kvconfig", "other"),
    "prompts": KS.item("prompt", "greeting"),
    "prompts-2": KS.item("prompts", "greeting"),
    "tools": KS.item("tool", "t"),
    "another root": ELSEWHERE.item("prompt", "greeting"),
    "variants of another root": ELSEWHERE.active_flow(VariantName("chunk", "f1")),
}
OURS = {area for area in AREAS if "another root" not in area}
STATUS = {"status of chunk", "status of chunker"}
CONFIGURATION = {"prompts", "prompts-2", "tools"}
READS: dict[str, set[str]] = {
    "flow-service": OURS,
    "operator": OURS,
    "viewer": OURS,
    "chunk": {"variants of chunk", "status of chunk", "layout", "prompts"},
    "chunker": {"variants of chunker", "status of chunker", "layout", "tools"},
    "stranger": set(),
    "": set(),
}
"""By user; a stranger has no role, and nobody no name."""
WRITES: dict[str, set[str]] = {
    "flow-service": OURS - STATUS - {"applied"},
    "operator": CONFIGURATION | {"schemas", "applied"},
    "viewer": set(),
    "chunk": {"status of chunk"},
    "chunker": {"status of chunker"},
    "stranger": set(),
    "": set(),
}


# -- operations ----------------------------------------------------------------------------------


async def get(store: EtcdStore, key: bytes) -> None:
    assert await store.read(key) is not None


async def list_(store: EtcdStore, key: bytes) -> None:
    assert (await list_all(store, prefix(key[: key.rindex(b"/") + 1]))).items


async def watch(store: EtcdStore, key: bytes) -> None:
    range_ = prefix(key[: key.rindex(b"/") + 1])
    async with store.watch(range_, start=Revision(2)) as batches:  # from its first put on
        async for batch in batches:
            if batch.events:
                return


async def put(store: EtcdStore, key: bytes) -> None:
    await store.commit(Txn(then=(Put(key, b"{}"),)))


async def delete(store: EtcdStore, key: bytes) -> None:
    await store.commit(Txn(then=(Delete(key + b"-gone"),)))


async def compare(store: EtcdStore, key: bytes) -> None:
    assert (await store.commit(Txn((exists(key),)))).succeeded


async def branch(store: EtcdStore, key: bytes) -> None:
    """A write in the branch that is not taken."""
    await store.commit(Txn(otherwise=(Put(key, b"{}"),)))


READING, WRITING = (get, list_, watch, compare), (put, delete, branch)


async def allowed(operation: Awaitable[object]) -> bool:
    try:
        await operation
    except (PermissionDenied, AuthenticationFailed):
        return False
    return True


def meant(user: str, operation: Callable[..., object], area: str) -> bool:
    """Whether it shall be allowed."""
    if operation in WRITING:
        return area in WRITES[user]
    if operation in (list_, watch) and area == "layout" and READS[user] != OURS:
        return False  # processors may read this one key, and not what is beside it
    return area in READS[user]


# -- the etcd ------------------------------------------------------------------------------------


@asynccontextmanager
async def guarded(
    binary: EtcdBinary, etcdctl: Etcdctl, folder: Path, *flags: str
) -> AsyncIterator[dict[str, EtcdStore]]:
    """A store for each user of :data:`READS`, and ``root``: roles, users and auth as applied."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            DevServer(binary, extra_args=["--bcrypt-cost=4", *flags])
        )
        at = server.endpoint
        async with connect([at]) as store:
            await store.commit(Txn(then=tuple(Put(key, b"{}") for key in AREAS.values())))
            blueprint: dict[str, Any] = {"flow": {"chunk:{id}": {}, "chunker:{id}": {}}}
            await store.commit(Txn(then=(Put(AREAS["blueprints"], encode(blueprint)),)))
        await etcdctl(at, "user", "add", ":".join(ROOT))
        await etcdctl(at, "user", "grant-role", "root", "root")
        await etcdctl(at, "user", "add", "stranger:pw")
        passwords = folder / "passwords"
        passwords.write_text("".join(f"{user}:pw\n" for user in READS if user))
        reads = ("--reads", "chunk=prompt", "--reads", "chunker=tool")
        args = ["--endpoints", at, "--passwords", str(passwords), "--enable-auth", *reads]
        assert await asyncio.to_thread(main, ["rbac", "apply", *args]) == 0
        stores = {}
        for user in (*READS, "root"):
            password = ROOT[1] if user == "root" else "pw"
            access = Access(endpoints=(at,), user=user, password=password)
            stores[user] = await stack.enter_async_context(connect(access))
        yield stores


async def test_every_role_every_key_every_operation(
    etcd_binary: EtcdBinary,
    etcdctl: Etcdctl,
    tmp_path: Path,
) -> None:
    """Each cell is allowed exactly where the table says so, and denied everywhere else. Who may
    look at all of one root is not refused because there is another beside it."""
    operations = (*READING, *WRITING)

    async def surprises(user: str, store: EtcdStore) -> list[tuple[str, str, str]]:
        return [
            (user or "nobody", operation.__name__, area)
            for operation, (area, key) in product(operations, AREAS.items())
            if await allowed(operation(store, key)) != meant(user, operation, area)
        ]

    async with guarded(etcd_binary, etcdctl, tmp_path) as stores:
        found = await asyncio.gather(*(surprises(user, stores[user]) for user in READS))
        types = await Config(stores["viewer"], KS).types()
        facts = await probe(stores["operator"].access, KS, settle_s=0.1, silence_s=0.6)
    print(f"{len(READS) * len(AREAS) * len(operations)} cells")
    assert [cell for cells in found for cell in cells] == []
    assert {"prompt", "prompts", "tool", "flow"} < set(types)
    assert facts.keys == len(OURS)


# -- the ways around -----------------------------------------------------------------------------

SECRET = AREAS["tools"]
"""What ``chunk`` may neither read nor write."""


def nested(*ops: Read | Put | Delete, compares: tuple[Compare, ...] = ()) -> Txn:
    return Txn(then=(Txn(compares, ops),))


async def watch_from(store: EtcdStore, key: bytes) -> None:
    """Of a key that may be read: until it shows one that may not."""
    async with store.watch(Range(key, b"\0"), start=Revision(2)) as batches:
        async for batch in batches:
            if any(event.key == SECRET for event in batch.events):
                return


async def asked(store: EtcdStore, method: str, request: Message) -> None:
    """A call that the store has not, as its user."""
    async with inspecting(store.access, timeout_s=5) as inspector:
        await inspector.login(0)
        await inspector.ask(0, method, request, pb.LeaseGrantResponse)  # its fields are not read


async def fill(store: EtcdStore, key: bytes) -> None:
    """Write one key until etcd has no space for it."""
    large = Txn(then=(Put(key, b"x" * 500_000),))
    with suppress(NoSpace):
        for _ in range(100):
            await store.commit(large)
        pytest.fail("there is no end to its space")


async def test_the_ways_around_that_are_known(
    etcd_binary: EtcdBinary, etcdctl: Etcdctl, tmp_path: Path
) -> None:
    """Each works exactly on the versions that the doctor warns of for it."""
    said = " ".join(advice.what for advice in advise(etcd_binary.version) if advice.rbac)
    quota = f"--quota-backend-bytes={8 * 2**20}"
    async with guarded(etcd_binary, etcdctl, tmp_path, quota) as stores:
        chunk, chunker = stores["chunk"], stores["chunker"]
        lease = await chunker.grant(60)
        status, own = AREAS["status of chunker"], AREAS["status of chunk"]
        await chunker.commit(Txn(then=(Put(status, b"{}", lease),)))
        others, nothing = pb.DeleteRangeRequest(key=SECRET), pb.StatusRequest()
        ways: dict[str, list[tuple[str, Callable[[], Awaitable[object]]]]] = {
            "a nested transaction": [
                ("read in a nested transaction", lambda: chunk.commit(nested(Read(SECRET)))),
                ("compare in one", lambda: chunk.commit(nested(compares=(exists(SECRET),)))),
                ("put in one", lambda: chunk.commit(nested(Put(SECRET, b"{}")))),
                ("delete in one", lambda: chunk.commit(nested(Delete(SECRET + b"-gone")))),
                ("list all leases", lambda: asked(chunk, "Lease/LeaseLeases", nothing)),
                ("renew a lease of others", lambda: chunk.keep_alive(lease)),
            ],
            "a watch": [("watch from a key on", lambda: watch_from(chunk, AREAS["layout"]))],
            "never": [("revoke a lease of others", lambda: chunk.revoke(lease))],
            "NOSPACE": [
                ("delete, out of space", lambda: asked(chunk, "KV/DeleteRange", others)),
                ("disable auth, out of space", lambda: asked(chunk, "Auth/AuthDisable", nothing)),
            ],
        }
        found: dict[str, tuple[bool, bool]] = {}
        for fault, tricks in ways.items():
            if fault == "NOSPACE":
                await fill(chunk, own)
            for name, trick in tricks:
                found[name] = (await allowed(trick()), fault in said)
    version = ".".join(map(str, etcd_binary.version))
    for name, (works, _) in found.items():
        print(f"etcd {version}: {name}: {'NOT stopped' if works else 'stopped'}")
    assert {name: works for name, (works, _) in found.items()} == {
        name: warned for name, (_, warned) in found.items()
    }

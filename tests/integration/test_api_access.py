"""Who may call the API, over TLS: every role and every method, certificates, tokens, rotation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from flowsvc.access import audit_log
from flowsvc.access.guard import Guard
from flowsvc.access.policy import Policy, parse_policy
from flowsvc.access.tokens import Tokens, line_of, parse_tokens, token_of
from flowsvc.api import config_methods, methods
from flowsvc.api.methods import Method
from flowsvc.api.tls import ServerTls
from flowsvc.api.v1 import config_pb2, flow_pb2
from flowsvc.client import Client, Credentials, ServerUnavailable
from flowsvc.config_client import ConfigClient
from flowsvc.errors import FlowServiceError, Forbidden, InUse, Unauthenticated
from flowsvc.model import Actor, StartFlow, StopFlow
from flowsvc.reread import Reread
from flowsvc.server import Cut, ListenRefused, serve
from kvconfig.config import Config, Found
from kvconfig.errors import KvError, OutcomeUnknown
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.model import Revision
from kvconfig.records import FlowRecord
from kvconfig.txn import Put, Txn
from tests.certificates import Authority, fingerprint
from tests.fake_flows import FLOW, STATUS, FakeFlows
from tests.robustness.waiting import eventually

METHODS = {method.name: method for method in (*methods.METHODS, *config_methods.METHODS)}
CODE = grpc.StatusCode
FAR, SOON = "2999-01-01T00:00:00Z", "1970-01-02T00:00:00Z"


@pytest.fixture
def flows() -> FakeFlows:
    return FakeFlows()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def token(name: str) -> str:
    """The token of somebody of that name."""
    return token_of(name.encode().ljust(32))


def tokens_of(*names: str, until: str = FAR) -> Tokens:
    return parse_tokens("\n".join(line_of(token(name), name, until) for name in names).encode())


@asynccontextmanager
async def raw(port: int, authority: Authority) -> AsyncIterator[grpc.aio.Channel]:
    root = grpc.ssl_channel_credentials(authority.cacert.read_bytes())
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", root) as channel:
        yield channel


async def ended(
    channel: grpc.aio.Channel, method: Method[Any, Any], request: Any, who: str
) -> grpc.StatusCode:
    """How a call ends; of a watch, how it begins."""
    make: Any = channel.unary_stream if method.streams else channel.unary_unary
    call = make(method.path, method.request.SerializeToString, method.response.FromString)
    metadata = [("authorization", f"Bearer {token(who)}")] if who else []
    made = call(request, metadata=metadata, timeout=10)
    try:
        if not method.streams:
            await made
        elif method in (methods.WATCH_FLOWS, config_methods.WATCH_CONFIG):
            if methods.WATCHING_KEY in (await made.initial_metadata() or ()):
                made.cancel()
                return CODE.OK
            await made.read()
        else:
            async for _ in made:
                pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return CODE.OK


# -- every role, every method --------------------------------------------------------------------

ROLE_OF = {
    **dict.fromkeys(
        [
            "Preview", "GetFlow", "ListFlows", "GetBlueprint", "ListBlueprints", "GetParameterType",
            "ListParameterTypes", "GetHistory", "GetFlowStatus", "ListFlowStatuses", "WatchFlows",
            "GetProcessor", "ListProcessors",
            "Get", "ListTypes", "ListKeys", "GetValues", "GetEverything", "WatchConfig",
        ],
        "viewer",
    ),
    **dict.fromkeys(
        [
            "StartFlow", "StopFlow", "UpdateFlow", "PauseFlow", "ResumeFlow", "RestartFlow",
            "RollBackFlow", "RollOut", "Put", "Delete", "PutApplied",
        ],
        "operator",
    ),
    **dict.fromkeys(
        [
            "PutBlueprint", "DeleteBlueprint", "RollBackBlueprint", "PutParameterType",
            "DeleteParameterType", "RollBackParameterType", "PruneHistory", "PutSchema",
            "DeleteSchema",
        ],
        "admin",
    ),
}  # fmt: skip
"""Written down once more, by hand."""

OF_ALL = {"RollOut", "GetProcessor", "PutApplied"}
"""What concerns all flows, whatever it names."""

CALLERS = ("", "unknown", "stranger", "viewer", "operator", "admin", "limited")

POLICY = parse_policy(
    b"".join(
        b"[[allow]]\nwho = ['%s']\nrole = '%s'\n" % (role, role)
        for role in (b"viewer", b"operator", b"admin")
    )
    + b"[[allow]]\nwho = ['limited']\nrole = 'admin'\nflows = ['in-*']\nblueprints = ['in-*']\n"
    b"parameter-types = ['in-*']\nconfig = ['in-*']\n"
)


def request_of(name: str, where: str) -> Any:
    """A request of each method that names something there: ``in-1``, or ``out-1``."""
    flow, named = {"flow": where}, {"name": where}
    typed: dict[str, Any] = {"type": where, "key": "k"}
    special: dict[str, Any] = {
        "StartFlow": {**flow, "blueprint_name": where},
        "UpdateFlow": {**flow, "blueprint_name": where},
        "RollOut": {"blueprint_name": where},
        "Preview": {"stop_flow": flow_pb2.StopFlowRequest(flow=where)},
        "GetHistory": {**named, "kind": flow_pb2.HISTORY_KIND_FLOW},
        "PruneHistory": {**named, "kind": flow_pb2.HISTORY_KIND_FLOW_BLUEPRINT},
        "Get": {"names": [config_pb2.Name(**typed)]},
        "ListKeys": {"type": where},
        "GetValues": {"type": where},
        "GetEverything": {"types": [where]},
        "Put": {"writes": [config_pb2.PutRequest.Write(**typed, value="{}")]},
        "Delete": {"writes": [config_pb2.DeleteRequest.Write(**typed)]},
        "PutSchema": {"type": where, "schema": "{}"},
        "DeleteSchema": {"type": where},
        "GetProcessor": {"processor": where},
        "PutApplied": {"set": where},
        "WatchConfig": {"type": where},
    }
    message = METHODS[name].request
    fields = message.DESCRIPTOR.fields_by_name
    usual = flow if "flow" in fields else named if "name" in fields else {}
    return message(**special.get(name, usual))


def expected(name: str, caller: str, where: str) -> grpc.StatusCode:
    """What the caller gets: OK stands for whatever the service says once it is asked."""
    if caller in {"", "unknown"}:
        return CODE.UNAUTHENTICATED
    if caller == "stranger":
        return CODE.PERMISSION_DENIED
    if caller == "limited":
        lists = not request_of(name, where).ListFields()
        may = lists or (where == "in-1" and name not in OF_ALL)
    else:
        roles = ("viewer", "operator", "admin")
        may = roles.index(caller) >= roles.index(ROLE_OF[name])
    return CODE.OK if may else CODE.PERMISSION_DENIED


async def test_every_role_at_every_method(flows, authority):
    """All cells: who calls what, and on what; those who may not never reach the service."""
    assert set(ROLE_OF) == set(METHODS)
    guard = Guard(
        policy=lambda: POLICY,
        tokens=lambda: tokens_of("stranger", "viewer", "operator", "admin", "limited"),
    )
    cells, wrong = 0, []
    config = Config(MemoryStore(), Keyspace(""))
    async with (
        serve(flows, config=config, tls=authority.server(), guard=guard) as port,
        raw(port, authority) as channel,
    ):
        for name, method in METHODS.items():
            for where in ("in-1", "out-1"):
                for caller in CALLERS:
                    cells += 1
                    asked = reached(flows)
                    code = await ended(channel, method, request_of(name, where), caller)
                    refused = code in {CODE.UNAUTHENTICATED, CODE.PERMISSION_DENIED}
                    if (code if refused else CODE.OK) is not expected(name, caller, where):
                        wrong.append((name, where, caller, code))
                    if refused:
                        assert reached(flows) == asked, (name, caller)
    print(f"{cells} cells: {len(METHODS)} methods, {len(CALLERS)} callers, 2 names")
    assert not wrong


def reached(flows: FakeFlows) -> int:
    """How many calls; but for watches, which ask a little after they have begun."""
    return len(flows.asked) - flows.asked.count(("watch_flows",))


# -- what is shown -------------------------------------------------------------------------------

SEES_F1 = parse_policy(
    b"[[allow]]\nwho = ['a']\nrole = 'viewer'\nflows = ['f1']\nconfig = ['prompt']\n"
)


@asynccontextmanager
async def by_token(
    flows: FakeFlows, authority: Authority, who: str, **options: Any
) -> AsyncIterator[Client]:
    """A client with a token, and a server that knows it."""
    guard = Guard(tokens=lambda: tokens_of(who), policy=options.pop("policy", None))
    async with AsyncExitStack() as stack:
        served = serve(flows, tls=authority.server(), guard=guard, **options)
        port = await stack.enter_async_context(served)
        yield await stack.enter_async_context(
            Client(f"127.0.0.1:{port}", credentials=shows(authority, who))
        )


def shows(authority: Authority, who: str) -> Credentials:
    file = authority.folder / f"{who}.token"
    file.write_text(token(who) + "\n")
    return Credentials(cacert=authority.cacert, token_file=file)


async def test_lists_and_watches_show_what_may_be_seen(flows, authority):
    """Flows, statuses and definitions of which the caller may see nothing are left out."""
    hidden = msgspec.structs.replace(STATUS, flow="f2")
    flows.flows = [FLOW, msgspec.structs.replace(FLOW, id="f2")]
    flows.statuses = [hidden, STATUS]
    async with by_token(flows, authority, "a", policy=lambda: SEES_F1) as client:
        assert await client.list_flows() == [FLOW]
        assert await client.list_statuses() == [STATUS]
        assert await client.list_definitions("flow-blueprint") == []
        async with aclosing(client.watch_flows()) as watch:
            assert await anext(watch) == STATUS
            flows.news.put_nowait(hidden)
            flows.news.put_nowait(STATUS)
            assert await anext(watch) == STATUS


async def test_configuration_shows_what_may_be_seen(flows, authority):
    """Types and items too, and what is unreadable; of flows nothing: it would be a way round."""
    store = MemoryStore()
    config = Config(store, Keyspace(""))
    for type_ in ("prompt", "secret"):
        await config.put(type_, "k", {})
    await store.commit(Txn(then=(Put(b"/flow/f1", b"{}"),)))
    bad = [f"/{type_}/{key}" for type_ in ("prompt", "secret", "flow") for key in ("", "bad")]
    await store.commit(Txn(then=tuple(Put(key.encode(), b"{") for key in [*bad, "/no-type"])))
    guard = Guard(tokens=lambda: tokens_of("a"), policy=lambda: SEES_F1)
    async with (
        serve(flows, config=config, tls=authority.server(), guard=guard) as port,
        ConfigClient(f"127.0.0.1:{port}", credentials=shows(authority, "a")) as client,
    ):
        assert list(await client.types()) == ["prompt"]
        found = await Found.together(client.everything())
        assert [item.type for item in found] == ["prompt"]
        assert [each.raw for each in found.unreadable] == [b"/prompt/", b"/prompt/bad"]
        for type_ in ("secret", "flow"):
            with pytest.raises(Forbidden, match=f"viewer for .*config '{type_}'"):
                await client.keys(type_)


async def test_who_may_not_is_told_what_it_takes(flows, authority):
    """The caller's own name, the method, the role and what it named; as the error it was."""
    async with by_token(flows, authority, "a", policy=lambda: SEES_F1) as client:
        with pytest.raises(Forbidden) as raised:
            await client.stop_flow(StopFlow(flow="f1"))
    assert vars(raised.value) == {
        "identity": "a", "method": "StopFlow", "role": "operator", "what": "flow 'f1'",
    }  # fmt: skip


async def test_a_policy_counts_on_this_machine_too(flows):
    """Without TLS everybody may do everything; with a policy, what it says of ``@local``."""
    policy = parse_policy(b"[[allow]]\nwho = ['@local']\nrole = 'viewer'\n")
    async with (
        serve(flows, guard=Guard(policy=lambda: policy)) as port,
        Client(f"127.0.0.1:{port}") as client,
    ):
        assert await client.get_flow("f1") == FLOW
        with pytest.raises(Forbidden, match="@local"):
            await client.stop_flow(StopFlow(flow="f1"))


async def test_who_is_taken_out_of_the_policy_loses_the_watch(flows, authority, monkeypatch):
    """A watch that was allowed ends once it is not; the next call is refused at once."""
    monkeypatch.setattr("flowsvc.access.guard.LOOK_EVERY_S", 0.02)
    policy = SEES_F1
    async with by_token(flows, authority, "a", policy=lambda: policy) as client:
        async with aclosing(client.watch_flows()) as watch, asyncio.timeout(10):
            assert await anext(watch) == STATUS
            policy = Policy()
            with pytest.raises(Forbidden):
                await anext(watch)
        with pytest.raises(Forbidden):
            await client.get_flow("f1")


# -- who did it ----------------------------------------------------------------------------------


async def test_a_change_is_by_who_has_called(flows, authority):
    """The history gets who it is, and keeps who it says to be; in a preview as well."""
    async with by_token(flows, authority, "alice") as client:
        for by in ("", "bob"):
            stop = StopFlow(flow="f1", actor=Actor(by=by, why="w"))
            await client.stop_flow(stop)
            await client.preview(stop)
    found = [asked[-1].actor for asked in flows.asked]
    alone, both = Actor(by="alice", why="w"), Actor(by="alice (as bob)", why="w")
    assert found == [alone, alone, both, both]


SECRET = "hunter2-of-the-user"


async def test_the_record_says_who_did_what_and_no_value(flows, authority, tmp_path):
    """A line for each call and each refusal, with its end and revision; moved away, a new file."""
    file = tmp_path / "audit.jsonl"
    policy = parse_policy(b"[[allow]]\nwho = ['a']\nrole = 'operator'\n")
    with audit_log.write_to(file):
        async with by_token(flows, authority, "a", policy=lambda: policy) as client:
            start = StartFlow(
                flow="f1",
                blueprint_name="b",
                parameters={"key": SECRET},
                description=SECRET,
                actor=Actor(by="bob", why=SECRET),
            )
            await client.start_flow(start)
            flows.error = InUse("blueprint", SECRET, users=[])
            with suppress(InUse):
                await client.get_flow("f1")
            with suppress(Forbidden):
                await client.put_blueprint("b", json.dumps({SECRET: SECRET}).encode())
            flows.error = None
            file.rename(tmp_path / "audit.1")
            async with aclosing(client.watch_flows()) as watch:
                await anext(watch)
            await flows.watched_by(0)
    assert (tmp_path / "audit.1").stat().st_mode & 0o777 == 0o600
    text = (tmp_path / "audit.1").read_text()
    assert SECRET not in text + file.read_text()
    started, looked, refused = map(json.loads, text.splitlines())
    assert started["level"] == "info"
    assert started["peer"].startswith("ipv4:127.0.0.1:")
    assert {name: started[name] for name in ("identity", "shown", "method", "names", "op")} == {
        "identity": "a", "shown": "token", "method": "StartFlow",
        "names": ["flow 'f1', blueprint 'b'"], "op": "op-1",
    }  # fmt: skip
    assert (started["claimed"], started["result"], started["revision"]) == ("bob", "ok", 9)
    assert (looked["result"], looked["level"]) == ("InUse", "debug")
    assert (refused["result"], refused["level"]) == ("Forbidden", "info")
    assert json.loads(file.read_text().splitlines()[0])["result"] == "began"


# -- certificates --------------------------------------------------------------------------------


async def test_a_certificate_says_who_calls(flows, authority):
    """By its subject alternative names; a stranger to the policy is known, and refused."""
    policy = parse_policy(b"[[allow]]\nwho = ['*@example.org']\nrole = 'admin'\n")
    guard = Guard(policy=lambda: policy)
    async with serve(flows, tls=authority.server(clients=True), guard=guard) as port:
        target = f"127.0.0.1:{port}"
        async with Client(target, credentials=authority.client("a@example.org", "h")) as client:
            await client.stop_flow(StopFlow(flow="f1"))
        async with Client(target, credentials=authority.client("host.example.org")) as client:
            with pytest.raises(Forbidden, match=r"host\.example\.org may not"):
                await client.stop_flow(StopFlow(flow="f1"))
    assert [request.actor.by for (request,) in flows.asked] == ["a@example.org"]


async def test_a_certificate_that_does_not_count_lets_nobody_in(flows, authority, tmp_path):
    """Expired, of others, none at all: no connection, and never a word about which it was."""
    (tmp_path / "others").mkdir()
    others = Authority(tmp_path / "others")
    past = datetime.now(UTC) - timedelta(hours=1)
    said = {}
    async with serve(flows, tls=authority.server(clients=True)) as port:
        for name, shown in (
            ("expired", lambda: authority.client("a@b.c", until=past)),
            ("of others", lambda: msgspec.structs.replace(
                others.client("a@b.c"), cacert=authority.cacert
            )),
            ("none", lambda: Credentials(cacert=authority.cacert)),
        ):  # fmt: skip
            async with Client(f"127.0.0.1:{port}", credentials=shown(), timeout_s=2) as client:
                with pytest.raises(ServerUnavailable) as raised:
                    await client.stop_flow(StopFlow(flow="f1"))
            said[name] = str(raised.value).lower()
        async with Client(f"127.0.0.1:{port}", timeout_s=1) as client:
            with pytest.raises((ServerUnavailable, OutcomeUnknown)):
                await client.stop_flow(StopFlow(flow="f1"))
    for text in said.values():
        assert not any(word in text for word in ("expired", "unknown ca", "verify", "san"))
    assert flows.asked == []


async def test_a_server_that_is_not_who_it_should_be_is_not_told_anything(flows, tmp_path):
    """Neither one of another name nor one of another authority gets the token, or a request."""
    ours, named, others = (Authority(tmp_path / name) for name in mkdirs(tmp_path, 3))
    cert, key = named.issue("server", "other.test")
    wrong_name = ServerTls(cert=cert, key=key)
    guard = Guard(tokens=lambda: tokens_of("a"))
    for tls, trusts in ((wrong_name, named), (others.server(), ours)):
        async with serve(flows, tls=tls, guard=guard) as port:
            shown = shows(trusts, "a")
            async with Client(f"127.0.0.1:{port}", credentials=shown, timeout_s=2) as client:
                with pytest.raises(ServerUnavailable):
                    await client.stop_flow(StopFlow(flow="f1"))
    assert flows.asked == []


def mkdirs(folder: Path, number: int) -> list[str]:
    names = [str(n) for n in range(number)]
    for name in names:
        (folder / name).mkdir()
    return names


async def test_a_certificate_that_was_revoked_is_refused(flows, authority):
    """By its fingerprint in the policy, at the next call, on a connection that stands."""
    shown = authority.client("a@example.org")
    policy = parse_policy(b"[[allow]]\nwho = ['*']\nrole = 'admin'\n")
    async with (
        serve(
            flows, tls=authority.server(clients=True), guard=Guard(policy=lambda: policy)
        ) as port,
        Client(f"127.0.0.1:{port}", credentials=shown) as client,
    ):
        await client.get_flow("f1")
        assert shown.cert is not None
        policy = msgspec.structs.replace(policy, revoked_certificates=(fingerprint(shown.cert),))
        with pytest.raises(Unauthenticated):
            await client.get_flow("f1")


async def test_tls_without_anybody_to_know_is_refused(flows, authority):
    """A server that would let everybody in over the network does not start."""
    for options in (
        {"tls": authority.server()},
        {"guard": Guard(tokens=lambda: tokens_of("a"))},
        {"listen": "0.0.0.0:0"},
    ):
        with pytest.raises(ListenRefused):
            async with serve(flows, **options):
                pass


# -- tokens --------------------------------------------------------------------------------------


async def test_a_token_that_does_not_count_lets_nobody_in(flows, authority, caplog):
    """Unknown, removed, tampered, expired, malformed, none: one answer for all of them."""
    now_s = 0.0
    known = tokens_of("a", "removed", until=SOON)
    guard = Guard(tokens=lambda: known, clock=lambda: now_s)
    said = set()
    async with (
        serve(flows, tls=authority.server(), guard=guard) as port,
        raw(port, authority) as channel,
    ):
        call: Any = channel.unary_unary(
            methods.GET_FLOW.path,
            flow_pb2.GetFlowRequest.SerializeToString,
            flow_pb2.Flow.FromString,
        )

        async def refused(*metadata: tuple[str, str]) -> None:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call(flow_pb2.GetFlowRequest(flow="f1"), metadata=metadata, timeout=5)
            error = raised.value
            said.add((error.code(), error.details(), str(error.trailing_metadata())))

        good = ("authorization", f"Bearer {token('a')}")
        await call(flow_pb2.GetFlowRequest(flow="f1"), metadata=[good], timeout=5)
        removed = ("authorization", f"Bearer {token('removed')}")
        await call(flow_pb2.GetFlowRequest(flow="f1"), metadata=[removed], timeout=5)
        known = tokens_of("a", until=SOON)
        await refused(removed)
        await refused(("authorization", f"Bearer {token('unknown')}"))
        await refused(("authorization", f"Bearer {token('a')[:-1]}Z"))
        await refused(("authorization", token("a")))
        await refused(("authorization", "Bearer"))
        await refused()
        now_s = 86_400.0
        await refused(good)
    assert len(said) == 1
    assert [code for code, *_ in said] == [CODE.UNAUTHENTICATED]
    assert len(flows.asked) == 2
    assert token("a") not in caplog.text


async def test_what_is_said_at_the_door_settles_nothing(flows, authority):
    """After a lost answer a refusal of the caller does not tell what became of the change."""
    known = tokens_of("a")
    guard = Guard(tokens=lambda: known)

    async def lose() -> None:
        nonlocal known
        known = tokens_of()
        raise Cut(CODE.UNAVAILABLE, "as a connection that was lost")

    flows.wait = lose
    async with serve(flows, tls=authority.server(), guard=guard) as port:
        target = f"127.0.0.1:{port}"
        async with Client(target, credentials=shows(authority, "a"), timeout_s=5) as client:
            with pytest.raises(OutcomeUnknown):
                await client.stop_flow(StopFlow(flow="f1"))
    assert len(flows.asked) == 1


# -- replaced while it runs ----------------------------------------------------------------------


@asynccontextmanager
async def load(client: Client, flows: FakeFlows) -> AsyncIterator[Callable[[int], Any]]:
    """Changes all the time, and a watch. ``await more(n)``: until so many more are done.

    At the end none has failed, and the watch tells what is new.
    """
    done, stop = 0, asyncio.Event()
    failed: list[BaseException] = []
    moved = asyncio.Condition()

    async def work() -> None:
        nonlocal done
        while not stop.is_set():
            try:
                await client.stop_flow(StopFlow(flow="f1"))
            except (FlowServiceError, KvError) as error:
                failed.append(error)
            async with moved:
                done += 1
                moved.notify_all()

    async def more(number: int) -> None:
        wanted = done + number
        async with moved:
            await moved.wait_for(lambda: done >= wanted)

    async def look() -> None:
        async with aclosing(client.watch_flows()) as watch:
            async for status in watch:
                async with moved:
                    seen.add(status.mod_revision)
                    moved.notify_all()

    seen: set[int] = set()
    looking = asyncio.create_task(look())
    async with asyncio.timeout(30):
        await flows.watched_by(1)
        workers = [asyncio.create_task(work()) for _ in range(4)]
        try:
            yield more
            flows.statuses = [msgspec.structs.replace(STATUS, mod_revision=Revision(1))]
            flows.news.put_nowait(flows.statuses[0])
            async with moved:
                await moved.wait_for(lambda: 1 in seen or looking.done())
        finally:
            stop.set()
            looking.cancel()
            await asyncio.wait([looking, *workers])
    print(f"{done} changes, {len(failed)} failed")
    assert not failed
    assert 1 in seen


async def test_certificates_are_replaced_under_load(flows, tmp_path, monkeypatch):
    """A new authority on both sides: no change fails, and the watch goes on."""
    monkeypatch.setattr("flowsvc.server._CONNECTION_GRACE_S", 0.1)
    old = Authority(tmp_path)
    tls = old.server(clients=True, connection_s=0.2)
    async with (
        serve(flows, tls=tls) as port,
        Client(f"127.0.0.1:{port}", credentials=old.client("a@b.c"), timeout_s=20) as client,
        load(client, flows) as more,
    ):
        await more(20)
        new = Authority(tmp_path)
        new.issue("server", "127.0.0.1")
        new.issue("client", "new@b.c")
        while "new@b.c" not in by(flows) or flows.asked.count(("watch_flows",)) < 2:
            await more(1)
        await more(20)
    assert not tls.certificates.refused()


def by(flows: FakeFlows) -> set[str]:
    """Who has asked for the changes."""
    return {asked[0].actor.by for asked in flows.asked if isinstance(asked[0], StopFlow)}


async def test_tokens_are_replaced_under_load(flows, authority, monkeypatch):
    """The old one expires once the new one is there: no change fails, and the watch goes on."""
    monkeypatch.setattr("flowsvc.access.guard.LOOK_EVERY_S", 0.02)
    now_s = 0.0
    known = authority.folder / "tokens"
    known.write_text(line_of(token("a"), "a", SOON) + "\n")
    tokens = Reread("tokens", [known], lambda: parse_tokens(known.read_bytes()))
    guard = Guard(tokens=tokens, clock=lambda: now_s)
    shown = shows(authority, "a")
    async with (
        serve(flows, tls=authority.server(), guard=guard) as port,
        Client(f"127.0.0.1:{port}", credentials=shown, timeout_s=20) as client,
        load(client, flows) as more,
    ):
        await more(20)
        with known.open("a") as file:
            file.write(line_of(token("b"), "b", FAR) + "\n")
        assert shown.token_file is not None
        shown.token_file.write_text(token("b"))
        now_s = 86_400.0
        await more(20)
        while flows.asked.count(("watch_flows",)) < 2:
            await more(1)
    assert by(flows) == {"a", "b"}


async def test_a_watch_waits_for_a_token_that_is_late(flows, authority, monkeypatch):
    """It is not lost when its token has expired before the next one has come; calls are told."""
    monkeypatch.setattr("flowsvc.access.guard.LOOK_EVERY_S", 0.02)
    known = tokens_of("a")
    guard = Guard(tokens=lambda: known)
    shown = shows(authority, "a")
    async with (
        serve(flows, tls=authority.server(), guard=guard) as port,
        Client(f"127.0.0.1:{port}", credentials=shown) as client,
        aclosing(client.watch_flows()) as watch,
        asyncio.timeout(20),
    ):
        assert await anext(watch) == STATUS
        known = tokens_of("b")
        following = asyncio.ensure_future(anext(watch))
        await flows.watched_by(0)
        with pytest.raises(Unauthenticated):
            await client.get_flow("f1")
        shows(authority, "b").token_file.replace(shown.token_file)  # type: ignore[union-attr, arg-type]
        assert await following == STATUS


# -- limits --------------------------------------------------------------------------------------


async def test_a_reader_that_takes_nothing_is_cut(flows, caplog):
    """Neither a watch nor a list is held for it; the server says why, once it reads."""
    caplog.set_level("DEBUG", "flowsvc.audit_log")
    cut: list[str] = []
    flows.statuses = [msgspec.structs.replace(STATUS, flow="f" * 100_000)] * 200
    big = msgspec.structs.replace(FLOW, record=large(FLOW.record))
    flows.flows = [big] * 200
    async with (
        serve(flows, reader_s=0.2, grace_s=0) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        asyncio.timeout(20),
    ):
        for method in (methods.WATCH_FLOWS, methods.LIST_FLOWS):
            make: Any = channel.unary_stream(
                method.path, method.request.SerializeToString, method.response.FromString
            )
            call = make(method.request())
            await call.read()
            cut.append(method.name)
            await eventually(lambda: cuts(caplog) == cut, within_s=10)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await rest_of(call)
            assert raised.value.code() is CODE.RESOURCE_EXHAUSTED
            assert "has taken nothing for 0.2 s" in (raised.value.details() or "")


def cuts(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The methods of the calls that the record says were cut."""
    lines = [vars(record) for record in caplog.records if record.name == "flowsvc.audit_log"]
    return [line["method"] for line in lines if line["result"] == "Cut"]


async def rest_of(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


def large(record: FlowRecord) -> FlowRecord:
    return msgspec.structs.replace(record, description="x" * 200_000)


async def test_too_much_metadata_is_refused(flows):
    """What no caller of ours sends does not reach the service."""
    async with (
        serve(flows) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        call: Any = channel.unary_unary(
            methods.GET_FLOW.path,
            flow_pb2.GetFlowRequest.SerializeToString,
            flow_pb2.Flow.FromString,
        )
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(flow_pb2.GetFlowRequest(), metadata=[("x", "y" * 20_000)], timeout=5)
    assert raised.value.code() is CODE.RESOURCE_EXHAUSTED
    assert flows.asked == []

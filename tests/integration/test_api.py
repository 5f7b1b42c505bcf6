"""The gRPC API: what the client asks and gets is what the service is asked and gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from flowsvc.api import convert, methods
from flowsvc.api.pieces import pieces_of
from flowsvc.api.v1 import flow_pb2 as pb
from flowsvc.client import Client, ServerUnavailable
from flowsvc.errors import (
    FlowServiceError,
    InvalidInput,
    NotFound,
    TooMuchContention,
    WrongState,
)
from flowsvc.model import (
    Actor,
    Change,
    DefinitionKind,
    DeleteDefinition,
    Flow,
    HistoryKind,
    PauseFlow,
    PutDefinition,
    ResumeFlow,
    RollBackDefinition,
    RollBackFlow,
    RollOut,
    StartFlow,
    StopFlow,
    UpdateFlow,
)
from flowsvc.server import ListenRefused, serve
from kvconfig.errors import (
    InvalidValue,
    NoSpace,
    OutcomeUnknown,
    RequestTooLarge,
    TransactionAborted,
    Unavailable,
)
from kvconfig.model import Revision
from kvconfig.records import FlowRecord, FlowVariants, VariantRecord
from tests.fake_flows import FLOW, HISTORY, PREVIEW, PROCESSOR, STATUS, FakeFlows, connected


@pytest.fixture
def flows() -> FakeFlows:
    return FakeFlows()


# -- methods and values --------------------------------------------------------------------------


def test_the_method_table_is_the_service_of_the_proto():
    """No method of ``flow.proto`` is forgotten, and none has another type or shape."""
    service = pb.DESCRIPTOR.services_by_name["FlowService"]
    assert service.full_name == methods.SERVICE
    described = {m.name: (m.input_type, m.output_type, m.server_streaming) for m in service.methods}
    ours = {
        m.name: (m.request.DESCRIPTOR, m.response.DESCRIPTOR, m.streams) for m in methods.METHODS
    }
    assert ours == described


ACTOR = Actor(by="ada", why="to see")
COMMON: dict[str, Any] = {
    "op": "op-1",
    "resent": True,
    "actor": ACTOR,
    "check_revision": Revision(2**40),
    "strict": True,
}
TEXTS = {"a": "x", "b": "true", "c": ""}
CHANGES: list[Change] = [
    StartFlow(
        flow="f1",
        blueprint_name="b",
        description="größer",
        parameters=TEXTS,
        workspace="w",
        **COMMON,
    ),
    StopFlow(flow="f1", **COMMON),
    UpdateFlow(
        flow="f1",
        parameters=TEXTS,
        reset=("d", "e"),
        blueprint_name="b2",
        description="",
        **COMMON,
    ),
    UpdateFlow(flow="f1", **COMMON),
    PauseFlow(flow="f1", **COMMON),
    ResumeFlow(flow="f1", **COMMON),
    RollBackFlow(flow="f1", to="op-0", **COMMON),
    RollOut(blueprint_name="b", parameters=TEXTS, reset=("d",), **COMMON),
    *(
        change
        for kind in get_args(DefinitionKind)
        for change in (
            PutDefinition(kind=kind, name="b", definition="{'ö'}".encode(), force=True, **COMMON),
            PutDefinition(kind=kind, name="b", definition=b"{}", only_new=True, **COMMON),
            DeleteDefinition(kind=kind, name="b", force=True, **COMMON),
            RollBackDefinition(kind=kind, name="b", to="op-0", force=True, **COMMON),
        )
    ),
]


def test_every_change_has_an_example():
    """A change added to the model must be added to the table, and to these tests."""
    assert {type(change) for change in CHANGES} == set(get_args(Change))
    assert {methods.change_method(change) for change in CHANGES} == set(methods.CHANGES)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: type(change).__name__)
async def test_a_change_arrives_as_it_was_given(flows, change):
    """Every field of a request reaches the service, and so it does for a preview."""
    async with connected(flows) as client:
        assert await client.change(change) == flows.done
        assert await client.preview(change) == PREVIEW
    assert flows.asked == [(change,), ("preview", change)]


async def test_parameters_arrive_as_text(flows):
    """Whatever a parameter was given as, the service gets the text that flows hold."""
    given: dict[str, Any] = {"a": "x", "b": True, "c": 0.3, "d": 12}
    async with connected(flows) as client:
        await client.change(StartFlow(flow="f", blueprint_name="b", parameters=given))
        nan = {"a": float("nan")}
        with pytest.raises(InvalidValue):
            await client.change(StartFlow(flow="f", blueprint_name="b", parameters=nan))
    ((started,),) = flows.asked
    assert started.parameters == {"a": "x", "b": "true", "c": "0.3", "d": "12"}


async def test_the_words_of_the_base_class_work(flows):
    """start_flow, stop_flow and the two puts are changes like any other."""
    async with connected(flows) as client:
        await client.start_flow(StartFlow(flow="f", blueprint_name="b", op="1"))
        await client.stop_flow(StopFlow(flow="f", op="2"))
        await client.put_blueprint("b", b"{}", force=True, actor=ACTOR)
        await client.put_parameter_type("p", b"{}")
    (start,), (stop,), (blueprint,), (type_,) = flows.asked
    assert (start.op, stop.op) == ("1", "2")
    assert (blueprint.kind, blueprint.force, blueprint.actor) == ("flow-blueprint", True, ACTOR)
    assert (type_.kind, type_.name, type_.definition) == ("parameter-type", "p", b"{}")


async def test_answers_come_back_whole(flows):
    """What the service answers is what the caller gets, value by value."""
    async with connected(flows) as client:
        assert await client.restart_flow(PauseFlow(flow="f1", **COMMON)) == flows.done
        assert await client.get_flow("f1") == FLOW
        assert await client.list_flows() == [FLOW]
        for kind in get_args(DefinitionKind):
            assert await client.get_definition(kind, "b") == flows.definition
            assert await client.list_definitions(kind) == [flows.definition]
        for kind in get_args(HistoryKind):
            assert await client.history(kind, "b") == HISTORY
        pruned = await client.prune_history("flow", older_than_s=0.5, name="f", dry_run=True)
        assert pruned == flows.pruned
        assert await client.get_status("f1") == STATUS
        assert await client.list_statuses() == [STATUS]
        assert await client.get_processor("chunker") == PROCESSOR
        assert await client.list_processors() == [PROCESSOR]
    assert flows.asked == [
        ("restart_flow", PauseFlow(flow="f1", **COMMON)),
        ("f1",),
        (),
        ("flow-blueprint", "b"),
        ("flow-blueprint",),
        ("parameter-type", "b"),
        ("parameter-type",),
        *(("history", kind, "b") for kind in get_args(HistoryKind)),
        ("prune_history", "flow", 0.5, "f", True),
        ("get_status", "f1"),
        ("list_statuses",),
        ("get_processor", "chunker"),
        ("list_processors",),
    ]


async def test_a_preview_larger_than_a_request_may_be_comes_whole(flows):
    """The largest transaction is shown three times over; its preview still arrives."""
    half = "x" * 1_500_000
    flows.previewed = msgspec.structs.replace(PREVIEW, text=half * 2, txn={"then": half * 2})
    async with connected(flows) as client:
        assert await client.preview(StopFlow(flow="f")) == flows.previewed


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client._one(methods.PREVIEW, pb.PreviewRequest()),
        lambda client: client._all(methods.GET_HISTORY, pb.GetHistoryRequest(name="f")),
        lambda client: client._one(methods.PRUNE_HISTORY, pb.PruneHistoryRequest()),
        lambda client: client.prune_history("flow", older_than_s=-1),
        lambda client: client.prune_history("flow", older_than_s=float("nan")),
    ],
)
async def test_what_is_left_out_is_not_guessed(flows, ask):
    """A preview of nothing, or the history of no kind, is refused with the place."""
    async with connected(flows) as client:
        with pytest.raises(InvalidInput) as raised:
            await ask(client)
    assert raised.value.findings[0].path in ("$.change", "$.kind", "$.older_than_s")
    assert flows.asked == []


async def test_a_number_that_no_message_holds_is_refused_at_home(flows):
    """A revision beyond 64 bits is an invalid value, not a defect."""
    async with connected(flows) as client:
        with pytest.raises(InvalidValue):
            await client.change(StopFlow(flow="f", check_revision=Revision(2**64)))


def test_a_paused_flow_keeps_its_variants():
    """Paused with no variant, and not paused, are two things on the wire too."""
    for paused in (None, {}, {"chunker/f1": VariantRecord(topics={"in": "t"}, parameters={})}):
        record = FlowRecord(
            blueprint_name="b",
            description="",
            interfaces={},
            parameters={},
            variants=FlowVariants(),
            op="o",
            paused=paused,
        )
        flow = Flow(id="f", record=record, mod_revision=Revision(1), version=1)
        assert convert.flow_from(convert.flow_to(flow)) == flow


async def test_a_list_larger_than_a_message_comes_whole(flows):
    """10 MiB of flows come in pieces that gRPC's default limits let through, in order."""
    text = "x" * 2_000
    flows.flows = [
        Flow(
            id=f"f{n:05}",
            record=FlowRecord(
                blueprint_name="b",
                description=text,
                interfaces={},
                parameters={},
                variants=FlowVariants(),
                op="o",
            ),
            mod_revision=Revision(n + 1),
            version=1,
        )
        for n in range(5_000)
    ]
    async with connected(flows) as client:
        assert await client.list_flows() == flows.flows
    pieces = list(pieces_of([convert.flow_to(flow) for flow in flows.flows]))
    assert len(pieces) == 10
    assert max(pb.ListFlowsResponse(flows=piece).ByteSize() for piece in pieces) <= 2**20


# -- deadlines and retries -----------------------------------------------------------------------


async def test_a_change_carries_one_id_through_all_attempts(flows):
    """A change is sent again after UNAVAILABLE, under the same operation id; then it is done."""
    failures = iter([Unavailable("no leader"), Unavailable("no leader"), None])

    async def fail_twice() -> None:
        flows.error = next(failures)

    flows.wait = fail_twice
    ops = iter(["op-a", "op-b"])
    async with connected(flows, make_op=lambda: next(ops)) as client:
        assert await client.start_flow(StartFlow(flow="f", blueprint_name="b")) == flows.done
    assert [request.op for (request,) in flows.asked] == ["op-a"] * 3


@pytest.mark.parametrize(
    "error", [NoSpace(), OutcomeUnknown("?"), TooMuchContention("x", attempts=1)]
)
async def test_other_errors_are_not_tried_again(flows, error):
    """Only UNAVAILABLE is: everything else is for the caller to judge."""
    flows.error = error
    async with connected(flows) as client:
        with pytest.raises(type(error)):
            await client.stop_flow(StopFlow(flow="f"))
    assert len(flows.asked) == 1


async def test_a_defect_leaves_a_change_unknown(flows):
    """A change that failed by a bug in the service may have been carried out before."""
    flows.error = ZeroDivisionError()
    async with connected(flows) as client:
        with pytest.raises(OutcomeUnknown):
            await client.stop_flow(StopFlow(flow="f"))


async def test_every_call_has_a_deadline(flows):
    """A service that hangs costs the deadline; a change has then an unknown outcome."""
    cancelled = 0
    hang = asyncio.Event()

    async def wait() -> None:
        nonlocal cancelled
        try:
            await hang.wait()
        except asyncio.CancelledError:
            cancelled += 1
            raise

    flows.wait = wait
    loop = asyncio.get_running_loop()
    async with connected(flows, timeout_s=0.3) as client:
        before = loop.time()
        with pytest.raises(ServerUnavailable, match=r"no answer within 0\.3 s"):
            await client.get_flow("f")
        with pytest.raises(OutcomeUnknown):
            await client.start_flow(StartFlow(flow="f", blueprint_name="b"))
        assert loop.time() - before < 2
    assert cancelled == 2, "the service stops working on what nobody waits for"


async def test_nobody_there(unused_tcp_port):
    """Where nothing listens, a change is known not to have been done, and the error says where."""
    async with Client(f"127.0.0.1:{unused_tcp_port}", timeout_s=3) as client:
        with pytest.raises(ServerUnavailable) as raised:
            await client.start_flow(StartFlow(flow="f", blueprint_name="b"))
    assert f"the flow service at 127.0.0.1:{unused_tcp_port} is not available" in str(raised.value)


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close a connection once a request has been read."""
    # HTTP/2: the client's preface and settings, our empty settings; then its request.
    await reader.readexactly(24)
    writer.write(bytes.fromhex("000000040000000000"))
    while True:
        head = await reader.readexactly(9)
        await reader.readexactly(int.from_bytes(head[:3], "big"))
        if head[3] == 1:  # HEADERS: a call has begun
            break
    writer.close()
    await writer.wait_closed()


async def test_a_lost_answer_is_an_unknown_outcome(unused_tcp_port):
    """A connection cut after the request was read: a change may be done, a read is not."""

    server = await asyncio.start_server(cut, "127.0.0.1", unused_tcp_port)
    async with server, Client(f"127.0.0.1:{unused_tcp_port}", timeout_s=5) as client:
        with pytest.raises(OutcomeUnknown):
            await client.start_flow(StartFlow(flow="f", blueprint_name="b"))
        with pytest.raises(ServerUnavailable):
            await client.get_flow("f")


@asynccontextmanager
async def cut_once(port: int) -> AsyncIterator[str]:
    """The address of a proxy to ``port`` that cuts its first connection after the request."""
    cut_next = True
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal cut_next
        if cut_next:
            cut_next = False
            await cut(reader, writer)
            return
        behind, onward = await asyncio.open_connection("127.0.0.1", port)
        for source, sink in ((reader, onward), (behind, writer)):
            pumps.add(asyncio.create_task(pump(source, sink)))

    proxy = await asyncio.start_server(accept, "127.0.0.1")
    try:
        yield f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    finally:
        proxy.close()
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: type(change).__name__)
async def test_after_a_lost_answer_a_change_says_that_it_was_sent_before(flows, change):
    """Every change does; so a refusal of the service is final, and given as it is."""
    change = msgspec.structs.replace(change, op="", resent=False)
    async with serve(flows) as port:
        async with cut_once(port) as target, Client(target) as client:
            assert await client.change(change) == flows.done
        flows.error = NotFound("flow", "f")
        async with cut_once(port) as target, Client(target) as client:
            with pytest.raises(NotFound):
                await client.change(change)
    assert [request.resent for (request,) in flows.asked] == [True, True]


@pytest.mark.parametrize("error", [InvalidValue("?"), NoSpace(), TransactionAborted()])
async def test_after_a_lost_answer_an_error_of_the_store_settles_nothing(flows, error):
    """Only a refusal of the service tells what became of the request whose answer was lost."""
    flows.error = error
    async with serve(flows) as port, cut_once(port) as target, Client(target) as client:
        with pytest.raises(OutcomeUnknown) as raised:
            await client.change(StopFlow(flow="f"))
    assert type(raised.value.__cause__) is type(error)


async def test_after_a_lost_answer_a_refused_restart_is_unknown(flows):
    """It is two transactions: what refuses the second does not undo the first."""
    async with serve(flows) as port:
        async with cut_once(port) as target, Client(target) as client:
            assert await client.restart_flow(PauseFlow(flow="f")) == flows.done
        flows.error = WrongState("f", state="paused", cure="resume it")
        async with cut_once(port) as target, Client(target) as client:
            with pytest.raises(OutcomeUnknown):
                await client.restart_flow(PauseFlow(flow="f"))
    assert [request.resent for _, request in flows.asked] == [True, True]
    ops = {request.op for _, request in flows.asked}
    assert len(ops) == 2
    assert "" not in ops


async def test_a_read_is_asked_again_after_a_lost_answer(flows):
    """Also what prunes: it can be repeated, and says what the last one has found."""
    async with serve(flows) as port:
        async with cut_once(port) as target, Client(target) as client:
            assert await client.list_flows() == [FLOW]
        async with cut_once(port) as target, Client(target) as client:
            assert await client.prune_history("flow", older_than_s=1) == flows.pruned


async def test_a_silent_link_is_given_up(flows):
    """A connection that swallows everything is noticed by pings, and the call sent over another."""
    silent = False
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, old: bool) -> None:
        try:
            while data := await reader.read(65536):
                if not (silent and old):
                    writer.write(data)
        finally:
            writer.close()

    async with serve(flows) as port:

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            behind, onward = await asyncio.open_connection("127.0.0.1", port)
            for source, sink in ((reader, onward), (behind, writer)):
                pumps.add(asyncio.create_task(pump(source, sink, not silent)))

        proxy = await asyncio.start_server(accept, "127.0.0.1")
        async with Client(f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}") as client:
            await client.get_flow("f1")
            silent = True
            assert await client.get_flow("f1") == FLOW
        proxy.close()
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
    assert len(flows.asked) == 2


async def test_a_method_that_is_not_there(flows):
    """Another service on that port, or another version, is said to be one."""
    async with connected(flows) as client:
        client._calls["GetFlow"] = client._way._channel.unary_unary(  # type: ignore[union-attr]
            "/kvconfig.flow.v9.FlowService/GetFlow",
            pb.GetFlowRequest.SerializeToString,
            pb.Flow.FromString,
        )
        with pytest.raises(FlowServiceError, match="is it a flow service"):
            await client.get_flow("f")


async def test_a_request_over_the_limit_is_refused(flows):
    """Requests have a size limit on both sides."""
    async with connected(flows) as client:
        with pytest.raises(RequestTooLarge):
            await client.put_blueprint("b", b'"' + b"x" * methods.MAX_MESSAGE_BYTES + b'"')
    assert flows.asked == []


# -- the server's life ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "listen",
    ["0.0.0.0:0", "[::]:0", "10.1.2.3:7480", "example.org:1", "nonsense", "127.0.0.1:99999"],
)
async def test_only_loopback_is_served(flows, listen):
    """Without TLS nothing beyond this machine is served; what is no address is said to be none."""
    with pytest.raises(ListenRefused):
        async with serve(flows, listen):
            pass


async def test_a_port_in_use_is_refused(flows):
    """Two servers never share a port unnoticed."""
    async with serve(flows) as port:
        with pytest.raises(ListenRefused, match="in use"):
            async with serve(flows, f"127.0.0.1:{port}"):
                pass


async def test_unix_sockets_work(flows, tmp_path: Path):
    """A Unix socket is served and reached by its name."""
    listen = f"unix:{tmp_path / 'flow.sock'}"
    async with serve(flows, listen), Client(listen) as client:
        assert await client.get_flow("f1") == FLOW


async def test_stopping_lets_a_running_call_end(flows):
    """A call that runs when the server stops gets its answer; a later one finds nobody."""
    running, may_end = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        running.set()
        await may_end.wait()

    flows.wait = wait
    context = serve(flows, grace_s=5)
    port = await context.__aenter__()
    async with Client(f"127.0.0.1:{port}", timeout_s=5) as client:
        call = asyncio.create_task(client.get_flow("f1"))
        await running.wait()
        leaving = asyncio.create_task(context.__aexit__(None, None, None))
        await asyncio.sleep(0)
        may_end.set()
        assert await call == FLOW
        await leaving
        with pytest.raises(ServerUnavailable):
            await client.get_flow("f1")


async def test_stopping_does_not_wait_for_ever(flows):
    """A call that does not end within the grace is ended: what a change did is unknown then."""
    running, for_ever = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        running.set()
        await for_ever.wait()

    flows.wait = wait
    context = serve(flows, grace_s=0.1)
    port = await context.__aenter__()
    async with Client(f"127.0.0.1:{port}", timeout_s=5) as client:
        start = StartFlow(flow="f", blueprint_name="b")
        call = asyncio.create_task(client.start_flow(start))
        await running.wait()
        await context.__aexit__(None, None, None)
        with pytest.raises(OutcomeUnknown):
            await call


async def test_a_client_that_is_not_open_says_so(flows):
    """Misuse is a RuntimeError, and after closing there is an error of the tree."""
    client = Client("127.0.0.1:1")
    with pytest.raises(RuntimeError):
        await client.get_flow("f")
    async with client:
        pass
    with pytest.raises(ServerUnavailable):
        await client.get_flow("f")

"""Every door refuses every bad input with a clear error, and nothing of it gets into the store."""

from __future__ import annotations

import json
import resource
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsvc.api import config_methods
from flowsvc.api import methods as flow_methods
from flowsvc.api.convert import answer_from, answer_to
from flowsvc.api.v1 import config_pb2, flow_pb2
from flowsvc.blueprint import parse_blueprint
from flowsvc.cli.given import parse_parameters
from flowsvc.errors import FlowServiceError, InvalidInput, ParametersInvalid
from flowsvc.migrate.document import parse_document
from flowsvc.model import Preview, PutDefinition, StartFlow, StopFlow
from flowsvc.parameters import resolve
from flowsvc.render import MAX_RENDERED_BYTES, render
from flowsvc.seed import yaml_text
from flowsvc.server import serve
from kvconfig.codec import Decoder, canonical, parse_json
from kvconfig.config import Schema
from kvconfig.errors import InvalidValue, KvError
from kvconfig.keys import check_item_key, check_name
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.memory import MemoryStore
from kvconfig.txn import Put, Txn
from processors import FlowProcessor, Spec, Tasks, Variant
from processors.testing import Harness
from tests import bad_inputs
from tests.bad_inputs import Bad, ids
from tests.seeds import SEED, System, system_on

REFUSED = (KvError, FlowServiceError)
json_texts = pytest.mark.parametrize("bad", bad_inputs.JSON, ids=ids)
names = pytest.mark.parametrize("bad", bad_inputs.NAMES, ids=ids)


@pytest.fixture
async def system() -> AsyncIterator[System]:
    """One that has a blueprint, and nothing else."""
    async with system_on(MemoryStore(page_size=3)) as made:
        await made.seed({name: SEED[name] for name in ("parameter-type", "flow-blueprint")})
        yield made


@contextmanager
def refused(bad: Bad, *more: str) -> Iterator[None]:
    """What is done in the block is refused, in words that say why, are short, and can be shown."""
    with pytest.raises(REFUSED) as raised:
        yield
    said = str(raised.value)
    assert all(each in said for each in (bad.says, *more))
    assert "secret-value" not in said
    assert all(line.isprintable() for line in said.splitlines())
    assert len(said) < 1000


@contextmanager
def bounded(*, seconds: float = 2.0, megabytes: float = 64) -> Iterator[None]:
    """What is done in the block takes no more than that."""
    began = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        yield
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < megabytes * 2**20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < megabytes * 2**10
    assert time.process_time() - began < seconds


# -- the codec, and keys -------------------------------------------------------------------------


@json_texts
def test_the_codec_refuses(bad: Bad) -> None:
    """Read as anything, with the key, and within bounds."""
    for read in (parse_json, canonical, Decoder(dict[str, Any]).decode):
        with bounded(), refused(bad, "/k at $"):
            read(bad.input, key=b"/k")


@names
def test_keys_refuse(bad: Bad) -> None:
    """Neither a name nor the key of an item, and no key is made of it."""
    with refused(bad):
        check_name(bad.input, "flow id")
    if bad.name != "too-long":  # an item's key may have 256
        with refused(bad):
            check_item_key(bad.input)
    with refused(bad):
        Keyspace().active_flow(VariantName("chunker", bad.input))


async def test_prefix_pairs_are_apart(system: System) -> None:
    """``chunk`` is no part of ``chunker``: not in a range, a watch or a list."""
    ks = system.ks
    key = ks.active_flow(VariantName("chunker", "f1"))
    assert key not in ks.active_flow_range("chunk")
    assert key in ks.active_flow_range("chunker")
    await system.config.put("prompt-x", "a", 1)
    assert await system.config.list("prompt") == []
    await system.config.put("prompt", "chunker/a", 1)
    assert await system.config.list("prompt", "chunk") == []


# -- schemas -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", bad_inputs.SCHEMAS, ids=ids)
async def test_schemas_are_refused(bad: Bad, system: System) -> None:
    """Before anything is compiled, fetched or written; one that stands there stops all writes."""
    with bounded(), refused(bad):
        Schema("t", bad.input)
    with refused(bad):
        await system.config.put_schema("t", bad.input)
    with refused(bad):
        await system.seed({"schema": {"t": bad.input}})
    await put_raw(system, system.ks.schema("t"), json.dumps(bad.input).encode())
    with refused(bad):
        await system.config.put("t", "a", 1)
    await system.config.put("prompt", "a", 1)


def test_a_schema_may_refer_to_itself() -> None:
    """A tree of any depth is checked, and told where it is wrong; and so that it takes no time."""
    twice = {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}
    tree = Schema("t", {"type": ["object", "null"], "properties": {"a": twice}})
    value: Any = 5
    for depth in range(60):
        with bounded(), pytest.raises(KvError) as raised:
            tree.check(value, key=b"/t/k")
        place = "$" + ".a" * depth if depth < 11 else "too deep to say where"
        assert place in str(raised.value)
        value = {"a": value}


# -- what expands --------------------------------------------------------------------------------


def test_a_template_bomb_is_refused_before_it_is_filled_in() -> None:
    """4,000 places of a value of 100 KB are 400 MB: counted, and never made."""
    places = {f"p{n}": "{p}" * 40 for n in range(100)}
    blueprint = parse_blueprint(
        "bomb",
        {"flow": {"a:{id}": {"parameters": places}}, "parameters": {"p": {}}},
    )
    resolved = resolve(blueprint, {}, {"p": "x" * 100_000})
    with bounded(megabytes=4), pytest.raises(ParametersInvalid, match=str(MAX_RENDERED_BYTES)):
        render(blueprint, flow="f1", workspace="default", parameters=resolved.values)


@pytest.mark.parametrize("bad", bad_inputs.YAML, ids=ids)
async def test_yaml_is_refused(bad: Bad, system: System) -> None:
    """With nothing written, and within bounds: no alias is followed."""
    before = await system.everything()
    with bounded(), refused(bad):
        await system.seed(bad.input.encode(), "yaml")
    assert await system.everything() == before


def test_a_value_in_yaml_that_never_ends_is_not_read_to_its_end(monkeypatch) -> None:
    """libyaml holds a scalar as a whole: one that is longer than can be stored is cut off."""
    monkeypatch.setattr(yaml_text, "MAX_VALUE_BYTES", 2**18)

    class Endless:
        given = 0

        def read(self, size: int = -1, /) -> bytes:
            self.given += 2**16
            return b"a: {b: " if self.given == 2**16 else b"x" * 2**16

    endless = Endless()
    with bounded(), pytest.raises(InvalidValue, match="longer than 262144 bytes"):
        list(yaml_text.entries(endless))
    assert endless.given < 2**20


# -- from an operator ----------------------------------------------------------------------------


@json_texts
async def test_operators_are_refused(bad: Bad, system: System) -> None:
    """As a definition, as a seed, as parameters, as what is to be migrated; nothing is written."""
    before = await system.everything()
    for kind in ("flow-blueprint", "parameter-type"):
        with bounded(), refused(bad):
            await system.service.change(PutDefinition(kind=kind, name="x", definition=bad.input))
    with bounded(), refused(bad):
        parse_document(bad.input, "the file")
    with bounded(), pytest.raises(Exception) as raised:
        parse_parameters(bad.input, "--parameters")
    assert bad.says in str(raised.value)
    with bounded(), pytest.raises(InvalidInput):
        await system.seed(b'{"prompt": ' + bad.input + b"}")
    assert await system.everything() == before


@names
async def test_names_are_refused(bad: Bad, system: System) -> None:
    """Of a flow, a definition, an item and in a seed; nothing is written."""
    before = await system.everything()
    with refused(bad):
        await system.service.change(StartFlow(flow=bad.input, blueprint_name="index"))
    with refused(bad):
        await system.service.change(
            StartFlow(flow="f1", blueprint_name="index", workspace=bad.input)
        )
    with pytest.raises(REFUSED):
        await system.service.change(
            PutDefinition(kind="flow-blueprint", name=bad.input, definition=b"{}")
        )
    with refused(bad):
        await system.config.put(bad.input, "a", 1)
    with pytest.raises(REFUSED):
        await system.seed({bad.input: {"a": 1}})
    if bad.name != "too-long":
        with refused(bad):
            await system.config.put("prompt", bad.input, 1)
        with pytest.raises(REFUSED):
            await system.seed({"prompt": {bad.input: 1}})
    assert await system.everything() == before


@pytest.mark.parametrize("text", ["a\0b", "\ud800"], ids=["nul", "surrogate"])
async def test_parameters_are_text(text: str, system: System) -> None:
    """A value that C would cut off, or UTF-8 cannot hold, is told with its place."""
    request = StartFlow(flow="f1", blueprint_name="index", parameters={"free": text})
    with pytest.raises(ParametersInvalid, match=r"\$\.parameters\.free: holds a"):
        await system.service.change(request)


# -- over gRPC -----------------------------------------------------------------------------------


async def test_the_api_refuses(system: System) -> None:
    """INVALID_ARGUMENT with the same words, for a client that checks nothing by itself."""
    before = await system.everything()
    async with (
        serve(system.service, config=system.config) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):

        async def ask(service: str, method: str, request: Message) -> str:
            call: Any = channel.unary_unary(
                f"/{service}/{method}", request_serializer=type(request).SerializeToString
            )
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call(request)
            assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT, (method, request)
            return raised.value.details() or ""

        def put(type_: str, key: str, value: str) -> config_pb2.PutRequest:
            write = config_pb2.PutRequest.Write(type=type_, key=key, value=value)
            return config_pb2.PutRequest(writes=[write])

        for bad in bad_inputs.JSON:
            try:
                text = bad.input.decode()
            except UnicodeDecodeError:
                continue  # protobuf itself takes only UTF-8
            said = await ask(config_methods.SERVICE, "Put", put("prompt", "a", text))
            assert bad.says in said, bad.name
            schema = config_pb2.PutSchemaRequest(type="prompt", schema=text)
            assert bad.says in await ask(config_methods.SERVICE, "PutSchema", schema), bad.name
            blueprint = flow_pb2.PutBlueprintRequest(name="x", definition=text)
            assert bad.says in await ask(flow_methods.SERVICE, "PutBlueprint", blueprint), bad.name
        for bad in bad_inputs.NAMES:
            start = flow_pb2.StartFlowRequest(flow=bad.input, blueprint_name="index")
            assert bad.says in await ask(flow_methods.SERVICE, "StartFlow", start), bad.name
            said = await ask(config_methods.SERVICE, "Put", put(bad.input, "a", "1"))
            assert bad.says in said, bad.name
        for bad in bad_inputs.SCHEMAS:
            text = json.dumps(bad.input)
            schema = config_pb2.PutSchemaRequest(type="prompt", schema=text)
            assert bad.says in await ask(config_methods.SERVICE, "PutSchema", schema), bad.name
    assert await system.everything() == before


# -- read back from etcd -------------------------------------------------------------------------


async def put_raw(system: System, key: bytes, value: bytes) -> None:
    """As somebody with ``etcdctl`` might."""
    await system.store.commit(Txn(then=(Put(key, value),)))


async def test_the_service_sets_aside_what_it_cannot_read(system: System) -> None:
    """Among bad records and definitions of every kind, those that are good are served."""
    for bad in bad_inputs.JSON:
        await put_raw(system, system.ks.flow(f"bad-{bad.name}"), bad.input)
        await put_raw(system, system.ks.flow_blueprint(f"bad-{bad.name}"), bad.input)
        await put_raw(system, system.ks.parameter_type(f"bad-{bad.name}"), bad.input)
    for bad in bad_inputs.NAMES:
        await put_raw(system, b"/flow/" + bad.input.encode(), b"{}")
    await system.service.change(StartFlow(flow="f1", blueprint_name="index"))
    assert [flow.id for flow in await system.service.list_flows()] == ["f1"]
    found = await system.service.list_definitions("flow-blueprint")
    assert [definition.name for definition in found] == ["index"]
    for bad in bad_inputs.JSON:
        with pytest.raises(InvalidValue):
            await system.service.get_flow(f"bad-{bad.name}")
        with pytest.raises(REFUSED):
            await system.service.change(
                StartFlow(flow="f2", blueprint_name=f"bad-{bad.name}", parameters={})
            )


class Idle(FlowProcessor):
    """Runs, and does nothing."""

    id = "idle"
    spec = Spec(config={"prompt": object})

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        yield


async def test_a_processor_sets_aside_what_it_cannot_read() -> None:
    """Of its variants and of its configuration: each is reported, and the good ones run."""
    async with Harness(Idle()) as harness:
        for bad in bad_inputs.JSON:
            await harness.put_raw(bad.name, bad.input)
            key = Keyspace().item("prompt", f"bad-{bad.name}")
            await harness.store.commit(Txn(then=(Put(key, bad.input),)))
        await harness.put("good", topics={"input": "t"})
        await harness.put_config("prompt", "good", "text")
        await harness.running("good")
        for bad in bad_inputs.JSON:
            assert f"/active-flow/idle/{bad.name} at $" in (await harness.failed(bad.name)).error
        await harness.settled()
        assert harness.live("good") is not None
        assert dict(harness.processor.config("prompt")) == {"good": "text"}


async def test_the_configuration_sets_aside_what_it_cannot_read(system: System) -> None:
    """A watch tells of each bad item why, and of the good one what it is."""
    for bad in bad_inputs.JSON:
        await put_raw(system, system.ks.item("prompt", f"bad-{bad.name}"), bad.input)
    await system.config.put("prompt", "good", "text")
    async with aclosing(system.config.changes("prompt")) as batches:
        changes = {change.key: change for change in (await anext(batches)).changes}
    item = changes.pop("good").item
    assert item is not None
    assert item.value == "text"
    assert len(changes) == len(bad_inputs.JSON)
    for bad in bad_inputs.JSON:
        assert bad.says in changes[f"bad-{bad.name}"].error


async def test_what_cannot_be_read_can_be_looked_at_and_replaced(system: System) -> None:
    """A preview shows it, over gRPC too, and a stop takes it away."""
    await system.service.change(StartFlow(flow="f1", blueprint_name="index"))
    for bad in bad_inputs.JSON:
        await put_raw(system, system.ks.active_flow(VariantName("chunker", "f1")), bad.input)
        preview = answer_from(answer_to(await system.service.preview(StopFlow(flow="f1"))), Preview)
        (change,) = [each for each in preview.changes if each.processor == "chunker"]
        assert isinstance(change.before, str), bad.name
        assert change.before.isprintable()
    await put_raw(system, system.ks.active_flow(VariantName("chunker", "f1")), b"\0 raw")
    await system.service.change(StopFlow(flow="f1"))


async def test_an_error_that_is_no_text_is_reported() -> None:
    """NUL, and half a surrogate pair, do not keep a status from being written."""

    class Odd(Idle):
        @asynccontextmanager
        async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
            if variant.name == "odd":
                raise ValueError("a\0b\ud800")
            yield

    async with Harness(Odd()) as harness:
        await harness.put("odd")
        await harness.failed("odd")
        await harness.put("good")
        await harness.running("good")
        assert (await harness.status()).failed["odd"].error == "ValueError: a\\0b\\ud800"


# -- whatever --------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    ['{', '}', '[', ']', '"a"', '"', ':', ',', '1', '-', '1e999', '9' * 320, 'NaN', 'null', ' ',
     '\\u0000', '\\ud800', '\\', '\0', 'é', '"\\u0061"']
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES, max_size=12).map("".join) | st.binary(max_size=20).map(repr))
def test_any_text_is_a_value_or_refused(text: str) -> None:
    """What the codec takes, everybody reads the same, and its form is stable."""
    try:
        form = canonical(text.encode())
    except InvalidValue:
        return
    assert json.loads(form, parse_constant=pytest.fail) == json.loads(text)
    assert canonical(form) == form


@settings(deadline=None, max_examples=100)
@given(st.recursive(
    st.just({"type": "object"}) | st.just({"$ref": "#"}) | st.just({"$ref": "#/allOf/0"}),
    lambda inner: st.fixed_dictionaries(
        {}, optional={"allOf": st.lists(inner, min_size=1, max_size=3), "not": inner,
                      "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner)}
    ),
    max_leaves=8,
))  # fmt: skip
def test_any_schema_is_checked_in_time_or_refused(schema: dict[str, Any]) -> None:
    """Whatever refers to whatever: no value takes longer than a moment."""
    value: Any = 5
    for _ in range(20):
        value = {"a": value, "b": value if len(str(value)) < 100 else 5}
    with bounded(seconds=1.0):
        try:
            Schema("t", schema).check(value, key=b"/t/k")
        except KvError:
            return

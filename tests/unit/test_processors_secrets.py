"""Secrets in a processor: read when a variant is entered, and shown nowhere."""

from __future__ import annotations

import copy
import io
import json
import logging
import os
import pickle
import pprint
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvconfig import codec, jsonlog
from kvconfig.model import Revision
from processors import (
    FlowProcessor,
    InvalidVariant,
    Parameter,
    Secret,
    SecretUnavailable,
    Spec,
    Tasks,
    Variant,
    resolving,
)
from processors.hiding import hide_in_logs
from processors.resolving import MAX_BYTES, resolved
from processors.secret import hide
from processors.testing import Harness


def variant_with(*references: str) -> Variant:
    return Variant(
        processor="p",
        name="v",
        topics=MappingProxyType({}),
        parameters=MappingProxyType(
            {f"s{n}": Secret(reference) for n, reference in enumerate(references)}
        ),
        mod_revision=Revision(1),
    )


async def value_of(reference: str, **resolvers: resolving.Resolver) -> str:
    variant = await resolved(variant_with(reference), resolvers)
    return variant.parameter("s0", Secret).reveal()


async def unavailable(reference: str, **resolvers: resolving.Resolver) -> str:
    """Why it is, as everybody who looks is told: error and traceback."""
    with pytest.raises(SecretUnavailable) as caught:
        await value_of(reference, **resolvers)
    assert caught.value.reference == reference
    told = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in told
    return caught.value.reason


def logged(record: logging.LogRecord, form: jsonlog.Format) -> str:
    """What our logs make of it."""
    handler = logging.StreamHandler(stream := io.StringIO())
    jsonlog.format_as(form, handler)
    handler.emit(record)
    return stream.getvalue()


# -- the value -------------------------------------------------------------------------------


@given(st.text(min_size=4, max_size=40).map(lambda text: f"☃{text}"))
def test_a_secret_never_shows(value: str) -> None:
    """Whatever turns it into text, alone or inside of something, leaves the value out."""
    secret = Secret("env:KEY", value)
    inside = msgspec.structs.replace(
        variant_with(), parameters=MappingProxyType({"key": secret, "more": 1})
    )
    record = logging.LogRecord(
        "n", logging.INFO, "p", 1, "%s %r", (secret, [secret]), None, "f", None
    )
    record.secret = secret
    shown = [
        *(repr(secret), str(secret), f"{secret}", f"{secret!r:>90}", ascii(secret)),
        *(repr(inside), str({"key": secret}), pprint.pformat(inside)),
        json.dumps({"key": secret}, default=str),
        msgspec.json.encode({"key": secret}, enc_hook=str).decode(),
        *(logged(record, form) for form in ("text", "json")),
        repr(copy.deepcopy(inside.parameters["key"])),
    ]
    for encode in (json.dumps, msgspec.json.encode, msgspec.to_builtins, pickle.dumps, vars):
        with pytest.raises(TypeError) as caught:
            encode(secret)
        shown.append(str(caught.value))
    escaped = {value, json.dumps(value)[1:-1], repr(value)[1:-1], ascii(value)[1:-1]}
    assert not [text for text in shown for form in escaped if form in text]
    assert secret.reveal() == value


def test_secrets_compare_by_where_they_come_from() -> None:
    """So a value that was read again is no change of its variant, and a guess proves nothing."""
    assert Secret("env:A", "x") == Secret("env:A")
    assert Secret("env:A", "x") != Secret("env:B", "x")
    assert Secret("env:A", "env:A") != "env:A"
    assert len({Secret("env:A", "x"), Secret("env:A", "y")}) == 1
    with pytest.raises(RuntimeError, match="<secret env:A> is not read before"):
        Secret("env:A").reveal()


# -- resolving -------------------------------------------------------------------------------


async def test_where_secrets_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment, a file without its last line end, and plug-ins; read anew each time."""
    monkeypatch.setenv("KEY", "one")
    assert await value_of("env:KEY") == "one"
    monkeypatch.setenv("KEY", "two\n")
    assert await value_of("env:KEY") == "two\n"
    file = tmp_path / "key"
    for written, read in (("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" ü ", " ü ")):
        file.write_bytes(written.encode())
        assert await value_of(f"file:{file}") == read
    assert await value_of("vault:a/b", vault=lambda place: f"<{place}>") == "<a/b>"
    installed = EntryPoint("up", "tests.unit.test_processors_secrets:upper", resolving.GROUP)
    monkeypatch.setattr(resolving, "entry_points", EntryPoints([installed]).select)
    assert await value_of("up:key") == "KEY"
    variant = variant_with()
    assert await resolved(variant) is variant


def upper(place: str) -> str:
    """A resolver."""
    return place.upper()


async def test_what_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference and the reason are told, and nothing that was read or raised."""
    monkeypatch.setenv("EMPTY", "")
    file, pipe = tmp_path / "key", tmp_path / "pipe"
    os.mkfifo(pipe)
    assert await unavailable("env:SET_BY_NOBODY") == "is not set"
    assert await unavailable("env:EMPTY") == "is empty"
    assert await unavailable(f"file:{file}") == "No such file or directory"
    assert await unavailable(f"file:{tmp_path}") == "Is a directory"
    assert await unavailable(f"file:{pipe}") == "is no regular file", "nor is it waited for"
    file.write_bytes(b"hunter2" * MAX_BYTES)
    assert await unavailable(f"file:{file}") == "has more than 65536 bytes"
    file.write_bytes(b"hunter2\xff")
    assert await unavailable(f"file:{file}") == "its resolver raised UnicodeDecodeError"

    def rude(place: str) -> str:
        raise LookupError("hunter2")

    assert await unavailable("vault:a", vault=rude) == "its resolver raised LookupError"
    gives_none: resolving.Resolver = dict[str, str]().get  # type: ignore[assignment]
    assert (
        await unavailable("vault:a", vault=gives_none) == "its resolver gave no text, but NoneType"
    )
    assert await unavailable("vault:a") == "no plug-in for vault is installed"
    broken = EntryPoint("vault", "tests.unit.there_is_none:hunter2", resolving.GROUP)
    monkeypatch.setattr(resolving, "entry_points", EntryPoints([broken]).select)
    assert await unavailable("vault:a") == "its resolver raised ModuleNotFoundError"


# -- declaring -------------------------------------------------------------------------------


def test_what_can_be_declared() -> None:
    """A secret is text, of no known choices; its default is a reference."""
    assert Parameter(str, secret=True, default="env:KEY").default == "env:KEY"
    for wrong in (
        {"kind": int},
        {"kind": str, "choices": ("env:A",)},
        {"kind": str, "default": "hunter2"},
        {"kind": str, "schemes": ("env",)},
    ):
        with pytest.raises(TypeError) as caught:
            Parameter(secret=True, **wrong)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(TypeError, match="for a secret"):
        Parameter(str, schemes=("vault",))


class Caller(FlowProcessor):
    """Keeps what it was given."""

    id = "caller"
    spec = Spec(
        parameters={
            "key": Parameter(str, secret=True),
            "spare": Parameter(str, secret=True, default="env:SPARE"),
            "n": Parameter(int, default=0),
        }
    )

    def __init__(self) -> None:
        self.known: list[str] = []

    def check(self, variant: Variant) -> None:
        if variant.parameter("key", Secret).reference == "env:FORBIDDEN":
            raise InvalidVariant("$.parameters.key", "not this one")

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        self.known += [variant.parameter(name, Secret).reveal() for name in ("key", "spare")]
        yield

    async def update(self, old: Variant, new: Variant, running: object) -> bool:
        self.known.append(new.parameter("key", Secret).reveal())
        return old.parameter("key", Secret) == new.parameter("key", Secret)


@pytest.fixture
def spare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARE", "spare")


@pytest.mark.usefixtures("spare")
async def test_it_is_read_when_its_variant_is_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    """And again at an update and at each start; an equal put reads, and restarts, nothing."""
    monkeypatch.setenv("KEY", "one")
    async with Harness(Caller()) as harness:
        known = harness.processor.known
        await harness.put("v", parameters={"key": Secret("env:KEY")})
        await harness.running("v")
        assert known == ["one", "spare"]
        monkeypatch.setenv("KEY", "two")
        await harness.put("v", parameters={"key": "env:KEY"})
        await harness.settled()
        assert known == ["one", "spare"]
        await harness.put("v", parameters={"key": "env:KEY", "n": 1})
        await harness.settled()
        assert known == ["one", "spare", "two"], "taken in place"
        monkeypatch.setenv("OTHER", "three")
        await harness.put("v", parameters={"key": "env:OTHER"})
        await harness.settled()
        assert known[3:] == ["three", "three", "spare"], "not taken, so started anew"


@pytest.mark.usefixtures("spare")
async def test_a_failed_resolve_is_a_failure_of_that_variant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reported with its reference, tried again, and over once the secret can be had."""
    monkeypatch.setenv("KEY", "one")
    late = tmp_path / "late"
    async with Harness(Caller()) as harness:
        await harness.put("v", parameters={"key": f"file:{late}"})
        await harness.put("w", parameters={"key": "env:KEY"})
        await harness.running("w")
        failure = await harness.failed("v")
        assert failure.error == f"secret file:{late}: No such file or directory"
        late.write_text("here")
        variant = await harness.running("v")
        assert variant.parameter("key", Secret).reveal() == "here"


async def test_what_is_no_reference_is_refused_unseen(caplog: pytest.LogCaptureFixture) -> None:
    """Put by hand, past the service: it never is entered, and what stands there is not told."""
    async with Harness(Caller()) as harness:
        for value in ("hunter2", "vault:hunter2", "https://hunter2@host"):
            await harness.put("v", parameters={"key": value})
            failure = await harness.failed("v")
            assert failure.error == (
                "$.parameters.key: expected a reference to a secret (env:NAME or file:/path)"
            )
        assert harness.processor.known == []
    assert "hunter2" not in caplog.text


# -- what careless code tells ----------------------------------------------------------------


class Careless(FlowProcessor):
    """Raises an error that holds its secret, as libraries do."""

    id = "careless"
    spec = Spec(parameters={"key": Parameter(str, secret=True), "where": Parameter(str)})

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        value = variant.parameter("key", Secret).reveal()
        where = variant.parameter("where", str)
        logging.getLogger("author").warning("connecting to %s", value)
        if where == "enter":
            raise ConnectionError(f"refused: https://user:{value}@host")
        tasks.spawn(self.work(value, where))
        yield
        if where == "leave":
            raise ValueError(value)

    async def work(self, value: str, where: str) -> None:
        if where == "crash":
            try:
                raise ValueError(value)
            except ValueError as error:
                raise RuntimeError("it crashed") from error


PLAIN = 'open "sesame"\nin two lines: é'


def test_what_was_read_is_hidden() -> None:
    """As it is, as JSON and as Python write it; the longer of two first; not what is a word."""
    for value in (PLAIN, PLAIN + " and more", "short"):
        Secret("env:KEY", value)
    for form in (PLAIN, json.dumps(PLAIN), json.dumps(PLAIN, ensure_ascii=False), repr(PLAIN)):
        assert without_quotes(form) == "***"
    assert without_quotes(json.dumps(PLAIN + " and more")) == "***"
    assert hide("a short word") == "a short word"


def without_quotes(text: str) -> str:
    return hide(f"<{text}>").strip("<>\"'")


@pytest.mark.parametrize("where", ["enter", "crash", "leave"])
@pytest.mark.parametrize("form", ["json", "text"])
async def test_errors_and_logs_of_careless_code_hide_it(
    where: str, form: jsonlog.Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the status, in log lines of the author, and in tracebacks, of causes too."""
    monkeypatch.setenv("CARELESS_KEY", PLAIN)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    jsonlog.configure(form, out := io.StringIO())
    hide_in_logs()
    try:
        async with Harness(Careless()) as harness:
            parameters = {"key": "env:CARELESS_KEY", "where": where}
            await harness.put("a", parameters=parameters)
            if where == "leave":
                await harness.running("a")
            else:
                await harness.failed("a")
            status = codec.encode(await harness.status()).decode()
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    told = out.getvalue()
    assert "connecting to ***" in told
    assert ("refused: https://user:***@host" in status) is (where == "enter")
    for text in (told, status):
        assert "sesame" not in text


async def test_a_log_of_another_program_has_no_traceback_that_tells(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing hides what is written, what we log ourselves is safe all the same."""
    monkeypatch.setenv("CARELESS_KEY", PLAIN)
    async with Harness(Careless()) as harness:
        await harness.put("a", parameters={"key": "env:CARELESS_KEY", "where": "crash"})
        await harness.failed("a")
        await harness.put("b", parameters={"key": "env:CARELESS_KEY", "where": "leave"})
        await harness.running("b")
    ours = [record for record in caplog.records if record.name != "author"]
    assert "variant failed while it stopped" in {record.message for record in ours}
    formatter = logging.Formatter()
    assert not [record for record in ours if "sesame" in formatter.format(record)]

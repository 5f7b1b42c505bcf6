"""Secrets, from end to end: what a whole run has produced is searched for their text."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from flowsvc.cli import main, settings
from flowsvc.cli.children import child
from kvconfig.devserver import DevServer, EtcdBinary
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from kvconfig.store import list_all
from tests.scraping import get

KEEPING = "tests.integration.keeping_processor:Keeping"
KEY = {"type": "string", "secret": True, "schemes": ["reversed"], "required": True}
BLUEPRINT = {
    "description": "Calls somebody with a key",
    "parameters": {"api-key": {"type": "key"}, "fail": {"type": "flag"}},
    "interfaces": {},
    "flow": {"keeping:{id}": {"parameters": {"api-key": "{api-key}", "fail": "{fail}"}}},
    "blueprint": {},
}
TYPES: dict[str, object] = {"key": KEY, "flag": {"type": "boolean", "default": False}}

FAILED, INVALID = 1, 5
"""flowctl's exit codes for what has failed, and for what can never work as it is."""


class FlowCtl:
    """``flowctl`` in this process; all that it has said is kept in ``folder``."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], *where: str) -> None:
        self._folder, self._capsys, self._where, self._count = folder, capsys, where, 0

    def __call__(self, *args: str, where: tuple[str, ...] = (), code: int = 0) -> str:
        self._count += 1
        self._capsys.readouterr()
        ended = main([*args, *(where or self._where)])
        said = "".join(self._capsys.readouterr())
        (self._folder / f"flowctl-{self._count}").write_text(said)
        assert ended == code, said
        return said


def holding(folder: Path, text: str) -> list[str]:
    """The files below a folder that hold a text."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [str(p.relative_to(folder)) for p in files if text.encode() in p.read_bytes()]


def test_a_secret_is_in_nothing_that_a_run_produces(
    etcd_binary: EtcdBinary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Resolved, refused or not to be had: its text is in no key, log, metric, answer or error."""
    known, filed, plain, kept = (f"{name}-{secrets.token_hex(8)}" for name in "abcd")
    produced, beside = tmp_path / "produced", tmp_path / "beside"
    produced.mkdir()
    beside.mkdir()
    (beside / "key").write_text(f"{filed}\n")
    monkeypatch.setenv("KNOWN_TO_THE_PROCESSOR", known)

    def seed(name: str, **types: Mapping[str, object]) -> str:
        path = beside / f"{name}.json"
        path.write_text(
            json.dumps({"parameter-type": TYPES | types, "flow-blueprint": {"calls": BLUEPRINT}})
        )
        return str(path)

    flows = beside / "flows.json"
    flow = {"blueprint-name": "calls", "parameters": {"api-key": plain}}
    flows.write_text(json.dumps({"flow": {"seeded": flow}}))
    by_mistake = {
        "default": seed("default", key={**KEY, "default": plain}),
        "enum": seed("enum", key={**KEY, "enum": [{"id": plain}]}),
    }
    definition = beside / "definition.json"
    definition.write_text(json.dumps({**KEY, "default": plain}))

    etcd = DevServer(etcd_binary, data_dir=produced / "etcd", log_path=produced / "etcd.log")
    server_log, host_log = produced / "server.log", produced / "processors.log"
    with ExitStack() as stack:
        # One event loop for all commands: gRPC's poller does not like it to change.
        loop = stack.enter_context(asyncio.Runner())
        monkeypatch.setattr(settings, "run", loop.run)

        living = AsyncExitStack()
        stack.callback(lambda: loop.run(living.aclose()))
        loop.run(living.enter_async_context(etcd))
        at = ("--endpoints", etcd.endpoint)
        audit = ("--audit-log", str(produced / "audit"))
        serve = ("serve", *at, "--listen", "127.0.0.1:0", "--metrics-port", "0", *audit)
        process = ("run", KEEPING, *at, "--metrics-port", "0", "--log-format", "json")
        begun = living.enter_async_context
        server = loop.run(begun(child("service", "flowsvc.cli", *serve, log=server_log)))
        host = loop.run(begun(child("host", "processors", *process, log=host_log)))
        listening = loop.run(server.line(event="listening"))
        running = loop.run(host.line(event="running"))
        flowctl = FlowCtl(produced, capsys, "--server", str(listening["address"]))

        def start(id_: str, value: str, *more: str, code: int = 0) -> str:
            given = ("-i", id_, "--param", f"api-key={value}")
            return flowctl("flow", "start", "-n", "calls", *given, *more, code=code)

        flowctl("bootstrap", by_mistake["default"], code=INVALID)
        flowctl("apply", "-f", by_mistake["default"], "--yes", where=at, code=INVALID)
        flowctl("diff", "-f", by_mistake["enum"], where=at, code=INVALID)
        flowctl("parameter-type", "put", "key", str(definition), code=INVALID)
        flowctl("bootstrap", seed("good"))

        start("known", "env:KNOWN_TO_THE_PROCESSOR", "--wait")
        start("filed", f"file:{beside / 'key'}", "--wait")
        start("unset", "env:SET_BY_NOBODY")
        start("denied", f"reversed:{kept[::-1]}")
        start("broken", f"file:{beside / 'key'}", "--param", "fail=true")
        update = ("flow", "update", "known", "--param", f"api-key={plain}")
        for answer in (
            start("plain", plain, code=INVALID),
            start("plain", f"https://{plain}@host", "--dry-run", code=INVALID),
            flowctl(*update, code=INVALID),
            flowctl(*update, "-o", "json", where=at, code=INVALID),
            flowctl("import", str(flows), where=at, code=INVALID),
            flowctl("apply", "-f", str(flows), "--yes", where=at, code=INVALID),
            flowctl("bootstrap", str(flows), code=INVALID),
        ):
            assert "api-key" in answer, "the path is named"
            assert "env:NAME, file:/path or reversed:..." in answer, "so is what is allowed"
        for name in ("unset", "denied", "broken"):
            flowctl("flow", "wait", name, code=FAILED)
        flowctl("flow", "update", "filed", "--param", "api-key=env:KNOWN_TO_THE_PROCESSOR")

        flowctl("flow", "list", "-o", "wide")
        flowctl("flow", "get", "known", "-o", "yaml")
        flowctl("flow", "history", "filed", "-o", "json")
        flowctl("parameter-type", "get", "key")
        flowctl("processor", "describe", "keeping")
        unset = flowctl("flow", "describe", "unset")
        denied = flowctl("flow", "describe", "denied", "-o", "json")
        difference = flowctl("flow", "diff", "filed")
        exported = flowctl("export", where=at)
        for name, page in (("server", listening["metrics"]), ("processor", running["metrics"])):
            (produced / f"{name}.metrics").write_text(get(str(page)).text)

        assert "secret env:SET_BY_NOBODY: is not set" in unset
        assert "its resolver raised PermissionError" in denied
        assert "env:KNOWN_TO_THE_PROCESSOR" in difference
        assert f"file:{beside / 'key'}" in exported, "references are carried as they are"
        digests = {line.get("digest") for line in host.lines}
        assert digests >= {hashlib.sha256(text.encode()).hexdigest() for text in (known, filed)}

    found_in = holding(produced, "KNOWN_TO_THE_PROCESSOR")
    assert any(path.startswith("etcd/") for path in found_in), "the search finds what is there"
    assert "processors.log" in found_in
    for text in (known, filed, plain, kept):
        assert holding(produced, text) == []


def test_a_value_from_before_its_type_was_marked_is_told_nowhere(
    etcd_endpoint: str,
    root: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No command brings it back or shows it; and once all is mended no key holds it."""
    plain = f"e-{secrets.token_hex(8)}"
    produced, beside = tmp_path / "produced", tmp_path / "beside"
    produced.mkdir()
    beside.mkdir()

    def written(name: str, value: object) -> str:
        (beside / name).write_text(json.dumps(value))
        return str(beside / name)

    types = TYPES | {"key": {"type": "string", "default": plain}}
    before = written(
        "before.json", {"parameter-type": types, "flow-blueprint": {"calls": BLUEPRINT}}
    )
    flow = {"blueprint-name": "calls", "parameters": {"api-key": plain}}
    flows = written("flows.json", {"flow": {"f1": flow, "f3": flow}})
    reference = "api-key=env:SET_BY_NOBODY"

    with asyncio.Runner() as loop:  # one for all commands: gRPC's poller does not like it to change
        monkeypatch.setattr(settings, "run", loop.run)
        flowctl = FlowCtl(produced, capsys, "--endpoints", etcd_endpoint, "--root", root)
        flowctl("import", before)
        given = ("--param", f"api-key={plain}", "--op", "first")
        flowctl("flow", "start", "-n", "calls", "-i", "f1", *given)
        flowctl("flow", "start", "-n", "calls", "-i", "f2")
        flowctl("flow", "pause", "f2")
        flowctl("parameter-type", "put", "key", written("key.json", KEY), "--force")

        back = ("flow", "rollback", "f1", "--to", "first")
        for answer in (
            flowctl("flow", "resume", "f2", code=INVALID),
            flowctl("flow", "restart", "f1", code=INVALID),
            flowctl(*back, code=INVALID),
            flowctl(*back, "--dry-run", "-o", "json", code=INVALID),
            flowctl("flow", "update", "f1", "--param", "fail=true", code=INVALID),
            flowctl("flow", "rollout", "-n", "calls", code=INVALID),
            flowctl("import", flows, code=INVALID),
            flowctl("apply", "-f", flows, "--yes", code=INVALID),
        ):
            assert "api-key" in answer, "the parameter is named"

        update = ("flow", "update", "f1", "--param", reference)
        flow["parameters"] = {"api-key": "env:SET_BY_NOBODY"}
        shown = [
            flowctl("flow", "get", "f1"),
            flowctl("flow", "get", "f2", "-o", "json"),
            flowctl("flow", "list", "-o", "json"),
            flowctl("flow", "describe", "f1", "-o", "json"),
            flowctl("flow", "history", "f1", "-o", "json"),
            flowctl("parameter-type", "history", "key", "-o", "json"),
            flowctl("parameter-type", "diff", "key"),
            flowctl(*update, "--dry-run"),
            flowctl(*update, "--dry-run", "-o", "json"),
            flowctl("diff", "-f", written("flows.json", {"flow": {"f1": flow}}), code=FAILED),
        ]
        found = flowctl("fsck", code=FAILED)
        flowctl("fsck", "--repair", code=FAILED)
        for name in ("f1", "f2"):
            flowctl("flow", "update", name, "--param", reference)
            shown.append(flowctl("flow", "diff", name))
        flowctl("flow", "resume", "f2")
        flowctl("fsck", "--repair")
        flowctl("fsck")
        assert all("***" in each for each in shown), shown
        assert found.count("plain-secret") == 7, found
        keys = loop.run(_everything(etcd_endpoint, root))

    assert holding(produced, "api-key"), "the search finds what is there"
    assert holding(produced, plain) == []
    assert [key for key, value in keys.items() if plain.encode() in value] == []


async def _everything(endpoint: str, root: str) -> dict[bytes, bytes]:
    async with connect([endpoint]) as store:
        page = await list_all(store, Keyspace(root).everything())
        return {kv.key: kv.value for kv in page.items}

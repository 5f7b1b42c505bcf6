"""Secrets, from end to end: what a whole run has produced is searched for their text."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

import pytest

from flowsvc.cli.children import child
from kvconfig.devserver import DevServer, EtcdBinary
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

INVALID = 5
"""flowctl's exit code for what can never work as it is."""


class FlowCtl:
    """``flowctl`` in processes of its own; all that they have said is kept in ``folder``."""

    def __init__(self, folder: Path, *where: str) -> None:
        self._folder, self._where, self._count = folder, where, 0

    async def __call__(self, *args: str, where: tuple[str, ...] = (), code: int = 0) -> str:
        self._count += 1
        number = self._count
        command = (sys.executable, "-m", "flowsvc.cli", *args, *(where or self._where))
        run = partial(subprocess.run, text=True, stdout=PIPE, stderr=STDOUT, stdin=DEVNULL)
        done = await asyncio.to_thread(run, command, timeout=60, check=False)
        said = str(done.stdout)
        (self._folder / f"flowctl-{number}").write_text(said)
        assert done.returncode == code, said
        return said


def holding(folder: Path, text: str) -> list[str]:
    """The files below a folder that hold a text."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [str(p.relative_to(folder)) for p in files if text.encode() in p.read_bytes()]


async def test_a_secret_is_in_nothing_that_a_run_produces(
    etcd_binary: EtcdBinary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(etcd)
        at = ("--endpoints", etcd.endpoint)
        options = (*at, "--metrics-port", "0", "--log-format", "json")
        server = await stack.enter_async_context(
            child(
                "flow service",
                "flowsvc.cli",
                *("serve", *at, "--listen", "127.0.0.1:0", "--metrics-port", "0"),
                log=produced / "server.log",
            )
        )
        host = await stack.enter_async_context(
            child(
                "processors",
                "processors",
                *("run", KEEPING, *options, "--instance", "i1"),
                log=produced / "processors.log",
            )
        )
        listening = await server.line(event="listening")
        running = await host.line(event="running")
        flowctl = FlowCtl(produced, "--server", str(listening["address"]))

        async def start(id_: str, value: str, *more: str, code: int = 0) -> str:
            given = ("-i", id_, "--param", f"api-key={value}")
            return await flowctl("flow", "start", "-n", "calls", *given, *more, code=code)

        await asyncio.gather(
            *(flowctl("bootstrap", path, code=INVALID) for path in by_mistake.values()),
            flowctl("apply", "-f", by_mistake["default"], "--yes", where=at, code=INVALID),
            flowctl("diff", "-f", by_mistake["enum"], where=at, code=INVALID),
            flowctl("parameter-type", "put", "key", str(definition), code=INVALID),
        )
        await flowctl("bootstrap", seed("good"))
        await start("known", "env:KNOWN_TO_THE_PROCESSOR", "--wait")
        await asyncio.gather(
            start("filed", f"file:{beside / 'key'}", "--wait"),
            start("unset", "env:SET_BY_NOBODY"),
            start("denied", f"reversed:{kept[::-1]}"),
            start("broken", f"file:{beside / 'key'}", "--param", "fail=true"),
        )
        said = await asyncio.gather(
            start("plain", plain, code=INVALID),
            start("plain", f"https://{plain}@host", "--dry-run", code=INVALID),
            flowctl("flow", "update", "known", "--param", f"api-key={plain}", code=INVALID),
            flowctl("flow", "update", "known", "--param", f"api-key={plain}", "-o", "json",
                    where=at, code=INVALID),
            flowctl("import", str(flows), where=at, code=INVALID),
        )  # fmt: skip
        for answer in said:
            assert "api-key" in answer, "the path is named"
            assert "env:NAME, file:/path or reversed:..." in answer, "so is what is allowed"
        for name in ("unset", "denied", "broken"):
            await host.line(event="variant failed", variant=name)
        await flowctl("flow", "update", "filed", "--param", "api-key=env:KNOWN_TO_THE_PROCESSOR")

        looks = (
            ("flow", "list", "-o", "wide"),
            ("flow", "describe", "unset"),
            ("flow", "describe", "denied", "-o", "json"),
            ("flow", "get", "known", "-o", "yaml"),
            ("flow", "history", "filed", "-o", "json"),
            ("flow", "diff", "filed"),
            ("parameter-type", "get", "key"),
            ("processor", "describe", "keeping"),
        )
        told = dict(
            zip(looks, await asyncio.gather(*(flowctl(*look) for look in looks)), strict=True)
        )
        exported = await flowctl("export", where=at)
        for name, page in (("server", listening["metrics"]), ("processor", running["metrics"])):
            reply = await asyncio.to_thread(get, str(page))
            (produced / f"{name}.metrics").write_text(reply.text)

        digests = {line.get("digest") for line in host.lines}
        assert digests >= {hashlib.sha256(text.encode()).hexdigest() for text in (known, filed)}
        assert "secret env:SET_BY_NOBODY: is not set" in told["flow", "describe", "unset"]
        assert (
            "its resolver raised PermissionError"
            in told["flow", "describe", "denied", "-o", "json"]
        )
        assert "env:KNOWN_TO_THE_PROCESSOR" in told["flow", "diff", "filed"]
        assert f"file:{beside / 'key'}" in exported, "references are carried as they are"

    found_in = holding(produced, "KNOWN_TO_THE_PROCESSOR")
    assert any(path.startswith("etcd/") for path in found_in), "the search finds what is there"
    assert "processors.log" in found_in
    for text in (known, filed, plain, kept):
        assert holding(produced, text) == []

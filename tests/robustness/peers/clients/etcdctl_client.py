"""etcdctl, in a process of its own for each call. What it complains of on the way is not told to
anybody; its last word and its end are."""

from __future__ import annotations

import asyncio
import base64
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tests.robustness.peers.clients.job import Job
from tests.robustness.peers.clients.user import Event

__all__ = ["open_client"]

LINE_BYTES = 2**20


class Exited(Exception):
    """It ended, and said why."""


class Client:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._processes: list[Process] = []
        self._txn: Process | None = None

    async def list(self, prefix: str) -> tuple[dict[str, str], int]:
        if self._job.do == "create":  # it connects before it is told what to do
            self._txn = await self._start("txn")
            return {}, 0
        process = await self._start("get", "--prefix", prefix, "--write-out=json")
        out, err = await process.communicate()
        if process.returncode:
            raise Exited(_last_line(err))
        found = json.loads(out)
        items = {_text(kv, "key"): _text(kv, "value") for kv in found.get("kvs", [])}
        return items, found["header"]["revision"]

    async def watch(self, prefix: str, start: int | None) -> AsyncIterator[Event]:
        options = ("--prefix", "--write-out=json", *([f"--rev={start}"] if start else []))
        return _events(await self._start("watch", *options, prefix))

    async def create(self, key: str) -> bool:
        assert self._txn is not None
        text = f'create("{key}") = "0"\n\nput {key} created\n\n\n'
        out, err = await self._txn.communicate(text.encode())
        if self._txn.returncode:
            raise Exited(_last_line(err))
        return out.decode().split()[0] == "SUCCESS"

    async def _start(self, *args: str) -> Process:
        job = self._job
        who = (f"--user={job.user}:{job.password}",) if job.user else ()
        process = await asyncio.create_subprocess_exec(
            *(job.etcdctl, f"--endpoints={','.join(job.endpoints)}", *who, *args),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=LINE_BYTES,
        )
        self._processes.append(process)
        return process

    def kill(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()


@asynccontextmanager
async def open_client(job: Job) -> AsyncIterator[Client]:
    client = Client(job)
    try:
        yield client
    finally:
        client.kill()


async def _events(process: Process) -> AsyncIterator[Event]:
    assert process.stdout is not None
    assert process.stderr is not None
    said = asyncio.create_task(process.stderr.read())
    while line := await process.stdout.readline():
        for event in json.loads(line).get("Events") or ():
            kv = event["kv"]
            value = None if event.get("type") else _text(kv, "value")
            yield Event(kv["mod_revision"], _text(kv, "key"), value)
    raise Exited(_last_line(await said))


def _text(kv: Mapping[str, str], field: str) -> str:
    return base64.b64decode(kv.get(field, "")).decode()


def _last_line(said: bytes) -> str:
    return (said.decode(errors="replace").splitlines() or ["nothing"])[-1]

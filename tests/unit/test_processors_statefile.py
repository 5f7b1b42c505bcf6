"""The last known configuration: recalled while etcd is away, never lost, never torn."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kvconfig.backoff import Backoff
from kvconfig.errors import InvalidValue, PermissionDenied, Unavailable
from kvconfig.informer import Batch, Informer
from kvconfig.keys import Range, prefix
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.model import KeyValue, Revision
from kvconfig.txn import Delete, Put, Txn
from processors.errors import CannotHost
from processors.instance import hosted
from processors.sessions import Sessions
from processors.statefile import StateFile
from tests.robustness.waiting import eventually
from tests.unit.support_processors import Desk, Never, Probe

RANGE, OTHER = prefix(b"/t/"), prefix(b"/u/")

WRITTEN = "state file written"
NOT_WRITTEN = "state file not written"
IGNORED = "state file ignored"
ABSENT = "no state file yet"
STARTING = "etcd does not answer: starting from the last known configuration"
WAITING = "etcd does not answer: waiting"
FRESH = "configuration is fresh again"
ANSWERS = "etcd answers"

SELDOM_S = 3600.0
"""An ``every_s`` that no test lives to see the end of: one write, and one on leaving."""


class File:
    """The file under test."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        return self.path.exists()

    def read(self) -> bytes:
        return self.path.read_bytes()

    def write(self, data: bytes) -> None:
        self.path.write_bytes(data)

    def stat(self) -> os.stat_result:
        return self.path.stat()

    def held(self) -> dict[str, str]:
        """What it says of ``RANGE``, by the last part of the key; in the order of keys."""
        items = json.loads(self.read())["ranges"]["/t/"]["items"]
        keys = [item["key"] for item in items]
        assert keys == sorted(keys)
        return {item["key"].removeprefix("/t/"): item["value"] for item in items}

    def beside(self) -> list[Path]:
        """What else there is in its folder."""
        return [path for path in self.path.parent.iterdir() if path != self.path]


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "state.json")


class Heard:
    """What the state file says."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        caplog.set_level(logging.DEBUG, "processors.statefile")

    def all(self) -> list[str]:
        ours = (r for r in self._caplog.records if r.name == "processors.statefile")
        return [record.getMessage() for record in ours]

    def lines(self, message: str) -> list[dict[str, Any]]:
        records = self._caplog.records
        return [vars(record) for record in records if record.getMessage() == message]

    async def line(self, message: str) -> dict[str, Any]:
        """The first such line, once it is there; and there is no other."""
        await eventually(lambda: bool(self.lines(message)))
        (line,) = self.lines(message)
        return line

    def forget(self) -> None:
        self._caplog.clear()


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Heard:
    return Heard(caplog)


def text(kv: KeyValue) -> str:
    try:
        return kv.value.decode()
    except UnicodeDecodeError as error:
        raise InvalidValue("no text", key=kv.key) from error


def informer_on(store: MemoryStore, range_: Range = RANGE) -> Informer[str]:
    return Informer(store, range_, text, backoff=Backoff(first_s=0.001, most_s=0.01))


def values(informer: Informer[str]) -> dict[str, str | None]:
    return {key.decode()[3:]: item.value for key, item in informer.items.items()}


async def put(store: MemoryStore, **pairs: str) -> None:
    puts = tuple(Put(f"/t/{key}".encode(), value.encode()) for key, value in pairs.items())
    await store.commit(Txn(then=puts))


def away(store: MemoryStore) -> None:
    """No call gets through, until ``gate`` is taken off again."""

    async def gate(call: str, moment: str) -> None:
        raise Unavailable("away")

    store.gate = gate


@asynccontextmanager
async def life(
    store: MemoryStore, file: File | None, *ranges: Range, **options: Any
) -> AsyncIterator[Informer[str]]:
    """One life of a process, not a long one: an informer for each range; the first is given."""
    options = {"every_s": 0.005, "patience_s": 0.01 if store.gate else 10.0} | options
    async with asyncio.timeout(20), AsyncExitStack() as stack:
        informers = [informer_on(store, range_) for range_ in ranges or (RANGE,)]
        for informer in informers:
            await stack.enter_async_context(informer)
        path = file.path if file else None
        await stack.enter_async_context(StateFile(path, informers, **options))
        yield informers[0]


async def remember(file: File, **pairs: str) -> MemoryStore:
    """A store that holds them, and ``file`` knows it."""
    store = MemoryStore()
    await put(store, **pairs)
    async with life(store, file) as informer:
        await informer.synced()
    return store


# -- a start while etcd is away -------------------------------------------------------------------


async def test_a_start_without_etcd_takes_what_was_known(file: File, heard: Heard) -> None:
    """However often. It is said with file, time and count, and it is said when all is fresh."""
    store = await remember(file, a="1", b="1")
    before = file.read()
    away(store)
    for _ in range(2):
        heard.forget()
        async with life(store, file) as informer:
            await informer.filled()
            assert informer.stale
            assert values(informer) == {"a": "1", "b": "1"}
        line = await heard.line(STARTING)
        assert (line["levelname"], line["file"]) == ("WARNING", str(file.path))
        assert line["written"] == json.loads(before)["written"]
        assert (line["items"], line["waiting"]) == (2, [])
        assert heard.all() == [STARTING]
        assert file.read() == before
    async with life(store, file) as informer:
        await informer.filled()
        store.gate = None
        await put(store, a="2")
        await informer.until(lambda _: values(informer) == {"a": "2", "b": "1"})
        assert (await heard.line(FRESH))["levelname"] == "INFO"
        await eventually(lambda: file.held() == {"a": "2", "b": "1"})


async def test_variants_run_from_the_file_and_converge(file: File) -> None:
    """What is as it was runs on untouched when etcd is back; the rest is replaced or stopped."""
    store, keyspace = MemoryStore(), Keyspace()
    desk = Desk(store, keyspace)
    for name in ("same", "changed", "gone"):
        await desk.put(name, n=1)

    @asynccontextmanager
    async def hosting(probe: Probe, patience_s: float) -> AsyncIterator[Informer[Any]]:
        async with (
            Sessions(store) as sessions,
            hosted(probe, store, sessions, keyspace, instance="i1", backoff=Never) as instance,
            StateFile(file.path, [instance.informer], patience_s=patience_s),
        ):
            yield instance.informer

    async with hosting(Probe(), patience_s=10.0) as informer:
        await informer.synced()
    away(store)
    probe = Probe()

    def ns() -> dict[str, int]:
        return {name: variant.parameter("n", int) for name, variant in probe.live.items()}

    async with hosting(probe, patience_s=0.01) as informer:
        await eventually(lambda: ns() == {"same": 1, "changed": 1, "gone": 1})
        assert informer.stale
        store.gate = None
        await desk.put("changed", n=2)
        await desk.delete("gone")
        await eventually(lambda: ns() == {"same": 1, "changed": 2})
        assert probe.starts == {"same": 1, "changed": 2, "gone": 1}


@pytest.mark.parametrize("with_file", [True, False])
async def test_without_a_last_known_configuration_it_waits_and_says_so(
    with_file: bool, file: File, heard: Heard
) -> None:
    """Also where no file was asked for."""
    store = MemoryStore()
    await put(store, a="1")
    away(store)
    async with life(store, file if with_file else None) as informer:
        line = await heard.line(WAITING)
        assert (line["levelname"], line["waiting"]) == ("WARNING", ["/t/*"])
        assert line.get("file") == (str(file.path) if with_file else None)
        assert not informer.stale
        assert not file.exists()
        store.gate = None
        assert (await heard.line(ANSWERS))["levelname"] == "INFO"
        assert values(informer) == {"a": "1"}
    assert heard.all() == ([ABSENT, WAITING, ANSWERS, WRITTEN] if with_file else [WAITING, ANSWERS])


async def test_an_etcd_that_answers_in_time_is_not_talked_about(file: File, heard: Heard) -> None:
    """Then nothing is recalled, whatever the file says."""
    store = await remember(file, a="1")
    heard.forget()
    away(store)
    batches: list[Batch[str]] = []
    async with life(store, file, patience_s=10.0) as informer:
        informer.subscribe(batches.append)
        await eventually(lambda: informer.stats.watch_ends > 3)
        store.gate = None
        await put(store, a="2")
        await eventually(lambda: file.held() == {"a": "2"})
    assert [batch.revision for batch in batches] == [3]
    assert heard.all() == [WRITTEN]


async def test_a_range_that_the_file_does_not_know_waits(file: File, heard: Heard) -> None:
    """The others start; and a file that knows none of them is no help."""
    store = await remember(file, a="1")
    away(store)
    async with life(store, file, RANGE, OTHER) as informer:
        line = await heard.line(STARTING)
        assert (line["items"], line["waiting"]) == (1, ["/u/*"])
        assert informer.stale
    async with life(store, file, OTHER) as informer:
        assert (await heard.line(WAITING))["waiting"] == ["/u/*"]
        assert not informer.stale


async def test_nothing_is_written_before_every_informer_has_its_list(
    file: File, heard: Heard
) -> None:
    """One that etcd answered goes by that, not by the file; the file waits for the others."""
    there, gone = await remember(file, a="1"), MemoryStore()
    before = file.read()
    heard.forget()
    await put(there, a="2")
    away(gone)
    async with informer_on(there) as first, informer_on(gone) as second:
        await first.synced()
        async with StateFile(file.path, [second, first], every_s=0.0, patience_s=0.01):
            assert (await heard.line(STARTING))["items"] == 1
            assert (first.stale, second.stale) == (False, True)
            await put(there, a="3")
            await first.until(lambda _: values(first) == {"a": "3"})
    assert heard.all() == [STARTING]
    assert file.read() == before


async def test_what_ends_an_informer_ends_it_too(file: File) -> None:
    """Without permission no waiting helps; and the file stays as it was."""
    store = await remember(file, a="1")
    before = file.read()
    store.fail_next(PermissionDenied(b"/t/"), "list")
    async with informer_on(store) as informer:
        statefile = StateFile(file.path, [informer], every_s=0.0)
        with pytest.raises(PermissionDenied):
            async with asyncio.timeout(10), statefile:
                await statefile.failed()
    assert file.read() == before


# -- the file -------------------------------------------------------------------------------------


def document(**changes: object) -> dict[str, Any]:
    """A file as it should be, but for some fields."""
    item = {"key": "/t/a", "value": "1", "create-revision": 3, "mod-revision": 5, "version": 2}
    right = {
        "format": 1,
        "root": "",
        "written": "2026-01-31T12:00:00Z",
        "ranges": {"/t/": {"revision": 7, "items": [item]}},
    }
    return right | changes


async def test_the_file_is_for_people_too(file: File) -> None:
    """It is what its documentation says, line by line; and for its owner only."""
    store = MemoryStore()
    await store.commit(Txn(then=(Put(b"/elsewhere", b"1"),)))
    for value in ("0", "2", "1"):
        await put(store, a=value)

    def now() -> datetime:
        return datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=UTC)

    async with life(store, file, now=now, root="@staging") as informer:
        await informer.synced()
    item = document()["ranges"]["/t/"]["items"][0] | {"version": 3}
    ranges = {"/t/": {"revision": 5, "items": [item]}}
    assert json.loads(file.read()) == document(root="@staging", ranges=ranges)
    assert b'\n     "key": "/t/a",\n' in file.read()
    assert file.stat().st_mode & 0o777 == 0o600


async def test_a_file_may_come_from_a_person(file: File) -> None:
    """What follows the documentation is recalled, with all that belongs to a key."""
    file.write(json.dumps(document()).encode())
    store = MemoryStore()
    away(store)
    async with life(store, file) as informer:
        await informer.filled()
        known = [item.kv for item in informer.items.values()]
    assert known == [KeyValue(b"/t/a", b"1", Revision(3), Revision(5), 2)]


async def test_what_is_text_comes_back_as_it_was(file: File) -> None:
    """With all its revisions, and its lease; a key or value that is no text, or holds NUL, which
    no value may, is left out."""
    store = MemoryStore()
    await put(
        store, quoted='{"x":"\\u0000 \\" \u2028 \U0001f600"}', empty="", control="\1\r\n", nul="\0"
    )
    lease = await store.grant(60)
    await store.commit(Txn(then=(Put(b"/t/leased", b"1", lease), Put(b"/t/\xff", b"1"))))
    await store.commit(Txn(then=(Put(b"/t/leased", b"2", lease), Put(b"/t/no-text", b"\xff"))))
    async with life(store, file) as informer:
        await informer.synced()
        known = dict(informer.items)
    away(store)
    async with life(store, file) as informer:
        await informer.filled()
        assert informer.items.items() < known.items()
        assert known.keys() - informer.items.keys() == {
            b"/t/\xff",
            b"/t/no-text",
            b"/t/nul",
        }


def encoded(**changes: object) -> bytes:
    return json.dumps(document(**changes)).encode()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"", "not JSON"),
        (encoded()[:-1], "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (encoded().replace(b'"1"', b'"\\ud800"'), "not JSON"),
        (b"[]", "Expected `object`"),
        (encoded(format=2, ranges=None), "format 2"),
        (encoded(root="@other"), "root '@other'"),
        (encoded(written="2026-01-31T12:00:00"), "$.written"),
        (encoded(ranges={"/t/": {"revision": 0, "items": []}}), ".revision: Expected `int` >= 1"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named_and_ignored(
    broken: bytes, reason: str, file: File, heard: Heard
) -> None:
    """It is left alone until etcd has answered; then there is a good one in its place."""
    file.write(broken)
    store = MemoryStore()
    await put(store, a="1")
    away(store)
    async with life(store, file) as informer:
        await heard.line(WAITING)
        assert not informer.stale
        line = await heard.line(IGNORED)
        assert (line["levelname"], line["file"]) == ("WARNING", str(file.path))
        assert reason in line["reason"]
        assert "move it away" in line["cure"]
        assert file.read() == broken
        store.gate = None
        await informer.synced()
    assert file.held() == {"a": "1"}


async def test_a_file_that_cannot_be_read_is_ignored(
    file: File, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is no reason not to start."""

    def denied(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "read_bytes", denied)
    async with life(MemoryStore(), file) as informer:
        await informer.synced()
    assert (await heard.line(IGNORED))["reason"] == os.strerror(errno.EACCES)


@pytest.mark.parametrize("kind", ["no folder", "folder", "socket", "circle"])
async def test_a_path_that_cannot_work_is_said_at_once(kind: str, tmp_path: Path) -> None:
    """With its name and a cure, before anything has started."""
    path = tmp_path / "state.json"
    if kind == "no folder":
        path = path / "state.json"
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    else:
        path.symlink_to(path)
    statefile = StateFile(path, [informer_on(MemoryStore())])
    with pytest.raises(CannotHost, match=f"state file {path}: .*: (create it|name another)"):
        await statefile.__aenter__()


async def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What it leads to is replaced."""
    (tmp_path / "elsewhere").mkdir()
    link, real = tmp_path / "state.json", tmp_path / "elsewhere" / "real.json"
    link.symlink_to(real)
    for value in ("1", "2"):
        await remember(File(link), a=value)
        assert link.readlink() == real
        assert File(real).held() == {"a": value}


# -- when it is written, and when not -------------------------------------------------------------


async def test_changes_are_written_together(file: File, heard: Heard) -> None:
    """The first at once, those that follow within `every_s` together; on leaving, the rest."""
    store = MemoryStore()
    await put(store, a="0", z="0")
    async with life(store, file, every_s=SELDOM_S) as informer:
        await eventually(file.exists)
        for turn in range(1, 201):
            await put(store, a=str(turn))
        await informer.until(lambda _: values(informer) == {"a": "200", "z": "0"})
        assert file.held() == {"a": "0", "z": "0"}
    assert file.held() == {"a": "200", "z": "0"}
    assert heard.all() == [ABSENT, WRITTEN, WRITTEN]


async def test_what_is_equal_is_not_written_again(file: File, heard: Heard) -> None:
    """Not by the next life, with or without etcd, though the store's revision moves on."""
    store = await remember(file, a="1", b="1")
    before = file.stat()
    heard.forget()
    await store.commit(Txn(then=(Put(b"/elsewhere", b"1"),)))
    async with life(store, file, every_s=0.0) as informer:
        await informer.synced()
        store.progress()
        await informer.until(lambda _: informer.revision == store.revision)
        store.cut_watches("a cable")
        await informer.until(lambda _: informer.stats.lists == 2)
    away(store)
    async with life(store, file, every_s=0.0):
        await heard.line(STARTING)
        store.gate = None
        await heard.line(FRESH)
    assert heard.all() == [STARTING, FRESH]
    after = file.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_that_there_is_nothing_is_known_too(file: File) -> None:
    """An empty range is written and recalled, as is one that has become empty."""
    store = await remember(file)
    assert file.held() == {}
    async with life(store, file):
        await put(store, a="1")
        await eventually(lambda: file.held() == {"a": "1"})
        await store.commit(Txn(then=(Delete(b"/t/a"),)))
        await eventually(lambda: file.held() == {})
    away(store)
    async with life(store, file) as informer:
        await informer.filled()
        assert informer.stale


class Disk:
    """Takes the place of ``os.fsync``: counts, and fails with ``reason`` where that is not 0."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reason = 0
        self.tried = 0
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, handle: int) -> None:
        self.tried += 1
        if self.reason:
            raise OSError(self.reason, os.strerror(self.reason))
        self._fsync(handle)

    async def fails(self, reason: int) -> None:
        """From now on; return when that has happened a few times."""
        self.reason, wanted = reason, self.tried + 3
        await eventually(lambda: self.tried >= wanted)


async def test_a_write_that_fails_is_tried_again(
    file: File, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said once for each reason; the old file stays, nothing is left beside it, all goes on."""
    store = await remember(file, a="1")
    before = file.read()
    disk = Disk(monkeypatch)
    await put(store, a="2")
    disk.reason = errno.ENOSPC
    async with life(store, file):
        for reason in (errno.ENOSPC, errno.EIO, errno.ENOSPC):
            await disk.fails(reason)
        assert file.read() == before
        disk.reason = 0
        await eventually(lambda: file.held() == {"a": "2"})
        lines = heard.lines(NOT_WRITTEN)
        assert {(line["levelname"], line["file"]) for line in lines} == {
            ("WARNING", str(file.path))
        }
        reasons = [os.strerror(errno.ENOSPC), os.strerror(errno.EIO)]
        assert [line["reason"] for line in lines] == reasons
        before = file.read()
        await put(store, a="3")
        await disk.fails(errno.ENOSPC)
        assert [line["reason"] for line in heard.lines(NOT_WRITTEN)] == [*reasons, reasons[0]]
    assert file.read() == before, "the last write, on leaving, has failed too"
    assert file.beside() == []


DIES_IN_A_WRITE = """
import asyncio, os, sys
from pathlib import Path
from kvconfig.memory import MemoryStore
from tests.unit.test_processors_statefile import File, life

async def main():
    async with life(MemoryStore(), File(Path(sys.argv[1]))):
        await asyncio.sleep(30)

os.replace = lambda *_: os._exit(9)
asyncio.run(main())
"""


async def test_a_process_that_dies_in_a_write_leaves_the_old_file(file: File) -> None:
    """The next life starts from it, and removes what the dead one left beside it."""
    store = await remember(file, a="1")
    before = file.read()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DIES_IN_A_WRITE, str(file.path), cwd=Path(__file__).parents[2]
    )
    assert await child.wait() == 9
    assert file.read() == before
    assert len(file.beside()) == 1
    away(store)
    async with life(store, file) as informer:
        await informer.filled()
        assert values(informer) == {"a": "1"}
    assert file.beside() == []


async def test_leaving_waits_for_a_write_and_does_the_last(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two never write at the same time, so the newest is what stays."""
    store = MemoryStore()
    await put(store, a="1")
    fsync, go_on, calls = os.fsync, threading.Event(), 0

    def first_is_slow(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            assert go_on.wait(10)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", first_is_slow)
    stack = AsyncExitStack()
    informer = await stack.enter_async_context(life(store, file))
    await eventually(lambda: calls == 1)
    await put(store, a="2")
    await informer.until(lambda _: values(informer) == {"a": "2"})
    leaving = asyncio.create_task(stack.aclose())
    await asyncio.wait([leaving], timeout=0.05)  # time enough to do it wrong
    assert (calls, leaving.done()) == (1, False)
    go_on.set()
    await leaving
    assert (calls, file.held()) == (2, {"a": "2"})

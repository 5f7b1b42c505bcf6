"""``processors run`` as a process that starts while etcd is away."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from flowsvc.cli.children import Child, child
from kvconfig.devserver import DevServer, EtcdBinary
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from tests.unit.support_processors import Desk

TALKING = "tests.integration.talking_processor:Talking"
WAITING = "etcd does not answer: waiting"
STALE = "etcd does not answer: starting from the last known configuration"


def host(server: DevServer, state_file: Path | None) -> AbstractAsyncContextManager[Child]:
    where = ("--endpoints", server.endpoint, "--instance", "i1", "--log-format", "json")
    kept = ("--state-file", str(state_file)) if state_file else ()
    return child("processors", "processors", "run", TALKING, *where, *kept)


def events(process: Child, *names: str) -> list[tuple[object, object]]:
    return [
        (line["event"], line.get("variant")) for line in process.lines if line["event"] in names
    ]


async def test_without_a_state_file_it_waits_and_says_so(etcd_binary: EtcdBinary) -> None:
    """It starts nothing until etcd is there, then everything, in the same process."""
    async with DevServer(etcd_binary) as server:
        async with connect([server.endpoint]) as store:
            await Desk(store, Keyspace(), "talking").put("a")
        await server.stop()
        async with host(server, None) as process:
            await process.line(event=WAITING)
            assert events(process, "variant started") == []
            await server.start()
            await process.line(event="variant started", variant="a")
            await process.line(event="etcd answers")
    assert process.exit_code == 0


async def test_with_a_state_file_it_goes_on_and_converges(
    etcd_binary: EtcdBinary, tmp_path: Path
) -> None:
    """What ran before runs again, marked as stale; then what is stored counts, and nothing else.

    What did not change meanwhile is not started a second time.
    """
    state_file = tmp_path / "talking.state"
    async with DevServer(etcd_binary) as server:
        async with connect([server.endpoint]) as store:
            desk = Desk(store, Keyspace(), "talking")
            for name in ("same", "changed", "deleted"):
                await desk.put(name)
            async with host(server, state_file) as process:
                for name in ("same", "changed", "deleted"):
                    await process.line(event="variant started", variant=name)
            assert state_file.stat().st_mode & 0o077 == 0
            await desk.put("changed", n=1)
            await desk.put("new")
            await desk.delete("deleted")
        await server.stop()
        async with host(server, state_file) as process:
            told = await process.line(event=STALE)
            assert (told["file"], told["items"]) == (str(state_file), 3)
            for name in ("same", "changed", "deleted"):
                await process.line(event="variant started", variant=name)
            started = len(process.lines)
            await server.start()
            await process.line(event="configuration is fresh again")
            await process.line(event="variant started", variant="new")
            await process.line(event="variant stopped", variant="deleted", reason="deleted")
            await process.line(event="variant stopped", variant="changed", reason="changed")
        later = {
            line.get("variant")
            for line in process.lines[started:]
            if line["event"] == "variant started"
        }
        assert later == {"new", "changed"}
    assert process.exit_code == 0

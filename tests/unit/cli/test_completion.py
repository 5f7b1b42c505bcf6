"""What a shell is offered: commands, options, and the names that live in etcd."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from contextlib import asynccontextmanager

import pytest

from flowsvc.cli import completion, main, settings
from flowsvc.cli.settings import Settings
from flowsvc.errors import NotFound
from kvconfig.config import Config
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.store import list_all
from kvconfig.txn import Put, Txn
from tests.flows import a_service, start


@pytest.fixture
def offered(monkeypatch, capsys):
    """What is offered for a line, as zsh and others are told: the type and the word of each."""

    def offer(line: str) -> list[str]:
        words = f"flowctl {line}".split(" ")
        monkeypatch.setenv("_FLOWCTL_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        with pytest.raises(SystemExit) as ended:
            main([])
        assert ended.value.code == 0
        out, err = capsys.readouterr()
        assert err == ""
        return [line.partition(",")[2] for line in out.split()]

    return offer


def test_commands_and_options_are_offered(offered):
    """From click's own knowledge of them."""
    assert "describe" in offered("flow ")
    assert "--blueprint-name" in offered("flow start --")


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("flow stop ", ["f1"]),
        ("flow describe f", ["f1"]),
        ("flow describe x", []),
        ("flow watch f1 ", ["f1"]),
        ("flow history show ", ["f1"]),
        ("flow history ", ["prune", "show", "f1"]),
        ("flow start -n ", ["b"]),
        ("flow start --blueprint-name ", ["b"]),
        ("blueprint get ", ["b"]),
        ("parameter-type delete ", ["b"]),
        ("processor describe ", ["chunker"]),
    ],
)
def test_names_that_live_in_etcd_are_offered(flows, offered, line, names):
    """Flows, blueprints, parameter types and processors, by what was begun."""
    assert offered(line) == names


def test_names_come_from_where_the_command_would_go(flows, opened, offered):
    """Its options count, and nobody waits for long."""
    assert offered("flow stop --server s:1 --root @r ") == ["f1"]
    assert opened == [Settings(server="s:1", root="@r", timeout_s=1.0)]


def test_configuration_is_offered_by_type_and_key(monkeypatch, offered):
    """First the types, then the keys of the type that was typed."""
    store = MemoryStore()
    config = Config(store, Keyspace())

    @asynccontextmanager
    async def open_config(_: Settings):
        await config.put_many({("prompt", "greeting"): 1, ("tool", "search"): 1})
        yield config

    monkeypatch.setattr(settings, "open_config", open_config)
    assert offered("config get ") == ["prompt", "tool"]
    assert offered("config get prompt gr") == ["greeting"]
    assert offered("config delete tool ") == ["search"]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("flow stop ", ["f1", "f2"]),
        ("blueprint get ", ["small"]),
        ("parameter-type get s", ["size"]),
        ("processor describe ", ["chunker", "idler", "indexer", "query"]),
    ],
)
def test_without_a_server_names_are_read_and_nothing_is_written(monkeypatch, offered, line, names):
    """The names are those in etcd, processors with a variant or an instance; an etcd that is empty
    stays empty."""
    store, empty, ks = MemoryStore(), MemoryStore(), Keyspace()

    async def live() -> None:
        async with a_service(store, ks) as service:
            for flow in ("f2", "f1"):
                await service.start_flow(start(flow))
        await store.commit(Txn(then=(Put(ks.processor("idler", "i1"), b"{}"),)))

    asyncio.run(live())
    monkeypatch.setenv("ETCDCTL_ENDPOINTS", "e:1")
    for known, expected in ((store, names), (empty, [])):
        before = asyncio.run(list_all(known, ks.everything()))

        @asynccontextmanager
        async def open_store(_: Settings, known: MemoryStore = known):
            yield known

        monkeypatch.setattr(settings, "open_store", open_store)
        assert offered(line) == expected
        assert asyncio.run(list_all(known, ks.everything())) == before


def test_a_shell_does_not_wait_for_what_is_silent(monkeypatch, offered, opened):
    """Wherever time goes, a second of it is all, opening and closing included."""

    @asynccontextmanager
    async def open_flows(where: Settings):
        opened.append(where)
        await asyncio.Event().wait()
        yield

    monkeypatch.setattr(settings, "open_flows", open_flows)
    monkeypatch.setattr(completion, "TIMEOUT_S", 0.02)
    assert offered("flow stop ") == []
    assert len(opened) == 1


def test_an_error_offers_nothing(flows, offered):
    """A shell that completes has no place for errors."""
    flows.error = NotFound("flow", "f1")
    assert offered("flow stop ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_understands_its_script(capsys, shell):
    """``flowctl completion`` prints what that shell can read."""
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_FLOWCTL_COMPLETE" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)

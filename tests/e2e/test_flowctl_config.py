"""``flowctl config`` as a process, on a real etcd: through a flow service, and without one."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kvconfig.etcd import connect
from kvconfig.txn import Put, Txn
from tests.e2e.test_flowctl import FlowCtl, Serve, environ
from tests.privileges import Place


@pytest.fixture
def serving(place: Place) -> Iterator[Serve]:
    serve = Serve(place)
    yield serve
    if serve.process.poll() is None:
        serve.process.kill()
        serve.process.communicate()


def test_a_service_and_none_give_the_same(serving: Serve, place: Place):
    """What one writes the other reads; the same answers, and the same errors with their codes."""
    served = FlowCtl(FLOWCTL_SERVER=serving.address)
    alone = FlowCtl(**place.environ("operator"))
    assert served("config", "put", "prompt", "a", '{"text": "hello"}', "-o", "name") == (
        0,
        "prompt/a\n",
        "",
    )
    many = json.dumps({"prompt": {"b": 1}, "tool": {f"k{n:03}": n for n in range(300)}})
    assert alone("config", "put", "--file", "-", "-o", "name", stdin=many)[0] == 0
    schema = json.dumps({"type": ["object", "integer"]})
    assert served("config", "schema", "put", "prompt", "-", stdin=schema)[0] == 0
    for args in (
        ("get", "prompt", "a", "-o", "json"),
        ("get", "prompt", "a", "b", "none", "-o", "value"),
        ("dump", "prompt", "schema", "tool"),
        ("put", "prompt", "a", '"no object"'),
        ("put", "prompt", "a", "1", "--if-revision", "1"),
        ("delete", "prompt", "none"),
    ):
        first, second = served("config", *args), alone("config", *args)
        assert first == second, args
    assert served("config", "delete", "prompt", "a", "b", "-o", "name")[0] == 0
    assert alone("config", "list", "prompt", "-o", "name") == (0, "", "")


def test_a_watch_tells_of_changes_until_interrupted(serving: Serve, place: Place):
    """A line for each change, at once, also of what is written past the service; then Ctrl-C."""
    alone = FlowCtl(**place.environ("operator"))
    assert alone("config", "put", "prompt", "a", "1")[0] == 0
    with subprocess.Popen(
        [sys.executable, "-m", "flowsvc.cli", "config", "watch", "prompt", "-o", "jsonl"],
        env=environ(FLOWCTL_SERVER=serving.address),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watch:
        assert watch.stdout is not None
        assert json.loads(watch.stdout.readline())["value"] == 1
        assert alone("config", "put", "prompt", "b", "2")[0] == 0
        assert json.loads(watch.stdout.readline())["value"] == 2
        assert alone("config", "delete", "prompt", "a")[0] == 0
        assert json.loads(watch.stdout.readline())["deleted"] is True
        watch.send_signal(signal.SIGINT)
        out, err = watch.communicate(timeout=30)
        assert (watch.returncode, out) == (130, "")
        assert "Traceback" not in err
        assert err.startswith("1 item at revision ")


async def test_another_layout_is_refused_in_process(etcd: Place, root):
    """Nobody reads or writes keys whose layout this version does not know."""
    place = await etcd.below(root)
    alone = FlowCtl(**place.environ("operator"))
    async with connect(place.access("service")) as store:
        await store.commit(Txn(then=(Put(place.keyspace.layout(), b'{"version":99}'),)))
        for args in (("put", "t", "k", "2"), ("get", "t", "k"), ("watch", "t")):
            code, out, err = await asyncio.to_thread(alone, "config", *args)
            assert (code, out) == (1, "")
            assert "layout version 99" in err
        assert await store.read(place.keyspace.item("t", "k")) is None

"""What an operation costs, counted at the client and at the server."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import urllib.request
from asyncio.subprocess import PIPE
from collections import Counter
from pathlib import Path

from flowsvc.model import StopFlow
from flowsvc.service import FlowService
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from tests.flows import a_service, start


def _handled(endpoint: str) -> Counter[str]:
    """Calls that etcd has answered, by method, from its own metrics."""
    with urllib.request.urlopen(f"http://{endpoint}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    pattern = r'grpc_server_handled_total\{grpc_code="(\w+)",grpc_method="(\w+)".*\} (\S+)'
    counts: Counter[str] = Counter()
    for _code, method, count in re.findall(pattern, text):
        counts[method] += int(float(count))
    return counts


async def _runs(service: FlowService, flows: int) -> None:
    await service.flows.until(lambda items: len(items) == flows)


async def test_a_start_and_a_stop_are_one_rpc_each(etcd_endpoint: str, root: str) -> None:
    """With warm caches: one Txn and nothing else, by our count and by etcd's."""
    ks = Keyspace(root)
    async with connect([etcd_endpoint]) as store, a_service(store, ks) as service:
        await service.blueprints.until(lambda items: len(items) == 1)
        await service.parameter_types.until(lambda items: len(items) == 2)
        for operation in ("start", "stop"):
            await _runs(service, 0 if operation == "start" else 1)
            ours, theirs = Counter(store.calls), await asyncio.to_thread(_handled, etcd_endpoint)
            if operation == "start":
                done = await service.start_flow(start("f1"))
            else:
                done = await service.stop_flow(StopFlow(flow="f1"))
            assert done.round_trips == 1
            assert store.calls - ours == Counter({"KV/Txn": 1})
            handled = await asyncio.to_thread(_handled, etcd_endpoint) - theirs
            assert handled == Counter({"Txn": 1})


async def test_a_list_is_three_reads_and_loads_little(
    etcd_endpoint: str, root: str, tmp_path: Path
) -> None:
    """``flowctl flow list`` on the etcd of a configuration file loads neither a flow service nor
    other commands: it asks for the layout, for parameter types (is one secret?), and for the flows.
    """
    config = tmp_path / "config.toml"
    config.write_text(f'endpoints = "{etcd_endpoint}"\nroot = "{root}"\n')
    code = (
        "import sys; from flowsvc.cli import main;"
        "assert main(sys.argv[1:]) == 0; print(*sorted(sys.modules), sep='\\n', file=sys.stderr)"
    )
    before = await asyncio.to_thread(_handled, etcd_endpoint)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, "flow", "list"),
        env={**os.environ, "FLOWCTL_CONFIG": str(config)},
        stdout=PIPE,
        stderr=PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, out.split()[:1]) == (0, [b"ID"]), err.decode()
    assert await asyncio.to_thread(_handled, etcd_endpoint) - before == Counter({"Range": 3})
    loaded = set(err.decode().split())
    assert {name for name in loaded if re.match(r"flowsvc\.(?!cli)", name)} == {
        *("flowsvc.errors", "flowsvc.model", "flowsvc.reader", "flowsvc.status")
    }
    assert "flowsvc.cli.flow" in loaded
    assert loaded & {f"flowsvc.cli.{name}" for name in ("apply", "config", "serve", "up")} == set()
    assert loaded & {"jsonschema_rs", "rich", "structlog", "yaml"} == set()

"""What an operation costs, counted at the client and at the server."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections import Counter

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

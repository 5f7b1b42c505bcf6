"""``flowctl`` refuses every bad input with a clear error, whichever command it is given to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flowsvc.cli import main
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from kvconfig.store import list_all
from tests import bad_inputs

FlowCtl = Callable[..., tuple[int, str]]


@pytest.fixture
def flowctl(etcd_endpoint: str, root: str, capfdbinary) -> FlowCtl:
    """In this process, on a root of its own: exit code, and what is said."""

    def run(*args: str) -> tuple[int, str]:
        capfdbinary.readouterr()
        code = main([*args, "--endpoints", etcd_endpoint, "--root", root])
        out, err = capfdbinary.readouterr()
        return code, (out + err).decode()

    return run


def stands(endpoint: str, root: str) -> list[bytes]:
    async def read() -> list[bytes]:
        async with connect([endpoint]) as store:
            page = await list_all(store, Keyspace(root).everything())
            return [kv.key for kv in page.items]

    return asyncio.run(read())


def test_every_command_refuses(
    flowctl: FlowCtl, etcd_endpoint: str, root: str, tmp_path: Path
) -> None:
    """Usage (2) or invalid input (5), the reason in one line of the table, and nothing written."""
    file = tmp_path / "bad.json"

    def refused(bad: bad_inputs.Bad, data: bytes, *args: str) -> str:
        file.write_bytes(data)
        code, said = flowctl(*args)
        assert code in (2, 5), (bad.name, args, said)
        assert "Traceback" not in said
        return said

    for bad in bad_inputs.JSON:
        for args in (
            ("config", "put", "prompt", "a", "--file", str(file)),
            ("config", "schema", "put", "prompt", str(file)),
            ("flow", "start", "-n", "b", "-i", "f1", "--parameters-file", str(file)),
            ("migrate", str(file)),
        ):
            assert bad.says in refused(bad, bad.input, *args), (bad.name, args)
        refused(bad, b'{"prompt": ' + bad.input + b"}", "import", str(file))
    for bad in bad_inputs.SCHEMAS:
        data = json.dumps(bad.input).encode()
        assert bad.says in refused(bad, data, "config", "schema", "put", "prompt", str(file))
    for bad in bad_inputs.NAMES:
        if bad.name == "nul":
            continue  # no command line can hold it
        args = ("config", "put", "--file", str(file), bad.input, "a")
        if bad.input:  # an empty type is none at all
            assert bad.says in refused(bad, b"1", *args), bad.name
    assert stands(etcd_endpoint, root) == []


def test_one_bad_definition_is_refused(flowctl: FlowCtl, tmp_path: Path) -> None:
    """Through the service, with its place."""
    file = tmp_path / "bad.json"
    file.write_bytes(b'{"flow": {"a:{id}": {}, "a:{id}": {}}}')
    code, said = flowctl("blueprint", "put", "b", str(file))
    assert (code, "$.flow.a:{id}: stands twice" in said) == (5, True)

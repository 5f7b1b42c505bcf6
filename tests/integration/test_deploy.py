"""What ``deploy/`` rests on, asked of real processes: etcd's flags, its metrics, ``ready.py``."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys

from flowsvc.server import serve
from kvconfig.devserver import EtcdBinary
from kvconfig.devserver.probe import free_ports
from processors.monitor import monitored
from tests.deployments import ALERTS, DEPLOY, etcd_command
from tests.fake_flows import FakeFlows
from tests.scraping import get


async def ready(target: str) -> tuple[int | None, str]:
    """The exit code of ``ready.py``, and what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        DEPLOY / "ready.py",
        target,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, out.decode()


async def test_a_flow_service_is_ready_while_it_serves():
    """As it says itself by grpc.health.v1; nobody there is not ready either."""
    fresh = True
    async with serve(FakeFlows(), fresh=lambda: fresh, fresh_every_s=0.01) as port:
        assert await ready(f"127.0.0.1:{port}") == (0, "")
        fresh = False
        async with asyncio.timeout(10):
            while (answer := await ready(f"127.0.0.1:{port}"))[0] == 0:
                pass
        assert answer == (1, "NOT_SERVING\n")
    code, said = await ready(f"127.0.0.1:{port}")
    assert code == 1
    assert "refused" in said


async def test_a_host_of_processors_is_ready_when_it_says_so():
    """As its /readyz answers, with the reason where it is not."""
    (nobody,) = free_ports(1)
    async with monitored(0) as monitor:
        assert await ready(f"{monitor.url}/readyz") == (1, "starting\n")
        with monitor.observe([]):
            assert await ready(f"{monitor.url}/readyz") == (0, "")
        assert await ready(f"{monitor.url}/readyz") == (1, "draining\n")
    code, said = await ready(f"http://127.0.0.1:{nobody}/readyz")
    assert code == 1
    assert "refused" in said


def test_etcd_has_the_flags_of_the_compose_file(etcd_binary: EtcdBinary):
    """It reads all of them before it shows its help."""
    program, *flags = etcd_command()
    assert program == "etcd"
    command = [str(etcd_binary.path), *flags, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr[:200]


def test_alerts_on_etcd_rest_on_metrics_that_there_are(etcd_endpoint: str):
    """Every metric of etcd in a rule is one that etcd gives."""
    page = get(f"http://{etcd_endpoint}/metrics").text
    exist = set(re.findall(r"^(etcd_\w+)", page, re.MULTILINE))
    used = set(re.findall(r"\betcd_\w+", ALERTS.read_text("utf-8")))
    assert used
    assert used - exist == set()

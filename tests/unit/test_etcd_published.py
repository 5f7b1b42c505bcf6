"""What members of etcd say, in our words: numbers over HTTP, alarms, permissions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kvconfig.errors import Unavailable
from kvconfig.etcd import Access
from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.etcd.messages import grant_of, member_of
from kvconfig.etcd.published import published
from kvconfig.etcd.server import Alarm

NUMBERS = """\
# HELP etcd_server_is_leader Whether or not this member is a leader. 1 if is, 0 otherwise.
# TYPE etcd_server_is_leader gauge
etcd_server_is_leader 1
etcd_server_has_leader 1
etcd_server_version{server_version="3.5.30"} 1
etcd_server_id{server_id="12ec9c9f8c1f2e8e"} 1
etcd_server_quota_backend_bytes 2.147483648e+09
etcd_mvcc_db_total_size_in_bytes 28672
etcd_mvcc_db_total_size_in_use_in_bytes 24576
etcd_debugging_mvcc_db_compaction_last 1.7e+09
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 3
etcd_disk_wal_fsync_duration_seconds_sum 0.5
etcd_disk_wal_fsync_duration_seconds_count 100
"""


@asynccontextmanager
async def answering(text: str) -> AsyncIterator[str]:
    """The endpoint of somebody who answers every connection with this text."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_the_numbers_of_a_member() -> None:
    """Those that matter are read, wherever they stand among the others."""
    async with answering(f"HTTP/1.0 200 OK\r\n\r\n{NUMBERS}") as endpoint:
        found = await published(Access(endpoints=(endpoint,)), endpoint)
    member = found.member
    assert (member.version, member.member_id) == ("3.5.30", 0x12EC9C9F8C1F2E8E)
    assert (member.leader, member.has_leader, member.learner) == (True, True, False)
    assert (member.quota, member.db_size, member.db_in_use) == (2**31, 28672, 24576)
    assert (found.fsync_s, found.compacted_at_s) == (0.005, 1.7e9)
    assert found.certificate_until_s is None


async def test_odd_lines_among_the_numbers_are_passed_over() -> None:
    """No number, none that is finite, no id, half of a pair: as if the line were not there."""
    odd = [
        f"etcd_mvcc_db_total_size_in_bytes {number}"
        for number in ("one", "NaN", "+Inf", "1e999", "1.2.3", "1_0", "\u0661", "5 1700000000", "")
    ]
    odd += [
        'etcd_server_id{server_id="no hex"} 1',
        'etcd_server_id{server_id=""} 1',
        "etcd_disk_wal_fsync_duration_seconds_sum NaN",
        "etcd_disk_wal_fsync_duration_seconds_count 3",
        "etcd_server_quota_backend_bytes +.5e+1",
    ]
    text = "\n".join(odd)
    async with answering(f"HTTP/1.0 200 OK\r\n\r\n{text}\n") as endpoint:
        found = await published(Access(endpoints=(endpoint,)), endpoint)
    assert (found.member.db_size, found.member.member_id, found.fsync_s) == (0, 0, None)
    assert found.member.quota == 5


@pytest.mark.parametrize("text", ["", "HTTP/1.1 404 Not Found\r\n\r\n", "\x00\x00\x12\x04"])
async def test_who_publishes_nothing_is_unavailable(text: str) -> None:
    """Whatever else comes, or does not."""
    async with answering(text) as endpoint:
        with pytest.raises(Unavailable, match="/metrics") as caught:
            await published(Access(endpoints=(endpoint,)), endpoint)
    assert caught.value.endpoints == (endpoint,)


async def test_nobody_is_there_to_publish() -> None:
    """Which is said, and not raised as an error of the network."""
    with pytest.raises(Unavailable):
        await published(Access(endpoints=("127.0.0.1:1",)), "127.0.0.1:1")


def test_alarms_are_read_from_a_status() -> None:
    """Among other complaints, which are none."""
    status = pb.StatusResponse(
        errors=["memberID:255 alarm:NOSPACE ", "etcdserver: no leader", "memberID:1 alarm:CORRUPT "]
    )
    member = member_of("e:1", status)
    assert member.alarms == (Alarm("NOSPACE", 255), Alarm("CORRUPT", 1))
    assert not member.has_leader


@pytest.mark.parametrize(
    ("end", "inside", "outside"),
    [
        (b"", [b"/a"], [b"/a\0", b"/", b"/b"]),
        (b"/b", [b"/a", b"/a/z", b"/a\xff"], [b"/", b"/b"]),
        (b"\0", [b"/a", b"/b", b"\xfe"], [b"/"]),
    ],
)
def test_a_permission_is_a_range(end: bytes, inside: list[bytes], outside: list[bytes]) -> None:
    """One key, a range, or all from a key on, as etcd writes them."""
    range_ = grant_of(pb.Permission(key=b"/a", range_end=end)).range
    assert all(key in range_ for key in inside)
    assert not any(key in range_ for key in outside)


@pytest.mark.parametrize(
    ("kind", "read", "write"),
    [("READ", True, False), ("WRITE", False, True), ("READWRITE", True, True)],
)
def test_a_permission_is_to_read_or_to_write(kind: str, read: bool, write: bool) -> None:
    """Or both."""
    grant = grant_of(pb.Permission(key=b"/a", permType=kind))
    assert (grant.read, grant.write) == (read, write)

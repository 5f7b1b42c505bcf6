"""What a member publishes over HTTP beside gRPC: its numbers, and with TLS its certificate.

Where users are asked for, newer versions tell their status to root only; the numbers are for
everybody who reaches the port. An operator may have moved them to another port, or closed it.
"""

from __future__ import annotations

import asyncio
import math
import re
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from kvconfig.errors import Unavailable
from kvconfig.etcd.access import Access
from kvconfig.etcd.server import Member, Published

__all__ = ["parse_numbers", "published"]

MOST_BYTES = 16 * 2**20
"""Of an answer; etcd's own is some 100 KB."""

_SAMPLE = re.compile(
    r"(\w+)"
    r"(?:\{server_version=\"(?P<version>[^\"]*)\"\}|\{server_id=\"(?P<id>[0-9a-f]+)\"\})?"
    r" ([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[Ee][+-]?[0-9]+)?)"
)
"""Samples without labels, and the two whose label is what they tell. NaN and Inf tell nothing."""


async def published(access: Access, endpoint: str) -> Published:
    """Ask the endpoint for ``/metrics``. Raises :class:`kvconfig.errors.Unavailable`.

    It has no deadline of its own.
    """
    secure = access.secure(endpoint)
    url = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    try:
        context = _context(access) if secure else None
        reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
        try:
            writer.write(f"GET /metrics HTTP/1.0\r\nHost: {url.hostname}\r\n\r\n".encode())
            answer = await _all_of(reader)
            certificate = writer.get_extra_info("peercert") or {}
        finally:
            writer.transport.abort()
    except OSError as error:
        raise Unavailable(str(error), endpoints=(endpoint,)) from error
    head, _, body = answer.partition(b"\r\n\r\n")
    if not re.match(rb"HTTP/1\.[01] 200 ", head):
        said = head.partition(b"\r\n")[0][:80].decode("utf-8", "backslashreplace")
        raise Unavailable(f"/metrics: {said or 'no HTTP'}", endpoints=(endpoint,))
    until = certificate.get("notAfter")
    return _of_numbers(
        endpoint,
        *parse_numbers(body.decode("utf-8", "replace")),
        certificate_until_s=float(ssl.cert_time_to_seconds(until)) if until else None,
    )


def parse_numbers(text: str) -> tuple[dict[str, float], dict[str, str]]:
    """Numbers by name, and the words in the labels of what has no number of interest.

    Lines of other forms are passed over, and so are numbers that are not finite.
    """
    numbers, words = {}, {}
    for line in text.splitlines():
        found = _SAMPLE.fullmatch(line)
        if found is None:
            continue
        name, version, id_, number = found.groups()
        if (word := id_ if version is None else version) is not None:
            words[name] = word
        elif math.isfinite(value := float(number)):
            numbers[name] = value
    return numbers, words


def _of_numbers(
    endpoint: str,
    numbers: Mapping[str, float],
    words: Mapping[str, str],
    *,
    certificate_until_s: float | None,
) -> Published:
    def number(name: str) -> int:
        return int(numbers.get(name, 0))

    syncs = numbers.get("etcd_disk_wal_fsync_duration_seconds_count")
    synced_s = numbers.get("etcd_disk_wal_fsync_duration_seconds_sum")
    member = Member(
        endpoint=endpoint,
        version=words.get("etcd_server_version", ""),
        member_id=int(words.get("etcd_server_id", "0"), 16),
        leader=bool(number("etcd_server_is_leader")),
        has_leader=bool(number("etcd_server_has_leader")),
        learner=bool(number("etcd_server_is_learner")),
        revision=number("etcd_debugging_mvcc_current_revision"),
        raft_index=number("etcd_server_proposals_committed_total"),
        raft_applied=number("etcd_server_proposals_applied_total"),
        db_size=number("etcd_mvcc_db_total_size_in_bytes"),
        db_in_use=number("etcd_mvcc_db_total_size_in_use_in_bytes"),
        quota=number("etcd_server_quota_backend_bytes"),
    )
    return Published(
        member=member,
        fsync_s=synced_s / syncs if syncs and synced_s is not None else None,
        compacted_at_s=numbers.get("etcd_debugging_mvcc_db_compaction_last", 0.0),
        certificate_until_s=certificate_until_s,
    )


def _context(access: Access) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=access.cacert)
    if access.cert and access.key:
        context.load_cert_chain(access.cert, access.key)
    return context


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    """To its end. Raises OSError where it is longer than :data:`MOST_BYTES`."""
    found = bytearray()
    while chunk := await reader.read(2**16):
        found += chunk
        if len(found) > MOST_BYTES:
            raise OSError(f"an answer of more than {MOST_BYTES} bytes")
    return bytes(found)

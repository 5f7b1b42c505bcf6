"""Ports that are free, and what an etcd says of itself over plain HTTP. Synchronous."""

from __future__ import annotations

import http.client
import json
import random
import socket

from kvconfig.devserver.finder import Version, parse_version

# Ports are chosen by us, below the range from which the kernel takes the local ends of connections.
# etcd can be told port 0, and logs what it got; but then it announces port 0 to clients that ask
# for its members, and while it is down (restarts, kills) any connection on this machine may get its
# port: a client that tries to reach it can even connect to itself there.
PORTS = range(20_000, 32_000)
_CANDIDATES = 500
_TIMEOUT_S = 2.0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now. Somebody may, a moment later."""
    found: list[int] = []
    # SystemRandom: tests seed the common generator, and would then all try the same ports.
    for port in random.SystemRandom().sample(PORTS, _CANDIDATES):
        with socket.socket() as probe:
            # As etcd's listener does; a port with old connections in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} free ports among {_CANDIDATES} of {PORTS}")


def is_healthy(host: str, port: int) -> bool:
    """Whether etcd there has a leader and serves reads. Out of space it still does."""
    answer = _get(host, port, "/health?exclude=NOSPACE")
    return answer is not None and answer.get("health") == "true"


def server_version(host: str, port: int) -> Version | None:
    """The version of the etcd there; ``None`` if it does not say."""
    answer = _get(host, port, "/version")
    return parse_version(str(answer.get("etcdserver"))) if answer else None


def _get(host: str, port: int, path: str) -> dict[str, object] | None:
    """A JSON object, or ``None`` for whatever else comes or does not come."""
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else None

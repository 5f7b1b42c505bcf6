"""``grpc.health.v1``: whether this server is worth asking. Kubernetes and load balancers do.

It serves while its caches are fresh, and no longer once it is about to stop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from kvconfig.owner import Owner

__all__ = ["HEALTH_SERVICE", "Health"]

HEALTH_SERVICE: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

_Status = health_pb2.HealthCheckResponse
_log = logging.getLogger(__name__)


class Health(Owner):
    """The state of the server (``""``) and of its ``services``, asked of ``fresh`` again and again.

    As an owner it has the task that asks. What ``fresh`` raises counts as not fresh.
    """

    name = "of the server"

    def __init__(
        self, fresh: Callable[[], bool], services: Iterable[str], *, every_s: float
    ) -> None:
        self._fresh, self._every_s = fresh, every_s
        self._servicer = _Servicer(services)
        self._serving: bool | None = None

    def add_to(self, server: Any) -> None:
        """Register with a server that is not started yet."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def stop(self) -> None:
        """NOT_SERVING from now on, and no watch of it stays open."""
        await self._servicer.set(_Status.NOT_SERVING, last=True)

    async def __aenter__(self) -> Self:
        await self._ask()
        return await super().__aenter__()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            await self._ask()

    async def _ask(self) -> None:
        try:
            serving = self._fresh()
        except Exception as error:  # noqa: BLE001 - whatever it is: not known to be fresh
            _log.error("health unknown", extra={"error": type(error).__name__})
            serving = False
        if serving is self._serving:
            return
        if self._serving is not None:
            _log.warning("health changed", extra={"serving": serving})
        self._serving = serving
        await self._servicer.set(_Status.SERVING if serving else _Status.NOT_SERVING)


class _Servicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # untyped
    """The two methods. grpc's own servicer has watches that a server which stops would wait for."""

    def __init__(self, services: Iterable[str]) -> None:
        self._known = frozenset(("", *services))
        self._status = _Status.NOT_SERVING
        self._stopping = False
        self._changed = asyncio.Condition()

    async def set(self, status: Any, *, last: bool = False) -> None:
        """From now on; after the ``last`` one there is no other, and watches end."""
        async with self._changed:
            if not self._stopping:
                self._status, self._stopping = status, last
            self._changed.notify_all()

    def _of(self, service: str) -> Any:
        return self._status if service in self._known else _Status.SERVICE_UNKNOWN

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - its name there
        status = self._of(request.service)
        if status == _Status.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service here")
        return _Status(status=status)

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802 - its name there
        told = None
        while told != self._of(request.service) or not self._stopping:
            if told != (status := self._of(request.service)):
                await context.write(_Status(status=status))
                told = status
            async with self._changed:
                await self._changed.wait_for(
                    lambda: self._stopping or self._of(request.service) != told  # noqa: B023
                )

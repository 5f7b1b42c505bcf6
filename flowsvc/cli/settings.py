"""Where to go, and the one function that makes a ``Flows`` of it.

A flag goes before the environment, that before the configuration file, and that before the default.
"""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from flowsvc.client import Credentials
    from flowsvc.model import Actor, Flows, Reader
    from kvconfig.config import Configuration
    from kvconfig.etcd import Access, EtcdStore
    from kvconfig.keyspace import Keyspace

__all__ = [
    "DEFAULT_SERVER",
    "Duration",
    "Settings",
    "access_to",
    "actor",
    "ask",
    "ask_config",
    "connection",
    "connection_options",
    "endpoints_option",
    "look_up",
    "open_config",
    "open_flows",
    "open_reader",
    "open_store",
    "root_option",
    "run",
    "settings_of",
    "split_endpoints",
]

DEFAULT_SERVER = "127.0.0.1:7480"

Function = TypeVar("Function", bound=Callable[..., Any])
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to reach flows: through ``server``, or in process on the etcd at ``endpoints``.

    Where both are set, ``server`` is asked for flows and configuration, and ``endpoints`` are for
    what needs etcd itself. ``root`` is ``""`` or ``@name``; ``timeout_s`` bounds each call.
    """

    server: str | None = None
    endpoints: tuple[str, ...] = ()
    root: str = ""
    timeout_s: float = 10.0


# -- options -------------------------------------------------------------------------------------


_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(click.ParamType[float]):
    """A time such as ``90s``, ``12h`` or ``30d``, more than nothing; in seconds.

    ``bare``: a number without a unit is taken for seconds.
    """

    name = "duration"

    def __init__(self, *, bare: bool = False) -> None:
        self._bare = bare

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """See click."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d|)", str(value))
        if found is None or not (found[2] or self._bare):
            self.fail(f"{value!r} is no time such as 90s, 12h or 30d", param, ctx)
        seconds = float(found[1]) * _UNITS_S[found[2] or "s"]
        if not seconds:
            self.fail("more than nothing, please", param, ctx)
        return seconds


def split_endpoints(text: str | None, parameter: click.Parameter | None = None) -> tuple[str, ...]:
    """``host:port,host:port``, each with ``http://`` or ``https://`` or without."""
    parts = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    for part in parts:
        if not part.rpartition(":")[2].rstrip("/").isdecimal():
            raise click.BadParameter(f"{part!r} is not host:port", param=parameter)
    return parts


def endpoints_option(function: Function) -> Function:
    """``--endpoints``, and etcdctl's own variable."""
    return click.option(
        "--endpoints",
        metavar="HOST:PORT,…",
        envvar="ETCDCTL_ENDPOINTS",
        show_envvar=True,
        callback=lambda _, parameter, text: split_endpoints(text, parameter),
        help="etcd to work on, without a flow service; certificates and user as for etcdctl.",
    )(function)


def root_option(function: Function) -> Function:
    """``--root``: one of several systems in one etcd."""
    return click.option(
        "--root",
        metavar="@NAME",
        default="",
        envvar="FLOWCTL_ROOT",
        show_envvar=True,
        help="Root of all keys, as in @staging. With --server the service has its own.",
    )(function)


def connection(*, timeout: bool = True) -> Callable[[Function], Function]:
    """Adds --server, --endpoints, --root and --timeout; the command gets them as ``settings``.

    Without ``timeout`` there is no --timeout; a command may have one of its own then.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def with_settings(*args: Any, **kwargs: Any) -> Any:
            names = ["server", "endpoints", "root", *(["timeout_s"] if timeout else [])]
            kwargs["settings"] = _settings(
                click.get_current_context(), **{name: kwargs.pop(name) for name in names}
            )
            return function(*args, **kwargs)

        decorated: Any = with_settings
        if timeout:
            decorated = click.option(
                "--timeout",
                "timeout_s",
                metavar="DURATION",
                type=Duration(bare=True),
                default="10s",
                show_default=True,
                help="How long each call may take; on etcd itself, each attempt of up to three.",
            )(decorated)
        server = click.option(
            "--server",
            metavar="HOST:PORT",
            envvar="FLOWCTL_SERVER",
            show_envvar=True,
            help=f"Flow service to ask; over TLS where FLOWCTL_CACERT, FLOWCTL_CERT and "
            f"FLOWCTL_KEY, or FLOWCTL_TOKEN_FILE are set. [default: {DEFAULT_SERVER}]",
        )
        return cast(Function, server(endpoints_option(root_option(decorated))))

    return decorate


connection_options = connection()
"""For the common command."""


def _settings(
    context: click.Context,
    *,
    server: str | None,
    endpoints: tuple[str, ...],
    root: str,
    timeout_s: float = Settings.timeout_s,
) -> Settings:
    """What is nearer wins: --endpoints alone means "in process", FLOWCTL_SERVER or not."""
    if endpoints and _nearness(context, "endpoints") > _nearness(context, "server"):
        server = None
    if not server and not endpoints:
        server = DEFAULT_SERVER
    return Settings(server=server or None, endpoints=endpoints, root=root, timeout_s=timeout_s)


def settings_of(context: click.Context, timeout_s: float) -> Settings:
    """Where the command goes that is being typed; for calls that may take so long."""
    given = {name: context.params.get(name) for name in ("server", "endpoints", "root")}
    return _settings(
        context,
        server=given["server"],
        endpoints=given["endpoints"] or (),
        root=given["root"] or "",
        timeout_s=timeout_s,
    )


def _nearness(context: click.Context, name: str) -> int:
    """Of where an option comes from: a flag, a variable, the configuration file, or nowhere."""
    source = click.core.ParameterSource
    order = (source.DEFAULT_MAP, source.ENVIRONMENT, source.COMMANDLINE)
    found = context.get_parameter_source(name)
    return order.index(found) + 1 if found in order else 0


# -- what they open ------------------------------------------------------------------------------


@asynccontextmanager
async def open_flows(settings: Settings) -> AsyncIterator[Flows]:
    """The flow service: over gRPC where a server is set, otherwise in this process, on etcd."""
    if settings.server:
        from flowsvc.client import Client

        async with Client(
            settings.server, timeout_s=settings.timeout_s, credentials=_credentials()
        ) as client:
            yield client
    else:
        from flowsvc.service import FlowService
        from kvconfig.keyspace import Keyspace

        async with (
            open_store(settings) as store,
            FlowService(store, Keyspace(settings.root)) as service,
        ):
            yield service


@asynccontextmanager
async def open_reader(settings: Settings) -> AsyncIterator[Reader]:
    """The same for those who only look something up.

    In this process they need no flow service, unless there are secrets: it knows what may be shown.
    """
    if settings.server:
        async with open_flows(settings) as flows:
            yield flows
    else:
        from flowsvc.reader import StoreReader

        async with _open_keys(settings) as (store, keyspace):
            reader = StoreReader(store, keyspace)
            if not await reader.keeps_secrets():
                yield reader
                return
        async with open_flows(settings) as flows:
            yield flows


@asynccontextmanager
async def open_config(settings: Settings) -> AsyncIterator[Configuration]:
    """The configuration: over gRPC where a server is set, otherwise in this process, on etcd."""
    if settings.server:
        from flowsvc.config_client import ConfigClient

        async with ConfigClient(
            settings.server, timeout_s=settings.timeout_s, credentials=_credentials()
        ) as client:
            yield client
    else:
        from kvconfig.config import Config

        async with _open_keys(settings) as (store, keyspace):
            yield Config(store, keyspace)


@asynccontextmanager
async def _open_keys(settings: Settings) -> AsyncIterator[tuple[EtcdStore, Keyspace]]:
    """etcd itself, and the keys in it, of a layout that we know."""
    from kvconfig.keyspace import Keyspace
    from kvconfig.layout import check_layout

    keyspace = Keyspace(settings.root)
    async with open_store(settings) as store:
        await check_layout(store, keyspace)
        yield store, keyspace


def _credentials() -> Credentials | None:
    """What a server is shown: FLOWCTL_CACERT, _CERT, _KEY, _TOKEN_FILE. With one of them: TLS."""
    import os

    from flowsvc.client import Credentials

    try:
        return Credentials.from_environ(os.environ)
    except ValueError as error:
        raise click.UsageError(f"FLOWCTL_*: {error}") from error


def open_store(settings: Settings) -> AbstractAsyncContextManager[EtcdStore]:
    """etcd itself, as :func:`access_to` says."""
    from kvconfig.etcd import connect

    return connect(access_to(settings), timeout_s=settings.timeout_s)


def access_to(settings: Settings) -> Access:
    """How to reach etcd; certificates, user and password from the environment, as for etcdctl."""
    import os

    from kvconfig.etcd import Access

    endpoints = {"ETCDCTL_ENDPOINTS": ",".join(settings.endpoints)}
    try:
        return Access.from_environ({**os.environ, **endpoints})
    except ValueError as error:
        raise click.UsageError(f"ETCDCTL_*: {error}") from error


def actor(by: str | None, why: str) -> Actor:
    """Who does it; unless told, the user of this system."""
    from flowsvc.model import Actor

    if by is None:
        import getpass

        try:
            by = getpass.getuser()
        except (KeyError, OSError):  # no such user, as in some containers
            by = ""
    return Actor(by=by, why=why)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run the asynchronous part of a command."""
    import asyncio

    return asyncio.run(main)


def ask(settings: Settings, question: Callable[[Flows], Coroutine[Any, Any, T]]) -> T:
    """Open the flow service, ask it, and give its answer."""

    async def main() -> T:
        async with open_flows(settings) as flows:
            return await question(flows)

    return run(main())


def look_up(settings: Settings, question: Callable[[Reader], Coroutine[Any, Any, T]]) -> T:
    """Ask what a read answers, and give the answer."""

    async def main() -> T:
        async with open_reader(settings) as reader:
            return await question(reader)

    return run(main())


def ask_config(
    settings: Settings, question: Callable[[Configuration], Coroutine[Any, Any, T]]
) -> T:
    """Open the configuration, ask it, and give its answer."""

    async def main() -> T:
        async with open_config(settings) as config:
            return await question(config)

    return run(main())

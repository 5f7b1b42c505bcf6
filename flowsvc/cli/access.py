"""What ``flowctl serve`` is told of who may call, and the door that is made of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from flowsvc.access.guard import Guard
    from flowsvc.api.tls import ServerTls
    from flowsvc.reread import Reread

__all__ = ["Access", "Door", "access_options", "opened"]

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Access:
    """Paths of files; ``None`` for what is not given."""

    cert: str | None = None
    key: str | None = None
    client_ca: str | None = None
    tokens: str | None = None
    policy: str | None = None
    audit_log: str | None = None


@dataclass(frozen=True, kw_only=True)
class Door:
    """What a server takes, and the ``files`` that are read again."""

    tls: ServerTls | None
    guard: Guard
    files: tuple[Reread[Any], ...]


_HELP = {
    "cert": "Certificate chain to show: serve over TLS.",
    "key": "Key of --cert.",
    "client-ca": "Take clients that show a certificate of these authorities, and no others.",
    "tokens": "Take clients that send a token of this file; `flowctl token create` adds one.",
    "policy": "Who may do what (TOML). [default: who is known may do everything]",
    "audit-log": "Write who has called what to the end of this file. [default: changes, on stderr]",
}


def access_options(function: Function) -> Function:
    """Adds --cert, --key, --client-ca, --tokens, --policy and --audit-log, as ``access``."""

    @functools.wraps(function)
    def with_access(**kwargs: Any) -> Any:
        names = Access.__dataclass_fields__
        kwargs["access"] = Access(**{name: kwargs.pop(name) for name in names})
        return function(**kwargs)

    decorated: Any = with_access
    for name, said in reversed(_HELP.items()):
        file = click.Path(dir_okay=False)
        decorated = click.option(f"--{name}", metavar="FILE", type=file, help=said)(decorated)
    result: Function = decorated
    return result


@contextmanager
def opened(access: Access) -> Iterator[Door]:
    """The door. What does not fit together, or cannot be read, is wrong usage."""
    if (access.cert is None) != (access.key is None):
        raise click.UsageError("--cert and --key come together")
    if access.cert is None and (access.client_ca or access.tokens):
        raise click.UsageError("--client-ca and --tokens need TLS: give --cert and --key")

    from pathlib import Path

    from flowsvc.access import audit_log
    from flowsvc.access.guard import Guard
    from flowsvc.access.policy import parse_policy
    from flowsvc.access.tokens import parse_tokens
    from flowsvc.api.tls import ServerTls

    policy = _file("policy", access.policy, parse_policy)
    tokens = _file("tokens", access.tokens, parse_tokens)
    tls = None
    if access.cert is not None and access.key is not None:
        client_ca = Path(access.client_ca) if access.client_ca else None
        with _usage("cert"):
            tls = ServerTls(cert=Path(access.cert), key=Path(access.key), client_ca=client_ca)
    files = (policy, tokens, tls.certificates if tls else None)
    with ExitStack() as stack:
        if access.audit_log is not None:
            with _usage("audit-log"):
                stack.enter_context(audit_log.write_to(Path(access.audit_log)))
        yield Door(
            tls=tls,
            guard=Guard(policy=policy, tokens=tokens),
            files=tuple(file for file in files if file is not None),
        )


def _file(name: str, path: str | None, parse: Callable[[bytes], Any]) -> Reread[Any] | None:
    from pathlib import Path

    from flowsvc.reread import Reread

    if path is None:
        return None
    file = Path(path)
    with _usage(name):
        return Reread(name, [file], lambda: parse(file.read_bytes()))


@contextmanager
def _usage(option: str) -> Iterator[None]:
    from flowsvc.errors import InvalidInput

    try:
        yield
    except OSError as error:
        raise click.UsageError(f"--{option}: {error.strerror}: {error.filename}") from error
    except InvalidInput as error:
        raise click.UsageError(f"--{option}: {error}") from error

"""``flowctl token``: bearer tokens for those who call a flow service."""

from __future__ import annotations

import click

from flowsvc.cli.settings import Duration

__all__ = ["group"]


@click.group("token")
def group() -> None:
    """Tokens that let callers in at a flow service.

    \b
    Example:
      flowctl token create tokens --for alice > alice.token
    """


@group.command("create")
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False))
@click.option("--for", "identity", metavar="IDENTITY", required=True, help="Who it lets in.")
@click.option(
    "--expires",
    "expires_s",
    metavar="DURATION",
    type=Duration(),
    default="90d",
    show_default=True,
    help="After which time it lets nobody in any more.",
)
def create(*, file: str, identity: str, expires_s: float) -> None:
    """Make a token: its hash goes to the end of FILE, itself to stdout, this once.

    FILE is what `flowctl serve --tokens` reads, again whenever it changes. To take a token back,
    remove its line. Whoever has the token gives its file to flowctl as FLOWCTL_TOKEN_FILE.

    \b
    Example:
      flowctl token create tokens --for alice --expires 30d > alice.token
    """
    import os
    import secrets
    from datetime import UTC, datetime, timedelta
    from pathlib import Path

    from flowsvc.access.tokens import line_of, token_of

    token = token_of(secrets.token_bytes(32))
    try:
        until = datetime.now(UTC) + timedelta(seconds=expires_s)
    except OverflowError as error:
        raise click.UsageError("--expires: beyond the year 9999") from error
    line = line_of(token, identity, until.strftime("%Y-%m-%dT%H:%M:%SZ"))
    try:
        path = Path(file)
        path.touch(mode=0o600)
        with path.open("a+b") as out:
            out.seek(0)
            # A last line that an editor has left open is not to be written on.
            newline = "" if out.read()[-1:] in (b"", b"\n") else "\n"
            out.write(f"{newline}{line}\n".encode())
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror}") from error
    click.echo(token)
    click.echo(f"for {identity}, until {until:%Y-%m-%d %H:%M} UTC", err=True)

"""Passwords of users that are about to be added: read from a file, or made and written to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import click

__all__ = ["generate", "read_passwords"]

BYTES = 24
"""Of randomness in a password that is made; 32 characters."""


def read_passwords(file: BinaryIO, users: Sequence[str]) -> dict[str, str]:
    """``user:password``, one a line, for each of ``users``; others in the file are passed over.

    Raises a usage error that names who is missing, never what stands there.
    """
    found = {}
    for number, line in enumerate(file.read().decode("utf-8", "replace").splitlines(), 1):
        user, colon, password = line.partition(":")
        if line.strip() and not (colon and user and password):
            raise click.BadParameter(
                f"line {number} is not user:password", param_hint="--passwords"
            )
        found[user] = password
    if missing := [user for user in users if user not in found]:
        raise click.BadParameter(f"has none for {', '.join(missing)}", param_hint="--passwords")
    return {user: found[user] for user in users}


def generate(path: str, users: Sequence[str]) -> dict[str, str]:
    """A new password for each, in a new file that only its owner may read; as --passwords takes.

    Written before any user is added, so that none is ever lost.
    """
    import os
    import secrets

    made = {user: secrets.token_urlsafe(BYTES) for user in users}
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        reason = f"{path} is there already: give another, or use it with --passwords"
        raise click.BadParameter(reason, param_hint="--generate") from error
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint="--generate") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(f"{user}:{password}\n" for user, password in made.items())
        file.flush()
        os.fsync(file.fileno())
    return made

"""The programs of a reader, each coming to etcd as whom its work takes.

With them on the PATH a document that knows nothing of certificates is followed, word by word, on an
etcd that lets in nobody without one, and where everybody has the least that he needs.
"""

from __future__ import annotations

import asyncio
import signal
import stat
import sys
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import tenacity

from kvconfig.devserver.spawn import spawn_tied
from kvconfig.errors import Unavailable
from kvconfig.etcd import Access
from kvconfig.keyspace import Keyspace
from tests.certificates import Authority
from tests.privileges import HOST, ROOT, admit, environ_of, users_of

__all__ = ["Reads", "admit_all", "guard", "make_data"]

Reads: TypeAlias = Mapping[str, Iterable[str]]
"""All processors there are, each with the types of configuration that it reads."""

WHO = {
    "flowctl": {"serve": "service", "*": "deployer"},
    "etcdctl": {"get": "viewer", "put|del": "deployer", "*": ROOT},
    "processors": {"*": HOST},
}
"""By program and its first word: as whom it comes."""

_PROGRAM = """\
#!/bin/sh
case "$1" in
{cases}
esac
exec {program} "$@"
"""

_ETCD = """\
#!/bin/sh
for word do
    shift
    case "$before" in *-client-urls) word=https${{word#http}} ;; esac
    before=$word
    set -- "$@" "$word"
done
exec {program} "$@"
"""
"""Listens for clients over TLS, where it is told to do without."""


def guard(
    programs: Path,
    authority: Authority,
    environ: Mapping[str, str],
    *,
    etcdctl: Path,
    **etcds: Path,
) -> dict[str, str]:
    """Put the programs of :data:`WHO` into a folder, and ``etcds`` by name; the environment in
    which they listen over TLS, where it says where."""
    for name, users in WHO.items():
        cases = [
            f"{words}) export {_assignments(authority.access(user, 'etcd'))} ;;"
            for words, user in users.items()
        ]
        program = etcdctl if name == "etcdctl" else Path(sys.executable).with_name(name)
        _write(programs / name, _PROGRAM.format(cases="\n".join(cases), program=program))
    for name, program in etcds.items():
        _write(programs / name, _ETCD.format(program=program))
    tls = authority.etcd()
    clients = {name: url for name, url in environ.items() if name.endswith("CLIENT_URLS")}
    return {
        **environ,
        **{name: url.replace("http://", "https://") for name, url in clients.items()},
        "ETCD_TRUSTED_CA_FILE": str(tls.cacert),
        "ETCD_CERT_FILE": str(tls.cert),
        "ETCD_KEY_FILE": str(tls.key),
        "ETCD_CLIENT_CERT_AUTH": "true",
    }


def _assignments(access: Access) -> str:
    """For a shell. Where etcd is, the document says itself."""
    files = {name: value for name, value in environ_of(access).items() if "ENDPOINTS" not in name}
    return " ".join(f"{name}={value}" for name, value in files.items())


def _write(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def make_data(
    etcd: Path, folder: Path, environ: Mapping[str, str], everybody: Coroutine[Any, Any, None]
) -> None:
    """What an ``etcd`` without arguments finds in ``folder``; ``everybody`` is let in by then."""
    command = [str(etcd), f"--data-dir={folder / 'default.etcd'}"]
    log = folder.with_suffix(".log")
    process = spawn_tied(command, env=environ, output=log, signal=signal.SIGKILL)
    try:
        asyncio.run(everybody)
    finally:
        process.terminate()
        process.wait()


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(Unavailable),
    stop=tenacity.stop_after_delay(20),
    wait=tenacity.wait_fixed(0.05),
    reraise=True,
)
async def admit_all(
    authority: Authority, endpoint: str, processors: Reads, roots: Iterable[str] = ("",)
) -> None:
    """Once etcd is there. Below each root the same users, who then have roles in all of them."""
    root = authority.access(ROOT, endpoint)
    for keys in roots:
        await admit(root, Keyspace(keys), users_of(processors), processors)

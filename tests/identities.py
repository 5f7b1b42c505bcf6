"""The programs of a reader, each coming to etcd as whom its work takes.

With them on the PATH a document that knows nothing of certificates is followed, word by word, on an
etcd that lets in nobody without one, and where everybody has the least that he needs.
"""

from __future__ import annotations

import asyncio
import signal
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import tenacity

from kvconfig.devserver.spawn import spawn_tied
from kvconfig.errors import Unavailable
from kvconfig.etcd import Access
from kvconfig.keyspace import Keyspace
from tests.certificates import Authority
from tests.privileges import HOST, ROOT, admit, environ_of, users_of

__all__ = ["etcd_that_asks", "guard"]

WHO = {
    "flowctl": {"serve": "service", "*": "deployer"},
    "etcdctl": {"get": "viewer", "endpoint": ROOT, "*": "deployer"},
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


def guard(programs: Path, authority: Authority, endpoint: str, *, etcdctl: Path) -> None:
    """Put the programs of :data:`WHO` into a folder."""
    for name, users in WHO.items():
        cases = [
            f"{word}) export {_assignments(authority.access(user, endpoint))} ;;"
            for word, user in users.items()
        ]
        program = etcdctl if name == "etcdctl" else Path(sys.executable).with_name(name)
        file = programs / name
        file.write_text(_PROGRAM.format(cases="\n".join(cases), program=program))
        file.chmod(file.stat().st_mode | stat.S_IXUSR)


def _assignments(access: Access) -> str:
    """For a shell. Where etcd is, the document says itself."""
    files = {name: value for name, value in environ_of(access).items() if "ENDPOINTS" not in name}
    return " ".join(f"{name}={value}" for name, value in files.items())


def etcd_that_asks(
    etcd: Path,
    folder: Path,
    environ: Mapping[str, str],
    authority: Authority,
    *,
    processors: Mapping[str, Iterable[str]],
    roots: Iterable[str],
) -> dict[str, str]:
    """Make the data of an ``etcd`` without arguments in ``folder``; the environment it runs in.

    ``environ`` says where it listens; ``processors`` are all that come, each with the types of
    configuration that it reads; ``roots`` are those of all systems in it.
    """
    tls = authority.etcd()
    clients = {
        name: value.replace("http://", "https://")
        for name, value in environ.items()
        if name.endswith("CLIENT_URLS")
    }
    secured = {
        **environ,
        **clients,
        "ETCD_TRUSTED_CA_FILE": str(tls.cacert),
        "ETCD_CERT_FILE": str(tls.cert),
        "ETCD_KEY_FILE": str(tls.key),
        "ETCD_CLIENT_CERT_AUTH": "true",
    }
    command = [str(etcd), f"--data-dir={folder / 'default.etcd'}"]
    log = folder.with_suffix(".log")
    process = spawn_tied(command, env=secured, output=log, signal=signal.SIGKILL)
    try:
        root = authority.access(ROOT, secured["ETCD_ADVERTISE_CLIENT_URLS"])
        asyncio.run(_admit_all(root, processors, roots))
    finally:
        process.terminate()
        process.wait()
    return secured


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(Unavailable),
    stop=tenacity.stop_after_delay(20),
    wait=tenacity.wait_fixed(0.05),
    reraise=True,
)
async def _admit_all(
    root: Access, processors: Mapping[str, Iterable[str]], roots: Iterable[str]
) -> None:
    """Below each root the same users, who then have roles in all of them."""
    for keys in roots:
        await admit(root, Keyspace(keys), users_of(processors), processors)

"""An etcd that asks who comes: everybody shows a certificate, and has what his work takes.

For tests that run on such an etcd as they do on one that lets in anybody. What each role may do is
in :mod:`flowsvc.rbac.policy`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from flowsvc.rbac import AddUser, carry_out, difference, look, policy
from kvconfig.etcd import Access
from kvconfig.etcd.users import administering
from kvconfig.keyspace import Keyspace
from tests.certificates import Authority

__all__ = ["HOST", "ROOT", "Place", "admit", "environ_of", "users_of"]

ROOT = "root"
"""Of etcd: a user, and a role."""

USERS = {
    "service": ("flow-service",),
    "operator": ("operator",),
    "viewer": ("viewer",),
    "deployer": ("flow-service", "operator"),
}
"""Who comes, and as what. The deployer works on etcd itself, where others ask a service."""

HOST = "host"
"""The user of a process that runs all processors."""


def users_of(processors: Iterable[str], root: str = "") -> dict[str, Iterable[str]]:
    """All users of a system, with their roles, named for its root."""
    hosted = [f"processor/{name}" for name in processors]
    users = {**USERS, HOST: hosted} if hosted else USERS
    return {f"{user}{root}": roles for user, roles in users.items()}


async def admit(
    root: Access,
    keyspace: Keyspace,
    users: Mapping[str, Iterable[str]],
    processors: Mapping[str, Iterable[str]],
) -> None:
    """Let ``users`` in below one root, and have etcd ask who comes.

    ``root`` is how etcd's own user comes; ``processors`` are all there are, each with the types of
    configuration that it reads.
    """
    async with administering(root) as etcd:
        for step in difference(policy(keyspace, processors, users), await look(etcd, keyspace)):
            if not step.excess:  # a user may have roles below other roots
                await carry_out(etcd, step, {step.user: None} if isinstance(step, AddUser) else {})
        if not etcd.enabled:
            await etcd.add_user(ROOT, None)
            await etcd.give_role(ROOT, ROOT)
            await etcd.enable()


@dataclass(frozen=True, kw_only=True)
class Place:
    """A root of keys in an etcd, and how each comes there: as himself, where an ``authority`` has
    certificates for him, else as nobody."""

    endpoint: str
    root: str = ""
    authority: Authority | None = None

    @property
    def keyspace(self) -> Keyspace:
        return Keyspace(self.root)

    def access(self, user: str) -> Access:
        """One of :data:`USERS`, :data:`HOST`, or etcd's own :data:`ROOT`, who may do all."""
        if self.authority is None:
            return Access(endpoints=(self.endpoint,))
        common_name = user if user == ROOT else f"{user}{self.root}"
        return self.authority.access(common_name, self.endpoint)

    def environ(self, user: str) -> dict[str, str]:
        """What tells our programs to come here as that user."""
        return {**environ_of(self.access(user)), "FLOWCTL_ROOT": self.root}

    async def below(self, root: str, *processors: str) -> Place:
        """Another root in the same etcd, where they are let in, if it asks who comes."""
        place = replace(self, root=root)
        if self.authority is not None:
            users = users_of(processors, root)
            reads = dict.fromkeys(processors, ())
            await admit(self.access(ROOT), place.keyspace, users, reads)
        return place


def environ_of(access: Access) -> dict[str, str]:
    """What tells a program to come so, in etcdctl's own words."""
    files = {"CACERT": access.cacert, "CERT": access.cert, "KEY": access.key}
    return {
        "ETCDCTL_ENDPOINTS": ",".join(access.endpoints),
        **{f"ETCDCTL_{name}": str(path) for name, path in files.items() if path},
    }

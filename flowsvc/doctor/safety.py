"""Who can listen, and who may do what: TLS, certificates, users and their rights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flowsvc.doctor.check import Check, etcdctl, flowctl, some, span, unlearnt
from flowsvc.doctor.facts import Facts, Unknown
from kvconfig.errors import show_key
from kvconfig.keys import Range
from kvconfig.keyspace import RESERVED_TYPES

__all__ = ["auth", "certificates", "covers", "rights", "tls"]

SOON_S = 14 * 86_400.0
"""Before its end a certificate should be replaced."""

WRITERS = ("the flow service", "kvconfig itself")
"""Whose keys the flow service writes, by the words of the keyspace."""


# -- the way there -------------------------------------------------------------------------------


def tls(facts: Facts) -> Iterator[Check]:
    """Whether others can listen."""
    bare = [each.name for each in facts.endpoints if not each.secure]
    open_ = [each.name for each in facts.endpoints if not (each.secure or each.loopback)]
    if open_:
        secret = ", the password too" if facts.user else ""
        yield Check(
            name="tls",
            verdict="error" if facts.user else "warning",
            found=f"plaintext to {some(open_)}",
            means=f"whoever is on the way can read and change all of it{secret}",
            cure=(
                "start etcd with --cert-file, --key-file, --trusted-ca-file, --client-cert-auth",
                "export ETCDCTL_CACERT=… ETCDCTL_CERT=… ETCDCTL_KEY=… and ask for https://",
            ),
        )
    elif bare:
        means = "nothing of it leaves this machine"
        yield Check(name="tls", verdict="ok", found="plaintext, on loopback only", means=means)
    else:
        with_own = ", with a client certificate" if facts.certificate else ""
        found = f"to {some(each.name for each in facts.endpoints)}{with_own}"
        yield Check(name="tls", verdict="ok", found=found, means="nobody on the way can listen")


def certificates(facts: Facts) -> Iterator[Check]:
    """How long the certificates of the members hold."""
    if not any(each.secure for each in facts.endpoints):
        return
    left = {
        each.member.endpoint: each.certificate_until_s - facts.now_s
        for each in facts.published
        if each.certificate_until_s is not None
    }
    if not left:
        reasons = [e.published.reason for e in facts.endpoints if isinstance(e.published, Unknown)]
        unknown = Unknown(reasons[0] if reasons else "no member shows one")
        yield unlearnt("certificates", unknown, "it is not known when they end")
        return
    first = min(left, key=lambda endpoint: left[endpoint])
    found = f"the first ends in {span(left[first])} ({first})"
    if left[first] < SOON_S:
        yield Check(
            name="certificates",
            verdict="warning",
            found=found,
            means="from then on nobody can connect to this member",
            cure=("put new files in their place: etcd and kvconfig read them again",),
        )
    else:
        means = "new files in their place are read without a restart"
        yield Check(name="certificates", verdict="ok", found=found, means=means)


# -- users ---------------------------------------------------------------------------------------


def auth(facts: Facts) -> Iterator[Check]:
    """Whether etcd asks who comes, and whether it lets us in."""
    if isinstance(facts.auth, Unknown):
        yield unlearnt("auth", facts.auth, "it is not known whether etcd asks who comes")
    elif facts.auth:
        yield _let_in(facts)
    elif facts.user:
        yield Check(
            name="auth",
            verdict="error",
            found=f"off, though user {facts.user!r} is given",
            means="etcd has no users, and refuses those who come as one: no command works so",
            cure=("unset ETCDCTL_USER ETCDCTL_PASSWORD", etcdctl(facts, "auth", "enable")),
        )
    else:
        yield _open(facts)


def _open(facts: Facts) -> Check:
    """How bad it is that etcd asks nobody depends on who can connect."""
    alone = all(each.loopback for each in facts.endpoints)
    mutual = facts.certificate and all(each.secure for each in facts.endpoints)
    cure = (
        "let in only who has a certificate: start etcd with --client-cert-auth",
        "or add users: " + flowctl(facts, "rbac", "apply", "--enable-auth"),
    )
    return Check(
        name="auth",
        verdict="ok" if alone else "note" if mutual else "warning",
        found="off: etcd does not ask who comes",
        means="who can connect may read and write everything",
        cure=() if alone else cure,
    )


def _let_in(facts: Facts) -> Check:
    if facts.refused:
        return Check(
            name="auth",
            verdict="error",
            found=f"on; user {facts.user!r} is not let in: {facts.refused}",
            means="no command works, and no processor that comes so",
            cure=("export ETCDCTL_USER=name ETCDCTL_PASSWORD=…",),
        )
    if not (facts.user or facts.certificate):
        return Check(
            name="auth",
            verdict="error",
            found="on; nobody is given",
            means="etcd answers only users that it knows",
            cure=("export ETCDCTL_USER=name ETCDCTL_PASSWORD=…",),
        )
    who = f"user {facts.user!r}" if facts.user else "the name in the client certificate"
    return Check(name="auth", verdict="ok", found=f"on, as {who}", means="etcd knows who comes")


def rights(facts: Facts) -> Iterator[Check]:
    """Whether the user may read, and write as a flow service does."""
    if facts.auth is False or facts.refused or not (facts.user or facts.certificate):
        return  # the check before has said it
    if isinstance(facts.grants, Unknown):
        yield unlearnt("rights", facts.grants, "it is not known what this user may do")
        return
    needed = {type_: facts.keyspace.type_range(type_) for type_ in RESERVED_TYPES}
    writing = {type_ for type_, owner in RESERVED_TYPES.items() if owner in WRITERS}
    readable = [grant.range for grant in facts.grants if grant.read]
    writable = [grant.range for grant in facts.grants if grant.write]
    unread = [t for t, range_ in needed.items() if not covers(readable, range_)]
    unwritten = [t for t in needed if t in writing and not covers(writable, needed[t])]
    if not (unread or unwritten):
        found = f"user {facts.user!r} may read and write all that the flow service does"
        yield Check(name="rights", verdict="ok", found=found, means="nothing will be refused")
        return
    lacks = [
        f"{what} {some((show_key(needed[t].start) for t in types), most=12)}"
        for what, types in (("read", unread), ("write", unwritten))
        if types
    ]
    means = "commands that need it are refused"
    if not unread:
        means = "right for who only looks or configures; starting and stopping flows is refused"
    everything = _granting(facts, facts.keyspace.everything(), write=True)
    lacking = dict.fromkeys([*unread, *unwritten])
    each = [_granting(facts, needed[type_], write=type_ in writing) for type_ in lacking]
    yield Check(
        name="rights",
        verdict="error" if unread else "warning",
        found=f"user {facts.user!r} may not {'; not '.join(lacks)}",
        means=means,
        cure=(everything,) if len(unread) == len(needed) else tuple(each),
    )


def covers(granted: Iterable[Range], wanted: Range) -> bool:
    """Whether every key of ``wanted`` lies in one of ``granted``."""
    reached = wanted.start
    for range_ in sorted(granted, key=lambda each: each.start):
        if range_.start <= reached < range_.end:
            reached = range_.end
    return reached >= wanted.end


def _granting(facts: Facts, range_: Range, *, write: bool) -> str:
    kind = "readwrite" if write else "read"
    command = ("role", "grant-permission", "ROLE", kind, "--prefix", show_key(range_.start))
    return etcdctl(facts, *command)

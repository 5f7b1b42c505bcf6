"""The members of the cluster: who answers and how fast, who leads, whether they agree."""

from __future__ import annotations

from collections.abc import Iterator

from flowsvc.doctor.check import Check, Verdict, etcdctl, flowctl, number, some, span, unlearnt
from flowsvc.doctor.facts import Endpoint, Facts, Unknown
from kvconfig.etcd.server import Advice, ListedMember, Member, advise, parse_version

__all__ = ["SLOW_S", "cluster", "endpoints", "leader", "quorum", "raft", "versions"]

SLOW_S = 0.1
"""From here on etcd itself logs that a request took too long."""

LAG = 5_000
"""So many entries that are not applied yet, and etcd refuses requests: its own limit."""


# -- endpoints -----------------------------------------------------------------------------------


def endpoints(facts: Facts) -> Iterator[Check]:
    """Each endpoint: whether it answers, what it is, and how long reads take."""
    for endpoint in facts.endpoints:
        yield _endpoint(facts, endpoint)


def _endpoint(facts: Facts, endpoint: Endpoint) -> Check:
    name = f"endpoint {endpoint.name}"
    if isinstance(endpoint.answer_s, Unknown):
        return Check(
            name=name,
            verdict="error",
            found=endpoint.answer_s.reason,
            means="every client that tries it loses time; where no other answers, nothing works",
            cure=_revive(facts, endpoint, endpoint.answer_s.reason),
        )
    verdict, means, cure = _condition(facts, endpoint)
    found = (
        f"{_role(endpoint.member)}; first answer {span(endpoint.answer_s)}, "
        f"read {_took(endpoint.read_s)}, linearizable read {_took(endpoint.linearizable_s)}"
    )
    return Check(name=name, verdict=verdict, found=found, means=means, cure=cure)


def _condition(facts: Facts, endpoint: Endpoint) -> tuple[Verdict, str, tuple[str, ...]]:
    """Of one that answers."""
    member, times = endpoint.member, (endpoint.read_s, endpoint.linearizable_s)
    if isinstance(member, Member) and member.learner:
        promote = etcdctl(facts, "member", "promote", f"{member.member_id:x}")
        return "note", "a learner serves no clients until it is promoted", (promote,)
    if any(isinstance(time_s, Unknown) for time_s in times):
        means = "it runs, but is cut off from a quorum: what is asked of it hangs, then fails"
        cure = "look into its log, and whether it reaches the peer ports of the others"
        return "error", means, (cure,)
    if any(not isinstance(time_s, Unknown) and time_s > SLOW_S for time_s in times):
        means = f"slow: etcd itself complains from {span(SLOW_S)} on, and each change takes longer"
        return "warning", means, ("look for a slow disk, a busy machine, or a long way to it",)
    return "ok", "it answers, and is up to date", ()


def _took(time_s: float | Unknown) -> str:
    return f"not: {time_s.reason}" if isinstance(time_s, Unknown) else span(time_s)


def _role(member: Member | Unknown) -> str:
    if isinstance(member, Unknown):
        return "etcd, which does not say more"
    role = "learner" if member.learner else "leader" if member.leader else "follower"
    return f"etcd {member.version}, {role}"


def _revive(facts: Facts, endpoint: Endpoint, reason: str) -> tuple[str, ...]:
    if any(word in reason.lower() for word in ("ssl", "handshake", "certificate")):
        return (
            "export ETCDCTL_CACERT=… ETCDCTL_CERT=… ETCDCTL_KEY=… that fit this member",
            "if it has no TLS: unset them, and ask for http://",
        )
    cures = ["start it, or mend the way to it"]
    if not endpoint.secure:
        cures.append("if it wants TLS: ask for https://, and export ETCDCTL_CACERT=…")
    if isinstance(facts.members, tuple):
        ids = [each.member_id for each in facts.members if endpoint.name in _hosts(each)]
        cures += [
            "if it is gone for good: " + etcdctl(facts, "member", "remove", f"{id_:x}")
            for id_ in ids
        ]
    return tuple(cures)


def _hosts(member: ListedMember) -> list[str]:
    """Its endpoints as ``host:port``."""
    return [url.rpartition("://")[2].rstrip("/") for url in member.endpoints]


# -- the cluster ---------------------------------------------------------------------------------


def cluster(facts: Facts) -> Iterator[Check]:
    """Whether all endpoints are of one cluster, and whether all of the cluster was asked."""
    clusters = {member.cluster_id for member in facts.known_members if member.cluster_id}
    if len(clusters) > 1:
        yield Check(
            name="members",
            verdict="error",
            found=f"the endpoints are of {len(clusters)} different clusters",
            means="each call goes to one or the other, which hold different keys",
            cure=("give the endpoints of one cluster only",),
        )
        return
    if isinstance(facts.members, Unknown):
        yield unlearnt("members", facts.members, "it is not known who belongs to the cluster")
        return
    found = f"{number(len(facts.members), 'member')}: {some(map(_named, facts.members))}"
    strangers = _not_asked(facts, facts.members)
    unstarted = [each for each in facts.members if not each.name]
    if unstarted:
        yield Check(
            name="members",
            verdict="warning",
            found=f"{found}; {len(unstarted)} never started",
            means="a member that was added and not started counts for the quorum",
            cure=tuple(
                "start it, or: " + etcdctl(facts, "member", "remove", f"{each.member_id:x}")
                for each in unstarted
            ),
        )
    elif strangers:
        known = [each.address for each in facts.endpoints]
        everyone = ",".join([*known, *(each.endpoints[0] for each in strangers if each.endpoints)])
        yield Check(
            name="members",
            verdict="note",
            found=f"{found}; not asked: {some(map(_named, strangers))}",
            means="nothing is said here of members that were not asked",
            cure=(flowctl(facts, "doctor", at=everyone),),
        )
    else:
        yield Check(name="members", verdict="ok", found=found, means="all of them were asked")


def _named(member: ListedMember) -> str:
    name = member.name or f"{member.member_id:x}"
    return f"{name} (learner)" if member.learner else name


def _not_asked(facts: Facts, members: tuple[ListedMember, ...]) -> list[ListedMember]:
    """An endpoint may have another name than its member announces, so ids count too."""
    names = {endpoint.name for endpoint in facts.endpoints}
    ids = {member.member_id for member in facts.known_members}
    return [
        each
        for each in members
        if each.member_id not in ids and names.isdisjoint(_hosts(each)) and each.name
    ]


def quorum(facts: Facts) -> Iterator[Check]:
    """Whether more than half of the voters agree, and how many may still be lost."""
    agreed = [each for each in facts.endpoints if not isinstance(each.linearizable_s, Unknown)]
    if not agreed:
        yield Check(
            name="quorum",
            verdict="error",
            found=f"no linearizable read at any of {number(len(facts.endpoints), 'endpoint')}",
            means="nothing can be written, and nothing that is read is known to be true",
            cure=(
                "start members until more than half of them run",
                "if they are lost for good: restore a snapshot (etcdutl snapshot restore)",
            ),
        )
        return
    if isinstance(facts.members, Unknown):
        yield Check(name="quorum", verdict="ok", found="agreed", means="reads and writes are done")
        return
    voters = {each.member_id for each in facts.members if not each.learner}
    away = _away(facts, facts.members)
    spare = len(voters) - len(away) - (len(voters) // 2 + 1)
    unseen = _unseen(facts, facts.members, away)
    found = f"{len(voters) - len(away) - len(unseen)} of {len(voters)} voters there"
    if away:
        yield Check(
            name="quorum",
            verdict="warning",
            found=f"{found}; away: {some(map(_named, away))}",
            means=f"it works; if {number(spare + 1, 'more voter')} went, nothing would",
            cure=("start what is away, before another one goes",),
        )
    elif unseen:
        yield Check(
            name="quorum",
            verdict="ok",
            found=f"agreed; {found}",
            means=f"how many may be lost is not known: {some(map(_named, unseen))} not seen",
        )
    elif len(voters) % 2 == 0:
        yield Check(
            name="quorum",
            verdict="note",
            found=found,
            means=f"it bears the loss of {spare}, as {len(voters) - 1} voters would",
            cure=("have an odd number of voters",),
        )
    else:
        yield Check(name="quorum", verdict="ok", found=found, means=f"it bears the loss of {spare}")


def _away(facts: Facts, members: tuple[ListedMember, ...]) -> list[ListedMember]:
    """Voters that were asked, and did not answer; all that may be meant where names do not say."""
    silent = {each.name for each in facts.endpoints if isinstance(each.answer_s, Unknown)}
    answering = {each.name for each in facts.endpoints} - silent
    ids = {member.member_id for member in facts.known_members}
    rest = [
        each
        for each in members
        if not each.learner and each.member_id not in ids and answering.isdisjoint(_hosts(each))
    ]
    named = [each for each in rest if not silent.isdisjoint(_hosts(each))]
    return named or (rest if silent else [])


def _unseen(
    facts: Facts, members: tuple[ListedMember, ...], away: list[ListedMember]
) -> list[ListedMember]:
    """Voters that nobody asked, or that never started."""
    ids = {member.member_id for member in facts.known_members}
    answering = {each.name for each in facts.endpoints if not isinstance(each.answer_s, Unknown)}
    return [
        each
        for each in members
        if not each.learner
        and each not in away
        and each.member_id not in ids
        and answering.isdisjoint(_hosts(each))
    ]


def leader(facts: Facts) -> Iterator[Check]:
    """Whether every member knows of a leader, and one leads."""
    known = facts.known_members
    if not known:
        yield unlearnt("leader", Unknown("no member tells its state"), "it is not known who leads")
        return
    without = [member.endpoint for member in known if not member.has_leader]
    leading = [member.endpoint for member in known if member.leader]
    if without:
        yield Check(
            name="leader",
            verdict="error",
            found=f"none known at {some(without)}",
            means="these members take no writes, and answer reads with what they last heard",
            cure=("wait for an election (seconds); then look at the network between members",),
        )
    elif len(leading) > 1:
        yield Check(
            name="leader",
            verdict="warning",
            found=f"{some(leading)} say that they lead",
            means="one of them has just been replaced, or is cut off and does not know it yet",
            cure=("run flowctl doctor again",),
        )
    else:
        found = leading[0] if leading else "a member that was not asked"
        yield Check(name="leader", verdict="ok", found=found, means="all members know of a leader")


def raft(facts: Facts) -> Iterator[Check]:
    """How far members lie behind the others, and behind themselves."""
    known = [member for member in facts.known_members if member.raft_index]
    if not known:
        unknown = Unknown("no member tells its raft index")
        yield unlearnt("raft", unknown, "it is not known whether all members keep up")
        return
    newest = max(member.raft_index for member in known)
    late = [
        f"{member.endpoint} by {newest - min(member.raft_index, member.raft_applied)} entries"
        for member in known
        if newest - min(member.raft_index, member.raft_applied) > LAG
    ]
    if late:
        yield Check(
            name="raft",
            verdict="warning",
            found=f"behind: {some(late)}",
            means="it shows old data to watches and local reads, and refuses requests if it is "
            "its own log that it cannot apply",
            cure=("look for a slow disk or network there; a new member catches up by itself",),
        )
    else:
        most = max(newest - min(each.raft_index, each.raft_applied) for each in known)
        found = f"index {newest}, at most {number(most, 'entry', 'entries')} behind"
        yield Check(name="raft", verdict="ok", found=found, means="all members keep up")


# -- versions ------------------------------------------------------------------------------------


def versions(facts: Facts) -> Iterator[Check]:
    """Which versions run, and what is known of them."""
    found = sorted({member.version for member in facts.known_members if member.version})
    if not found:
        unknown = Unknown("no member tells its version")
        yield unlearnt("version", unknown, "its known faults are not known either")
        return
    if len(found) > 1:
        yield Check(
            name="version",
            verdict="warning",
            found=f"members run {' and '.join(found)}",
            means="right only while they are upgraded one by one: the oldest sets what all can do",
            cure=(f"bring all members to {_newest(found)}",),
        )
    advice = [(text, each) for text in found for each in _advice(text)]
    for text, each in advice:
        matters = each.severity if not (each.rbac and facts.auth is False) else "note"
        yield Check(
            name="version",
            verdict=matters,
            found=f"etcd {text}",
            means=each.what,
            cure=(f"upgrade to {each.upgrade_to}, one member after the other",),
        )
    if len(found) == 1 and not advice:
        means = "no fault of it is known that matters here"
        yield Check(name="version", verdict="ok", found=f"etcd {found[0]}", means=means)


def _advice(text: str) -> list[Advice]:
    version = parse_version(text)
    return advise(version) if version is not None else []


def _newest(found: list[str]) -> str:
    return max(found, key=lambda text: parse_version(text) or (0, 0, 0))

"""Which roles and users there shall be, and how what stands differs from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from flowsvc.doctor.safety import covers
from flowsvc.errors import AlreadyExists, InvalidInput
from flowsvc.model import PauseFlow, ResumeFlow, StartFlow, StopFlow
from flowsvc.rbac import Policy, Standing, described, difference, etcdctl, policy
from flowsvc.rbac.difference import (
    AddRole,
    AddUser,
    DeleteRole,
    GiveRole,
    GrantRange,
    RevokeRange,
    Step,
    TakeRole,
)
from flowsvc.rbac.policy import is_ours
from flowsvc.rbac.processors import processors_in
from flowsvc.service import FlowService
from kvconfig.codec import encode
from kvconfig.errors import PermissionDenied
from kvconfig.etcd.messages import grant_of, permission_of
from kvconfig.etcd.server import Grant
from kvconfig.keys import Range, one, prefix
from kvconfig.keyspace import RESERVED_TYPES, Keyspace, VariantName
from kvconfig.memory import MemoryStore
from kvconfig.model import KeyValue, LeaseId, Revision
from kvconfig.records import FlowRecord, FlowVariants
from kvconfig.txn import Commit, Delete, Put, Txn

KS = Keyspace()
ROOTS = [Keyspace(), Keyspace("@staging")]
# Near each other on purpose: a name and what begins with it, in each way that names allow.
NAMES = st.from_regex(r"\A[a0A](?:[a0._:+-]{0,2}[a0z])?\Z")
WORLDS = st.dictionaries(NAMES, st.sets(NAMES, max_size=2), min_size=1, max_size=4)


def grants_of(made: Policy, label: str) -> tuple[Grant, ...]:
    (role,) = (role for role in made.roles if role.name.endswith(f"/{label}"))
    return role.grants


def may(grants: tuple[Grant, ...], key: bytes, *, write: bool = False) -> bool:
    return any(key in g.range and (g.write if write else g.read) for g in grants)


def users_of(made: Policy) -> dict[str, list[str]]:
    return {
        user.name: [role.removeprefix("kvconfig/") for role in user.roles] for user in made.users
    }


# -- the policy ----------------------------------------------------------------------------------


@settings(max_examples=50)
@given(worlds=WORLDS, other=NAMES, variant=NAMES, keyspace=st.sampled_from(ROOTS))
def test_a_processor_never_reaches_what_is_anothers(worlds, other, variant, keyspace):
    """Whatever it is called, and whatever it declares: not a key of another processor, not a key
    of another root, and nothing is written but its own status."""
    apart = {processor: types for processor, types in worlds.items() if processor != other}
    made = policy(keyspace, apart, {"u": [f"processor/{name}" for name in apart]})
    for processor, types in apart.items():
        grants = grants_of(made, f"processor/{processor}")
        theirs = keyspace.active_flow(VariantName(other, variant))
        status = keyspace.processor(other, variant)
        assert not any(may(grants, key, write=w) for key in (theirs, status) for w in (True, False))
        assert may(grants, keyspace.active_flow(VariantName(processor, variant)))
        assert may(grants, keyspace.processor(processor, variant), write=True)
        assert may(grants, keyspace.item(other, variant)) == (other in types)
        written = [grant.range for grant in grants if grant.write]
        assert written == [keyspace.processor_range(processor)]
        elsewhere = Keyspace("@other")
        assert not may(grants, elsewhere.active_flow(VariantName(processor, variant)))
        assert not may(grants, elsewhere.processor(processor, variant))


@settings(max_examples=50)
@given(worlds=WORLDS, keyspace=st.sampled_from(ROOTS))
def test_every_range_begins_and_ends_where_a_name_does(worlds, keyspace):
    """At a slash, or at what follows all that begins with one; or it is a single key."""
    made = policy(keyspace, worlds, {"u": [f"processor/{name}" for name in worlds]})
    base = keyspace.everything().start
    for role in made.roles:
        ranges = [grant.range for grant in role.grants]
        assert len(ranges) == len(set(ranges)), "etcd keeps one grant for each range"
        for range_ in ranges:
            for bound in (range_.start, range_.end):
                whole = bound[-1:] in b"/0" or bound in (base + b"@", base + b"A")
                assert whole or range_ == one(keyspace.layout()), range_


@pytest.mark.parametrize("keyspace", ROOTS, ids=repr)
def test_who_reads_and_writes_which_type(keyspace):
    """The flow service writes all but status; operators configuration; viewers nothing. All of
    them read all of their own root, and nothing of another."""
    made = policy(keyspace, {})
    elsewhere = [Keyspace(root) for root in ("", "@staging", "@x") if root != keyspace.root]
    written = {
        "flow-service": set(RESERVED_TYPES) - {"processor", "applied"} | {"prompt", "zz"},
        "operator": {"schema", "applied", "prompt", "zz"},
        "viewer": set(),
    }
    for label, types in written.items():
        grants = grants_of(made, label)
        for type_ in {*RESERVED_TYPES, "prompt", "zz"}:
            key = keyspace.item(type_, "k")
            assert may(grants, key)
            assert may(grants, key, write=True) == (type_ in types), (label, type_)
            assert not any(may(grants, other.item(type_, "k")) for other in elsewhere)


def test_each_role_has_a_user_unless_it_is_given_to_somebody():
    """A process that hosts several processors comes as one user; ada is no second operator."""
    processors: dict[str, list[str]] = {"chunker": [], "loader": [], "query": []}
    named = {"pipeline": ["processor/loader", "processor/chunker"], "ada": ["operator", "viewer"]}
    assert users_of(policy(KS, processors, named)) == {
        "ada": ["operator", "viewer"],
        "pipeline": ["processor/chunker", "processor/loader"],
        "flow-service": ["flow-service"],
        "query": ["processor/query"],
    }
    staging = policy(Keyspace("@staging"), {"query": []})
    assert users_of(staging)["query@staging"] == ["@staging/processor/query"]


@pytest.mark.parametrize(
    ("processors", "named", "said"),
    [
        ({"a/b": []}, {}, "processor a/b"),
        ({"a": ["no/type"]}, {}, "no/type"),
        ({"a": ["processor"]}, {}, "reads only what is its own"),
        ({"a": ["active-flow"]}, {}, "reads only what is its own"),
        ({"operator": []}, {}, "that of operator and of processor/operator"),
        ({"a": []}, {"x": ["processor/b"]}, "there is no role processor/b; there are flow-"),
        ({"root": []}, {}, "user root: is etcd's own"),
        ({"a:b": []}, {}, 'holds a ":"'),
        ({}, {"x y": ["viewer"]}, "'x y'"),
    ],
)  # fmt: skip
def test_what_cannot_be_planned(processors, named, said):
    """It is refused, with the place, before anything is asked of etcd."""
    with pytest.raises(InvalidInput) as caught:
        policy(KS, processors, named)
    assert said in str(caught.value)


def test_which_roles_are_ours():
    """Those of this root only, so that two systems in one etcd leave each other alone."""
    staging = Keyspace("@staging")
    assert is_ours(KS, "kvconfig/operator")
    assert is_ours(staging, "kvconfig/@staging/operator")
    for keyspace, role in (
        (KS, "kvconfig/@staging/operator"),
        (KS, "root"),
        (KS, "kvconfig"),
        (staging, "kvconfig/operator"),
        (staging, "kvconfig/@staging2/operator"),
    ):
        assert not is_ours(keyspace, role)


# -- what stands against it ----------------------------------------------------------------------


PLANNED = policy(KS, {"chunker": ["prompt"]})
CHUNKER = "kvconfig/processor/chunker"
PROMPTS = Grant(range=KS.type_range("prompt"), read=True, write=False)


def as_planned() -> Standing:
    return Standing(
        roles={role.name: role.grants for role in PLANNED.roles},
        users={user.name: user.roles for user in PLANNED.users} | {"root": ("root",)},
    )


def standing(**fields: object) -> Standing:
    """As planned, but for these roles and users; ``None`` takes one away."""
    found = as_planned()
    roles, users = dict(found.roles), dict(found.users)
    for name, value in fields.items():
        table = roles if name.startswith("kvconfig/") else users
        if value is None:
            del table[name]
        else:
            table[name] = value  # type: ignore[assignment] # of the kind that belongs there
    return Standing(roles=roles, users=users)


def test_nothing_is_to_be_done_where_all_is_as_planned():
    """And whatever others have made is no affair of ours."""
    found = as_planned()
    others = {"bob": ("their-role",), "eve": ("kvconfig/@staging/operator",)}
    assert difference(PLANNED, found) == ()
    assert difference(PLANNED, structs.replace(found, users={**found.users, **others})) == ()


RIGHTS = PLANNED.roles[-1].grants
WIDER = Grant(range=PROMPTS.range, read=True, write=True)
STRAY = Grant(range=prefix(b"/secret/"), read=True, write=False)


@pytest.mark.parametrize(
    ("found", "steps", "when"),
    [
        (standing(**{CHUNKER: RIGHTS[:-1]}), [GrantRange(role=CHUNKER, grant=PROMPTS)], "always"),
        (
            standing(**{CHUNKER: (*RIGHTS[:-1], WIDER)}),
            [GrantRange(role=CHUNKER, grant=PROMPTS, before=WIDER)],
            "prune",
        ),
        (
            standing(**{CHUNKER: (*RIGHTS, STRAY)}),
            [RevokeRange(role=CHUNKER, grant=STRAY)],
            "prune",
        ),
        (
            standing(**{"kvconfig/processor/gone": RIGHTS, "gone": ("kvconfig/processor/gone",)}),
            [DeleteRole(role="kvconfig/processor/gone")],
            "prune",
        ),
        (
            standing(chunker=None),
            [AddUser(user="chunker"), GiveRole(user="chunker", role=CHUNKER)],
            "always",
        ),
        (standing(chunker=()), [GiveRole(user="chunker", role=CHUNKER)], "always"),
        (
            standing(bob=("theirs", CHUNKER)),
            [TakeRole(user="bob", role=CHUNKER, ours=True)],
            "prune",
        ),
        (
            standing(chunker=(CHUNKER, "root")),
            [TakeRole(user="chunker", role="root", ours=False)],
            "by hand",
        ),
    ],
    ids=lambda value: "" if isinstance(value, Standing | str) else " ".join(map(str, value)),
)  # fmt: skip
def test_each_difference_has_its_step(found: Standing, steps: list[Step], when: str):
    """And who does it: apply adds, --prune takes away what is ours, the rest is for a person."""
    assert list(difference(PLANNED, found)) == steps
    assert {step.when for step in steps} == {when}
    assert {step.excess for step in steps} == {when != "always"}


def done(found: Standing, step: Step) -> Standing:
    """What stands after a step, as etcd would have it."""
    roles = {name: list(grants) for name, grants in found.roles.items()}
    users = {name: list(held) for name, held in found.users.items()}
    match step:
        case AddRole(role=role):
            assert role not in roles
            roles[role] = []
        case GrantRange(role=role, grant=grant):
            roles[role] = [g for g in roles[role] if g.range != grant.range] + [grant]
        case RevokeRange(role=role, grant=grant):
            roles[role].remove(grant)
        case AddUser(user=user):
            assert user not in users
            users[user] = []
        case GiveRole(user=user, role=role):
            assert role in roles
            users[user].append(role)
        case TakeRole(user=user, role=role):
            users[user].remove(role)
        case DeleteRole(role=role):
            del roles[role]
            users = {name: [r for r in held if r != role] for name, held in users.items()}
    return Standing(
        roles={name: tuple(grants) for name, grants in roles.items()},
        users={name: tuple(held) for name, held in users.items()},
    )


@settings(max_examples=50)
@given(before=WORLDS, after=WORLDS)
def test_the_steps_lead_there(before, after):
    """From nothing, and from any other plan: done in order they leave no difference but what is
    left to --prune; with it, none."""

    def planned(worlds) -> Policy:
        return policy(KS, worlds, {"u": [f"processor/{name}" for name in worlds]})

    found = Standing()
    for made in (planned(before), planned(after)):
        for step in difference(made, found):
            if step.when == "always":
                found = done(found, step)
        assert all(step.when == "prune" for step in difference(made, found))
    for step in difference(planned(after), found):
        found = done(found, step)
    assert difference(planned(after), found) == ()


def test_steps_as_commands():
    """Of etcdctl: a prefix, a single key and a range between two."""
    role = "kvconfig/r"
    between = Grant(range=Range(b"/a0", b"/c/"), read=True, write=True)
    layout = Grant(range=one(KS.layout()), read=True, write=False)
    grant, revoke = "role grant-permission kvconfig/r", "role revoke-permission kvconfig/r"
    commands = {
        GrantRange(role=role, grant=PROMPTS): f"{grant} read --prefix /prompt/",
        GrantRange(role=role, grant=between): f"{grant} readwrite /a0 /c/",
        RevokeRange(role=role, grant=layout): f"{revoke} /kvconfig/layout",
        AddUser(user="u"): "user add u --no-password",
        TakeRole(user="u", role=role, ours=True): "user revoke-role u kvconfig/r",
    }  # fmt: skip
    for step, command in commands.items():
        assert " ".join(etcdctl(step, password=False)) == command
    assert etcdctl(AddUser(user="u")) == ("user", "add", "u")


@given(start=st.binary(min_size=1), end=st.binary(min_size=2), write=st.booleans())
def test_a_grant_goes_to_etcd_and_comes_back(start, end, write):
    """Whatever the range, a single key too."""
    for range_ in (Range(start, end), one(start)):
        grant = Grant(range=range_, read=True, write=write)
        assert grant_of(permission_of(grant)) == grant


# -- which processors there are ------------------------------------------------------------------


def kv(key: bytes, value: bytes) -> KeyValue:
    return KeyValue(key, value, Revision(1), Revision(1), 1, LeaseId(0))


def test_processors_are_found_in_blueprints_and_in_flows_as_they_stand():
    """Shared and own; a flow's too that its blueprint has no more. What cannot be read is told."""
    blueprint = b'{"blueprint":{"llm:{blueprint}":{}},"flow":{"chunker:{id}":{"topics":{}}}}'
    record = FlowRecord(
        description="",
        blueprint_name="b",
        interfaces={},
        parameters={},
        variants=FlowVariants(own=("old/f1",), shared=("older/b",)),
        op="op-1",
    )
    found, findings = processors_in(
        KS,
        [kv(KS.flow_blueprint("b"), blueprint), kv(KS.flow_blueprint("bad"), b"{")],
        [kv(KS.flow("f1"), encode(record)), kv(KS.flow("f2"), b"[]")],
    )
    assert found == {"llm", "chunker", "old", "older"}
    assert [finding.path for finding in findings] == ["/flow-blueprint/bad", "/flow/f2"]
    assert {finding.severity for finding in findings} == {"warning"}


def test_what_describe_prints_is_understood():
    """Types by processor; what more it may say is passed over, what is no such list told."""
    text = b'[{"id": "a", "config": ["prompt"], "more": 1}, {"id": "b"}]'
    assert described(text, "x") == {"a": ("prompt",), "b": ()}
    for wrong in (b"", b"{}", b'[{"config": []}]', b'[{"id": "a", "config": "prompt"}]'):
        with pytest.raises(InvalidInput, match="processors describe"):
            described(wrong, "x")


# -- what newer versions of etcd check -----------------------------------------------------------


class Strict(MemoryStore):
    """Lets one role in, and looks at every key of every branch: as etcd does from 3.5.33 on."""

    def __init__(self, grants: Sequence[Grant]) -> None:
        super().__init__()
        self._readable = [grant.range for grant in grants if grant.read]
        self._writable = [grant.range for grant in grants if grant.write]
        self.nested = 0

    async def commit(self, txn: Txn) -> Commit:
        self._check(txn)
        return await super().commit(txn)

    def _check(self, txn: Txn) -> None:
        for each in (*txn.compares, *txn.then, *txn.otherwise):
            if isinstance(each, Txn):
                self.nested += 1
                self._check(each)
            else:
                granted = self._writable if isinstance(each, Put | Delete) else self._readable
                end = getattr(each, "end", b"")
                wanted = Range(each.key, end) if end else one(each.key)
                if not covers(granted, wanted):
                    raise PermissionDenied(each.key)


async def test_a_flow_that_takes_nested_transactions_needs_no_further_right():
    """Nor does the read by which a nested guard ends it all: each key is the flow service's."""
    keyspace = Keyspace("@staging")
    entries: dict[str, Any] = {f"p{n}:{{id}}": {"topics": {}} for n in range(300)}
    store = Strict(grants_of(policy(keyspace, {}), "flow-service"))
    async with FlowService(store, keyspace) as service:
        await service.put_blueprint("b", encode({"flow": entries}))
        await service.start_flow(StartFlow(flow="f1", blueprint_name="b"))
        assert store.nested
        with pytest.raises(AlreadyExists):
            await service.start_flow(StartFlow(flow="f1", blueprint_name="b"))
        await service.change(PauseFlow(flow="f1"))
        await service.change(ResumeFlow(flow="f1"))
        await service.stop_flow(StopFlow(flow="f1"))

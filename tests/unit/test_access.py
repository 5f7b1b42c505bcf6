"""Who may call the API: identities, tokens, policy and needs, and files that are read again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from flowsvc.access.identity import LOCAL, Identity, attributed, identify
from flowsvc.access.needs import NEEDS, check, need_of
from flowsvc.access.policy import Policy, parse_policy
from flowsvc.access.tokens import Tokens, line_of, parse_tokens, token_of
from flowsvc.api import config_methods, methods
from flowsvc.api.v1 import config_pb2, flow_pb2
from flowsvc.errors import Forbidden, InvalidInput, Unauthenticated
from flowsvc.reread import Reread
from kvconfig.keyspace import RESERVED_TYPES

START, STOP, UPDATE, ROLL_OUT = (
    method
    for name in ("StartFlow", "StopFlow", "UpdateFlow", "RollOut")
    for method in methods.CHANGES
    if method.name == name
)
ALICE = Identity("alice@example.org", "certificate")
BEFORE, NOW = "2026-03-01T11:59:59Z", "2026-03-01T12:00:00Z"


def refusal(parse: Any, content: str) -> tuple[str, str]:
    with pytest.raises(InvalidInput) as raised:
        parse(content.encode(errors="surrogateescape"))
    (finding,) = raised.value.findings
    return finding.path, finding.message


# -- policy --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "place", "said"),
    [
        ("allow = [", "$", "not TOML"),
        ("\udcff", "$", "not TOML"),
        ("deny = []", "$", "unknown field `deny`"),
        ("[[allow]]\nrole = 'viewer'", "$.allow[0]", "missing required field `who`"),
        ("[[allow]]\nrole = 'viewer'\nwho = []", "$.allow[0].who", "length >= 1"),
        ("[[allow]]\nrole = 'root'\nwho = ['a']", "$.allow[0].role", "'root'"),
        ("[[allow]]\nrole = 'viewer'\nwho = ['a']\nflow = ['f']", "$.allow[0]", "field `flow`"),
        (
            "[[allow]]\nrole = 'viewer'\nwho = ['a']\nflows = ['f', '[a-z]']",
            "$.allow[0].flows[1]",
            "regex",
        ),
        ("[[allow]]\nrole = 'viewer'\nwho = ['a']\nconfig = []", "$.allow[0].config", "length"),
        ("revoked-certificates = ['ab']", "$.revoked-certificates[0]", "regex"),
    ],
)
def test_what_is_wrong_with_a_policy_has_its_place(content, place, said):
    """Each error names the path and the key; nothing unknown is passed over."""
    found = refusal(parse_policy, content)
    assert found[0] == place or found[0].replace("_", "-").startswith(place)
    assert said in found[1]


def policy(*grants: str) -> Policy:
    return parse_policy("".join(f"[[allow]]\n{grant}\n" for grant in grants).encode())


def allowed(rules: Policy, identity: Identity, method: Any, **request: Any) -> bool:
    try:
        check(rules, identity, method, method.request(**request))
    except Forbidden:
        return False
    return True


def test_an_entry_that_limits_nothing_holds_everywhere():
    """And one that limits something holds for what it names, and for nothing else."""
    everywhere = policy("who = ['*']\nrole = 'operator'")
    limited = policy("who = ['*']\nrole = 'operator'\nflows = ['a-*']")
    stop, put = STOP, config_methods.PUT
    write = config_pb2.PutRequest.Write(type="prompt", key="k")
    assert allowed(everywhere, ALICE, stop, flow="b-1")
    assert allowed(everywhere, ALICE, put, writes=[write])
    assert allowed(limited, ALICE, stop, flow="a-1")
    assert not allowed(limited, ALICE, stop, flow="b-1")
    assert not allowed(limited, ALICE, put, writes=[write])
    assert not allowed(limited, ALICE, START, flow="a-1", blueprint_name="x")


def test_one_entry_covers_all_that_a_request_names_together():
    """Rights on two pairs of flow and blueprint are none on a third."""
    rules = policy(
        "who = ['*']\nrole = 'operator'\nflows = ['a-*']\nblueprints = ['x']",
        "who = ['*']\nrole = 'operator'\nflows = ['b-*']\nblueprints = ['y']",
    )
    for flow, blueprint, may in (("a-1", "x", True), ("b-1", "y", True), ("a-1", "y", False)):
        request: dict[str, Any] = {"flow": flow, "blueprint_name": blueprint}
        assert allowed(rules, ALICE, START, **request) is may
        assert allowed(rules, ALICE, UPDATE, **request) is may
        start = flow_pb2.StartFlowRequest(**request)
        assert allowed(rules, ALICE, methods.PREVIEW, start_flow=start) is may
    writes = [config_pb2.PutRequest.Write(type=type_, key="k") for type_ in ("prompt", "tool")]
    two = policy(
        "who = ['*']\nrole = 'operator'\nconfig = ['prompt']",
        "who = ['*']\nrole = 'operator'\nconfig = ['tool']",
    )
    assert allowed(two, ALICE, config_methods.PUT, writes=writes), "items are not named together"


def test_all_there_are_takes_a_right_to_all():
    """A roll-out, and a history that is pruned of every flow, need the role for every flow."""
    some = policy("who = ['*']\nrole = 'admin'\nflows = ['a*', '*b']\nblueprints = ['*']")
    every = policy("who = ['*']\nrole = 'admin'\nflows = ['*']\nblueprints = ['*']")
    kind = flow_pb2.HISTORY_KIND_FLOW
    for method, request in (
        (ROLL_OUT, {"blueprint_name": "x"}),
        (methods.PRUNE_HISTORY, {"kind": kind}),
    ):
        assert not allowed(some, ALICE, method, **request)
        assert allowed(every, ALICE, method, **request)
    assert allowed(some, ALICE, methods.PRUNE_HISTORY, kind=kind, name="a1")


@pytest.mark.parametrize("type_", sorted(RESERVED_TYPES))
def test_configuration_is_no_way_round_to_flows(type_):
    """Types that hold what flows are made of are read by those who may look at everything."""
    rules = policy("who = ['*']\nrole = 'viewer'\nconfig = ['*']")
    every = policy("who = ['*']\nrole = 'viewer'")
    for method, request in (
        (config_methods.GET, {"names": [config_pb2.Name(type=type_, key="k")]}),
        (config_methods.LIST_KEYS, {"type": type_}),
        (config_methods.GET_VALUES, {"type": type_}),
        (config_methods.GET_EVERYTHING, {"types": [type_]}),
        (config_methods.WATCH_CONFIG, {"type": type_}),
    ):
        assert allowed(rules, ALICE, method, **request) is (type_ == "schema")
        assert allowed(every, ALICE, method, **request)


@pytest.mark.parametrize(
    ("who", "name", "may"),
    [
        ("alice@example.org", "alice@example.org", True),
        ("alice@example.org", "xalice@example.org", False),
        ("alice@example.org", "alice@exampleXorg", False),
        ("*@example.org", "bob@example.org", True),
        ("*@example.org", "bob@example.org.evil", False),
        ("spiffe://prod/*", "spiffe://prod/ci/runner", True),
        ("spiffe://prod/*", "spiffe://test/ci", False),
        ("*", "anybody\n", True),
        ("*", LOCAL.name, False),
        ("@*", LOCAL.name, False),
        (LOCAL.name, LOCAL.name, True),
    ],
)
def test_who_is_matched_in_full(who, name, may):
    """``*`` stands for any characters, all else for itself; who shows nothing is named as it is."""
    identity = LOCAL if name == LOCAL.name else Identity(name, "token")
    rules = policy(f"who = ['{who}']\nrole = 'viewer'")
    assert allowed(rules, identity, methods.GET_FLOW, flow="f") is may


# -- needs ---------------------------------------------------------------------------------------


def test_every_method_has_a_role():
    """A method that nobody has given a role is found here, and cannot be served."""
    every = {method.path for method in (*methods.METHODS, *config_methods.METHODS)}
    assert set(NEEDS) == every
    unknown = methods.Method(name="New", request=flow_pb2.GetFlowRequest, response=flow_pb2.Flow)
    with pytest.raises(KeyError):
        need_of(unknown)


def test_what_changes_something_takes_more_than_to_look():
    """No method that may write is for viewers, and each that only reads is."""
    for method in (*methods.METHODS, *config_methods.METHODS):
        assert (need_of(method).role == "viewer") is not method.changes, method.name


# -- tokens --------------------------------------------------------------------------------------

TOKEN = token_of(bytes(range(32)))


def test_a_token_is_found_by_its_hash_only():
    """The file has nothing of the token itself, and one that differs in a letter is none."""
    line = line_of(TOKEN, "alice", NOW)
    assert TOKEN not in line
    assert TOKEN.removeprefix("kvc_") not in line
    tokens = parse_tokens(f"# of alice\n\n{line}\n".encode())
    found = tokens.find(TOKEN)
    assert found is not None
    assert (found.identity, found.until) == ("alice", NOW)
    for other in (TOKEN[:-1], TOKEN + "x", TOKEN.swapcase(), "", "\udcff", line):
        assert tokens.find(other) is None


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "sha256:00 alice 2026-03-01T12:00:00Z",
        f"md5:{'0' * 64} alice 2026-03-01T12:00:00Z",
        f"sha256:{'0' * 64} alice",
        f"sha256:{'0' * 64} alice never",
        f"sha256:{'0' * 64} alice 2026-03-01T12:00:00",
        f"sha256:{'0' * 64} alice 2026-03-01T12:00:00+01:00",
        f"sha256:{'0' * 64} alice 2026-13-01T12:00:00Z",
        f"sha256:{'0' * 64} @local 2026-03-01T12:00:00Z",
        f"sha256:{'0' * 64} alice 2026-03-01T12:00:00Z more",
    ],
)
def test_a_line_that_is_none_is_named_and_not_shown(line):
    """By its number: what stands there may be a secret."""
    good = line_of(TOKEN, "alice", NOW)
    path, said = refusal(parse_tokens, f"{good}\n{line}\n")
    assert path == "line 2"
    assert line not in said
    assert refusal(parse_tokens, f"{good}\n{good}")[0] == "line 2"


def test_an_identity_that_is_none_gets_no_token():
    """Neither who comes without any, nor what would break the line."""
    for name in ("", "@local", "a b", "a\nb", "x" * 256):
        with pytest.raises(InvalidInput):
            line_of(TOKEN, name, NOW)


# -- identities ----------------------------------------------------------------------------------

TOKENS = parse_tokens(line_of(TOKEN, "alice", NOW).encode())


def who(
    authorization: str | None = None,
    *,
    tokens: Tokens | None = TOKENS,
    at: str = BEFORE,
    **auth: Any,
) -> Identity:
    return identify(
        {"transport_security_type": [b"ssl"], **auth},
        authorization,
        tokens=tokens,
        revoked=frozenset(),
        now=at,
    )


def test_which_name_of_a_certificate_counts():
    """The first URI, else the first email address, else the first DNS name; nothing else."""
    uri, email, dns = [b"spiffe://a/b", b"x://y"], [b"a@b.c", b"d@e.f"], [b"host", b"other"]
    assert who(peer_uri=uri, peer_email=email, peer_dns=dns).name == "spiffe://a/b"
    assert who(peer_email=email, peer_dns=dns).name == "a@b.c"
    assert who(peer_dns=dns) == Identity("host", "certificate")
    assert who(peer_dns=[b"@local", b"host"]).name == "host"
    others: list[dict[str, Any]] = [{}, {"x509_common_name": [b"alice"]}, {"peer_ip": [b"::1"]}]
    for auth in others:
        with pytest.raises(Unauthenticated):
            who(**auth)


def test_a_token_that_is_sent_counts():
    """It goes before a certificate, and a bad one is not made good by one."""
    assert who(f"Bearer {TOKEN}", peer_dns=[b"host"]) == Identity("alice", "token")
    assert who(f"bearer {TOKEN}") == Identity("alice", "token")
    assert who(f"Bearer {TOKEN}", tokens=None, peer_dns=[b"host"]).shown == "certificate"
    said = set()
    for bad in ("", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"):
        with pytest.raises(Unauthenticated) as raised:
            who(bad, peer_dns=[b"host"])
        said.add(str(raised.value))
    with pytest.raises(Unauthenticated) as raised:
        who(f"Bearer {TOKEN}", at=NOW)
    assert said == {str(raised.value)}, "unknown, malformed, expired: all the same"


def test_without_tls_nothing_is_shown():
    """Neither a token nor what looks like a name counts on a plain connection."""
    plain = {"transport_security_type": [b"insecure"], "peer_dns": [b"host"]}
    found = identify(plain, f"Bearer {TOKEN}", tokens=TOKENS, revoked=frozenset(), now=BEFORE)
    assert found == LOCAL


def test_who_did_it():
    """Who it is counts, and who it says to be is kept; on this machine that is all there is."""
    assert attributed(ALICE, "") == "alice@example.org"
    assert attributed(ALICE, "alice@example.org") == "alice@example.org"
    assert attributed(ALICE, "bob") == "alice@example.org (as bob)"
    assert attributed(LOCAL, "bob") == "bob"


# -- files ---------------------------------------------------------------------------------------


def test_a_file_is_read_again_when_it_changes(tmp_path: Path, caplog):
    """What is no good is said once, and what it held before counts until it is good again."""
    caplog.set_level("INFO")
    file = tmp_path / "policy"
    file.write_text("revoked-certificates = []")
    reads = 0

    def read() -> Policy:
        nonlocal reads
        reads += 1
        return parse_policy(file.read_bytes())

    policy = Reread("policy", [file], read)
    first = policy()
    assert (policy(), reads, policy.refused()) == (first, 1, False)

    file.write_text("[[allow]]\nwho = 'everybody'")
    assert policy() is first
    assert policy() is first
    assert (reads, policy.refused()) == (2, True)
    (said,) = [vars(record) for record in caplog.records if record.levelname == "ERROR"]
    assert (said["file"], said["why"].startswith("policy: $.allow[0].who")) == ("policy", True)

    file.unlink()
    assert policy() is first
    assert policy.refused()

    for who in ("alice", "carol"):
        other = tmp_path / "other"
        other.write_text(f"[[allow]]\nwho = ['{who}']\nrole = 'viewer'")
        os.utime(other, (0, 0))
        other.rename(file)  # as a secret is mounted anew: of any age and size
        assert policy().allow[0].who == (who,)
        assert not policy.refused()


def test_a_file_that_is_no_good_at_first_is_told(tmp_path: Path):
    """There is nothing to go on with."""
    file = tmp_path / "policy"
    with pytest.raises(FileNotFoundError):
        Reread("policy", [file], file.read_bytes)
    file.write_text("x")
    with pytest.raises(InvalidInput):
        Reread("policy", [file], lambda: parse_policy(file.read_bytes()))

"""What the doctor says of an etcd, from facts that are made up."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import pytest
from msgspec import structs

from flowsvc.audit import Anomaly
from flowsvc.doctor import Check, Facts, Unknown, examine
from flowsvc.doctor.check import bytes_text, some, span
from flowsvc.doctor.safety import covers
from kvconfig.etcd.server import Alarm, Grant
from kvconfig.keys import Range, prefix
from kvconfig.keyspace import Keyspace
from kvconfig.model import Revision
from kvconfig.records import LAYOUT_VERSION, VariantFailure
from kvconfig.txn import Txn
from tests.unit.support_doctor import (
    DAY_S,
    MIB,
    NO,
    SPACE,
    WELL,
    dead,
    endpoint,
    flow,
    instance,
    listed,
    member,
    published,
    status,
    with_,
    with_first,
)


def named(facts: Facts, name: str) -> list[Check]:
    return [check for check in examine(facts) if check.name == name]


def test_what_is_well_is_called_so() -> None:
    """Every check is ok, says what it found and what that means, and has no cure."""
    checks = examine(WELL)
    assert [check for check in checks if check.verdict != "ok"] == []
    assert all(check.found and check.means and not check.cure for check in checks)
    assert len({check.name for check in checks}) == len(checks)


def test_where_nothing_could_be_learnt_nothing_is_well() -> None:
    """Then everything is an error or skipped, but for what is known without asking."""
    unknown = Facts(now_s=0, keyspace=SPACE, endpoints=(dead(1),))
    checks = examine(unknown)
    assert {check.name for check in checks if check.verdict == "error"} == {
        "endpoint e1:2379",
        "quorum",
    }
    assert [c.name for c in checks if c.verdict not in ("error", "skipped")] == ["tls"]
    assert all(check.found and check.means for check in checks)


SICK: dict[str, tuple[Facts, str, str, str, str]] = {
    # what: facts, name, verdict, words of what is found, words of the cure
    "a member that is dead": (
        with_(endpoints=(endpoint(1), endpoint(2), dead(3))),
        "endpoint e3:2379",
        "error",
        "no answer within 5 s",
        "member remove 3",
    ),
    "a certificate that does not fit": (
        with_(endpoints=(structs.replace(dead(1), answer_s=Unknown("Ssl handshake failed")),)),
        "endpoint e1:2379",
        "error",
        "handshake",
        "ETCDCTL_CACERT",
    ),
    "a member that is cut off": (
        with_(endpoints=(endpoint(1, linearizable_s=NO), endpoint(2), endpoint(3))),
        "endpoint e1:2379",
        "error",
        "linearizable read not: no answer",
        "peer ports",
    ),
    "a slow member": (
        with_(endpoints=(endpoint(1, linearizable_s=0.25), endpoint(2), endpoint(3))),
        "endpoint e1:2379",
        "warning",
        "linearizable read 250 ms",
        "slow disk",
    ),
    "a learner": (
        with_first(learner=True),
        "endpoint e1:2379",
        "note",
        "learner",
        "member promote 1",
    ),
    "two clusters": (with_first(cluster_id=98), "members", "error", "2 different", "one cluster"),
    "a member that nobody asked": (
        with_(endpoints=(endpoint(1), endpoint(2))),
        "members",
        "note",
        "not asked: m3",
        "--endpoints https://e1:2379,https://e2:2379,https://e3:2379",
    ),
    "a member that never started": (
        with_(members=(listed(1), listed(2), listed(3), listed(4, name="", endpoints=()))),
        "members",
        "warning",
        "1 never started",
        "member remove 4",
    ),
    "voters that nobody asked": (
        with_(endpoints=(endpoint(1),)),
        "quorum",
        "ok",
        "agreed; 1 of 3 voters there",
        "",
    ),
    "no quorum": (
        with_(endpoints=(endpoint(1, linearizable_s=NO), dead(2), dead(3))),
        "quorum",
        "error",
        "any of 3 endpoints",
        "snapshot",
    ),
    "one voter away": (
        with_(endpoints=(endpoint(1), endpoint(2), dead(3))),
        "quorum",
        "warning",
        "2 of 3 voters there; away: m3",
        "start",
    ),
    "one voter away, under another name than it announces": (
        with_(endpoints=(endpoint(1), endpoint(2), dead(4))),
        "quorum",
        "warning",
        "2 of 3 voters there; away: m3",
        "start",
    ),
    "an even number of voters": (
        with_(
            endpoints=(endpoint(1), endpoint(2)),
            members=(listed(1), listed(2), listed(3, learner=True)),
        ),
        "quorum",
        "note",
        "2 of 2 voters",
        "odd",
    ),
    "no leader": (with_first(has_leader=False), "leader", "error", "e1:2379", "election"),
    "two leaders": (
        with_(endpoints=(endpoint(1), endpoint(2, member=member(2, leader=True)))),
        "leader",
        "warning",
        "e1:2379, e2:2379",
        "again",
    ),
    "a member that lags": (
        with_first(raft_index=90_000, raft_applied=90_000),
        "raft",
        "warning",
        "e2:2379 by 81000 entries",
        "slow",
    ),
    "a member that does not apply": (
        with_first(raft_applied=1),
        "raft",
        "warning",
        "e1:2379 by 8999 entries",
        "slow",
    ),
    "versions that differ": (
        with_first(version="3.6.15"),
        "version",
        "warning",
        "3.6.14 and 3.6.15",
        "to 3.6.15",
    ),
    "NOSPACE": (
        with_(alarms=(Alarm("NOSPACE", 255),)),
        "alarms",
        "error",
        "NOSPACE of ff",
        "alarm disarm",
    ),
    "CORRUPT": (
        with_(alarms=(Alarm("CORRUPT", 255),)),
        "alarms",
        "error",
        "CORRUPT of ff",
        "member remove ff",
    ),
    "an alarm of the future": (
        with_(alarms=(Alarm("ODD", 1),)),
        "alarms",
        "warning",
        "ODD",
        "",
    ),
    "nearly full": (
        with_first(db_size=1700 * MIB, db_in_use=1700 * MIB),
        "size",
        "warning",
        "83.0% full",
        "compact 5000",
    ),
    "full": (with_first(db_size=2000 * MIB), "size", "error", "97.7% full", "defrag"),
    "a full member whose quota was not raised yet": (
        with_(
            endpoints=(
                endpoint(1, member=member(1, db_size=1990 * MIB)),
                endpoint(2, member=member(2, db_size=2000 * MIB, quota=8192 * MIB)),
                endpoint(3),
            )
        ),
        "size",
        "error",
        "97.2% full",
        "defrag",
    ),
    "as good as full": (
        structs.replace(with_first(db_size=1700 * MIB), alarms=(Alarm("NOSPACE", 1),)),
        "size",
        "error",
        "83.0% full",
        "compact 5000",
    ),
    "no quota told": (
        with_(endpoints=(endpoint(1, member=member(1, quota=0)),)),
        "size",
        "note",
        "quota is not known",
        "--quota-backend-bytes",
    ),
    "a file full of holes": (
        with_first(db_size=500 * MIB, db_in_use=10 * MIB),
        "free space",
        "note",
        "490 MiB of 500 MiB",
        "defrag",
    ),
    "a slow disk": (published(fsync_s=0.04), "disk", "warning", "40 ms", "SSD"),
    "a slow commit": (with_(commit_s=0.3), "commit", "warning", "300 ms", "slow disks"),
    "no commit": (with_(commit_s=NO), "commit", "error", "no answer", "quorum"),
    "never compacted": (
        structs.replace(with_first(revision=20_000), compacted=Revision(1)),
        "compaction",
        "warning",
        "20000 revisions",
        "compact 20000",
    ),
    "new, and not compacted yet": (
        with_(compacted=Revision(1)),
        "compaction",
        "note",
        "5000 revisions",
        "--auto-compaction-mode",
    ),
    "compacted once, by hand": (
        structs.replace(with_first(revision=90_000), now_s=410 * DAY_S),
        "compaction",
        "warning",
        "last compacted 10 days ago",
        "--auto-compaction-mode",
    ),
    "too much kept": (
        with_first(revision=9_000_000),
        "compaction",
        "warning",
        "8996001 revisions kept",
        "compact 9000000",
    ),
    "plaintext over a network": (
        with_(endpoints=(endpoint(1, secure=False),), user=""),
        "tls",
        "warning",
        "plaintext to e1:2379",
        "--cert-file",
    ),
    "a password in plaintext": (
        with_(endpoints=(endpoint(1, secure=False),)),
        "tls",
        "error",
        "plaintext to e1:2379",
        "https://",
    ),
    "a certificate that ends soon": (
        published(certificate_until_s=403 * DAY_S),
        "certificates",
        "warning",
        "ends in 3 days (e1:2379)",
        "new files",
    ),
    "no users, on a network": (
        with_(auth=False, user="", certificate=False),
        "auth",
        "warning",
        "off",
        "rbac apply --enable-auth",
    ),
    "certificates and no users": (
        with_(auth=False, user=""),
        "auth",
        "note",
        "off",
        "--client-cert-auth",
    ),
    "a user for an etcd without": (with_(auth=False), "auth", "error", "off", "ETCDCTL_USER"),
    "nobody, where users are asked for": (
        with_(user="", certificate=False),
        "auth",
        "error",
        "nobody is given",
        "ETCDCTL_USER",
    ),
    "a wrong password": (
        with_(refused="invalid password"),
        "auth",
        "error",
        "'ann' is not let in: invalid password",
        "ETCDCTL_PASSWORD",
    ),
    "a user who may not read": (
        with_(grants=(Grant(range=prefix(b"/flow/"), read=True, write=True),)),
        "rights",
        "error",
        "may not read /active-flow/",
        "grant-permission ROLE readwrite --prefix /active-flow/",
    ),
    "a user who may only read": (
        with_(grants=(Grant(range=prefix(b"/"), read=True, write=False),)),
        "rights",
        "warning",
        "may not write /active-flow/, /flow/",
        "grant-permission ROLE readwrite --prefix /flow/",
    ),
    "a user who may do nothing": (
        with_(grants=()),
        "rights",
        "error",
        "may not read",
        "grant-permission ROLE readwrite --prefix /",
    ),
    "a watch that is silent": (
        with_(endpoints=(endpoint(1, watch_s=NO),)),
        "watches",
        "error",
        "e1:2379: no answer",
        "leader",
    ),
    "no layout": (with_(layout=None), "layout", "note", "no version below /", "flowctl serve"),
    "a newer layout": (with_(layout=LAYOUT_VERSION + 1), "layout", "error", "version", "upgrade"),
    "an older layout": (with_(layout=0), "layout", "error", "version 0", "migrate --from-etcd"),
    "a silent instance": (
        with_(instances=(instance(), instance("i2", status=status(40)))),
        "instances",
        "warning",
        "silent: chunker/i2, up to 50 revisions behind their newest variant, still after 3 s",
        "restart",
    ),
    "failures": (
        with_(
            instances=(instance(status=status(f1=VariantFailure(error="x", attempts=1, since=""))),)
        ),
        "instances",
        "warning",
        "1 variant failed at chunker/i1: chunker/f1",
        "describe",
    ),
    "a status of before a restore": (
        with_(instances=(instance(status=status(101)),)),
        "instances",
        "warning",
        "before a restore: chunker/i1",
        "restart",
    ),
    "a status that is none": (
        with_(instances=(instance(status=None),)),
        "instances",
        "warning",
        "not readable: chunker/i1",
        "version",
    ),
    "an instance without a lease": (
        with_(instances=(instance(leased=False),)),
        "instances",
        "warning",
        "without a lease: chunker/i1",
        "del /processor/chunker/i1",
    ),
    "a flow that waits": (
        with_(flows=(flow("f1", "starting", ("indexer",)),)),
        "flows",
        "warning",
        "1 starting; nobody runs processor indexer",
        "start an instance of indexer",
    ),
    "a flow that failed": (
        with_(flows=(flow("f1"), flow("f2", "failed"))),
        "flows",
        "error",
        "1 failed, 1 running",
        "flow describe f2",
    ),
    "an anomaly": (
        with_(
            anomalies=(
                Anomaly(code="orphan", severity="error", key="/k", message="m", repair=Txn()),
            )
        ),
        "fsck",
        "error",
        "1 error, 0 warnings: orphan",
        "fsck --repair",
    ),
    "a small anomaly": (
        with_(anomalies=(Anomaly(code="odd", severity="warning", key="/k", message="m"),)),
        "fsck",
        "warning",
        "0 errors, 1 warning: odd",
        "flowctl fsck",
    ),
    "much history": (
        with_(history=20_000, keys=30_000),
        "history",
        "note",
        "20000 entries of 30000 keys",
        "history prune",
    ),
}


@pytest.mark.parametrize("case", SICK.values(), ids=SICK.keys())
def test_each_trouble_is_found(case: tuple[Facts, str, str, str, str]) -> None:
    """With its verdict, its numbers, and what to do; and what is well beside it is not blamed."""
    facts, name, verdict, found, cure = case
    (check,) = named(facts, name)
    assert check.verdict == verdict, check
    assert found in check.found, check
    assert check.means
    assert bool(check.cure) == bool(cure)
    assert cure in "\n".join(check.cure), check.cure
    assert len([c for c in examine(facts) if c.verdict not in ("ok", "skipped")]) <= 5


QUESTIONS = (
    "members",
    "alarms",
    "compacted",
    "auth",
    "grants",
    "layout",
    "instances",
    "flows",
    "anomalies",
    "keys",
    "history",
)


@pytest.mark.parametrize("field", QUESTIONS)
def test_what_is_not_known_is_said_and_judged_by_nobody(field: str) -> None:
    """One check is skipped, with the reason; all others stand as they were."""
    checks = examine(with_(**{field: NO}))
    skipped = [check for check in checks if check.verdict == "skipped"]
    assert [check.found for check in skipped] == [NO.reason]
    assert {check.verdict for check in checks if check not in skipped} == {"ok"}


def test_a_fault_of_rbac_matters_where_there_are_users() -> None:
    """A warning with users, a note without them; a fault that loses data is a warning always."""

    def verdicts(version: str, **fields: Any) -> list[str]:
        facts = structs.replace(with_first(version=version), **fields)
        facts = structs.replace(facts, endpoints=facts.endpoints[:1])
        return [check.verdict for check in named(facts, "version")]

    assert verdicts("3.5.32") == ["warning", "warning"]
    assert verdicts("3.5.32", auth=False) == ["note", "note"]
    assert verdicts("3.5.1", auth=False) == ["warning", *["note"] * 4]


def test_commands_go_where_we_went() -> None:
    """To the same endpoints, with TLS where there is some, and below the same root."""
    elsewhere = structs.replace(
        with_(layout=0, alarms=(Alarm("NOSPACE", 1),)), keyspace=Keyspace("@staging")
    )
    everywhere = "https://e1:2379,https://e2:2379,https://e3:2379"
    (layout,), (alarms,) = named(elsewhere, "layout"), named(elsewhere, "alarms")
    assert layout.cure == (f"flowctl migrate --from-etcd --endpoints {everywhere} --root @staging",)
    assert f"etcdctl --endpoints={everywhere} alarm disarm" in alarms.cure
    defrags = [line for line in alarms.cure if line.endswith("defrag")]
    assert defrags == [f"etcdctl --endpoints=https://e{n}:2379 defrag" for n in (1, 2, 3)]


def test_members_are_counted_once() -> None:
    """However many of the endpoints lead to one."""
    twice = with_(endpoints=(endpoint(1), structs.replace(endpoint(1), name="other:2379")))
    assert len(twice.known_members) == 1


def test_covering_is_what_it_says() -> None:
    """No key lies outside where ranges cover another, and one does where they do not: for all
    ranges, up to two that are granted, between keys that are next to each other or further."""
    keys = [b"a", b"a\0", b"b", b"b\0", b"c", b"d"]
    ranges = [Range(start, end) for start, end in combinations(keys, 2)]
    for granted in ((), *product(ranges), *product(ranges, ranges)):
        for wanted in ranges:
            asked = [key for key in keys if key in wanted]
            outside = [key for key in asked if not any(key in each for each in granted)]
            assert covers(granted, wanted) == (not outside), (granted, wanted)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.00042, "0.42 ms"), (0.0099, "9.9 ms"), (0.0996, "100 ms"), (3.14, "3.14 s"),
     (119.0, "119 s"), (300.0, "5 min"), (18_000.0, "5 h"), (10 * DAY_S, "10 days")],
)  # fmt: skip
def test_times_are_short(seconds: float, text: str) -> None:
    """As a person would write them."""
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (36 * 1024, "36 KiB"), (1023 * 1024, "0.999 MiB"),
     (2 * 2**30, "2 GiB"), (1500 * 2**30, "1.46 TiB")],
)  # fmt: skip
def test_sizes_are_short(count: int, text: str) -> None:
    """As a person would write them."""
    assert bytes_text(count) == text


def test_lists_of_names_end() -> None:
    """After some of them it only counts."""
    assert some(["a", "b"]) == "a, b"
    assert some("abcdefg", most=3) == "a, b, c and 4 more"

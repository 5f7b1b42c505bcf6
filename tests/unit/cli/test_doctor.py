"""``flowctl doctor``: what it prints, where it goes, and its exit code."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowsvc.cli import main
from flowsvc.doctor import Facts, examine
from kvconfig.etcd import Access
from kvconfig.etcd.server import Alarm
from kvconfig.keyspace import Keyspace
from tests.unit.support_doctor import NO, WELL, with_

ETCD = ("--endpoints", "https://e1:2379,e2:2379")
WARNED = with_(layout=None, commit_s=0.3)


@pytest.fixture
def asked() -> dict[str, Any]:
    """What the probe was called with."""
    return {}


@pytest.fixture
def found(monkeypatch, asked):
    """Lets the probe find these facts."""

    def find(facts: Facts) -> None:
        async def probe(access: Access, keyspace: Keyspace, **options: Any) -> Facts:
            asked.update(access=access, root=keyspace.root, **options)
            return facts

        monkeypatch.setattr("flowsvc.probe.probe", probe)

    return find


def test_what_is_well_takes_a_line_each(found, capsys):
    """Verdict, name and what was found; the summary goes to stderr, and the exit code is 0."""
    found(WELL)
    assert main(["doctor", *ETCD]) == 0
    said = capsys.readouterr()
    head, *lines = said.out.splitlines()
    assert head.split() == ["VERDICT", "CHECK", "FOUND"]
    assert [line.split()[0] for line in lines] == ["ok"] * len(examine(WELL))
    assert said.err == f"{len(lines)} checks: 0 errors, 0 warnings, 0 notes\n"


def test_what_is_not_well_has_its_meaning_and_its_cure(found, capsys):
    """Below it, each command whole on a line of its own. Warnings alone are no failure."""
    found(WARNED)
    assert main(["doctor", *ETCD]) == 0
    said = capsys.readouterr()
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    at = lines.index("note layout no version below /")
    assert lines[at + 1 : at + 4] == [
        "no flow service has worked here yet, or it has another root",
        "> flowctl serve --endpoints https://e1:2379,https://e2:2379,https://e3:2379",
        "> or name the root: --root @NAME",
    ]
    assert said.err.endswith("0 errors, 1 warnings, 1 notes\n")


def test_an_error_makes_it_fail(found, capsys):
    """Exit code 1, whatever the output; JSON has every field of every check."""
    found(with_(alarms=(Alarm("NOSPACE", 255),)))
    assert main(["doctor", *ETCD]) == 1
    capsys.readouterr()
    assert main(["doctor", *ETCD, "-o", "json"]) == 1
    checks = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in checks] == [check.name for check in examine(WELL)]
    (alarms,) = (check for check in checks if check["name"] == "alarms")
    assert alarms["verdict"] == "error"
    assert alarms["found"] == "NOSPACE of ff"
    assert "deletes" in alarms["means"]
    assert all(isinstance(line, str) for line in alarms["cure"])


def test_what_could_not_be_looked_at_is_counted(found, capsys):
    """In the summary; it is no failure by itself."""
    found(with_(flows=NO))
    assert main(["doctor", *ETCD, "-o", "name"]) == 0
    said = capsys.readouterr()
    assert "flows" in said.out.splitlines()
    assert said.err.endswith("; 1 could not be looked at\n")


def test_it_goes_where_etcdctl_would(found, asked, monkeypatch):
    """Endpoints and root by options, user and certificates by etcdctl's variables; it writes only
    where it is told to."""
    found(WELL)
    monkeypatch.setenv("ETCDCTL_USER", "ann:secret")
    assert main(["doctor", *ETCD, "--root", "@staging", "--timeout", "2s"]) == 0
    access = asked["access"]
    assert access.endpoints == ("https://e1:2379", "e2:2379")
    assert (access.user, access.password) == ("ann", "secret")
    assert (asked["root"], asked["timeout_s"], asked["write"]) == ("@staging", 2.0, False)
    assert main(["doctor", *ETCD, "--write"]) == 0
    assert asked["write"] is True


def test_it_needs_to_know_which_etcd(capsys):
    """A usage error says how to name it."""
    assert main(["doctor"]) == 2
    assert "give --endpoints HOST:PORT, or set ETCDCTL_ENDPOINTS" in capsys.readouterr().err


def test_it_ends_where_nobody_is(capsys):
    """With the reason as a finding, and no traceback: this one really asks."""
    assert main(["doctor", "--endpoints", "127.0.0.1:1"]) == 1
    said = capsys.readouterr()
    assert "Connection refused" in said.out
    assert "Traceback" not in said.out + said.err

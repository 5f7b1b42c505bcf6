"""``flowctl token``, and what ``flowctl serve`` is told of who may call."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from flowsvc.access.tokens import parse_tokens
from flowsvc.cli import main
from flowsvc.cli.access import Access, opened
from flowsvc.client import Credentials
from flowsvc.errors import InvalidInput
from tests.certificates import Authority


def test_a_token_is_printed_once_and_kept_as_a_hash(tmp_path: Path, capsys):
    """stdout has it, the file its hash; a second one goes on a line of its own, and the file is
    for its owner only."""
    file = tmp_path / "tokens"
    made = []
    for who in ("alice", "bob"):
        assert main(["token", "create", str(file), "--for", who, "--expires", "1h"]) == 0
        out, err = capsys.readouterr()
        made.append(out.strip())
        assert f"for {who}, until 2" in err
        file.write_bytes(file.read_bytes().removesuffix(b"\n"))  # as an editor may leave it
    assert file.stat().st_mode & 0o777 == 0o600
    tokens = parse_tokens(file.read_bytes())
    for token, who in zip(made, ("alice", "bob"), strict=True):
        assert token not in file.read_text()
        found = tokens.find(token)
        assert found is not None
        assert found.identity == who
        in_an_hour = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3700))
        assert found.until < in_an_hour


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["tokens"], 2),
        (["tokens", "--for", "a b"], 5),
        (["tokens", "--for", "@local"], 5),
        (["tokens", "--for", "a", "--expires", "0s"], 2),
        (["tokens", "--for", "a", "--expires", "999999999d"], 2),
        (["no/such/folder/tokens", "--for", "a"], 2),
    ],
)
def test_what_is_no_token_makes_no_line(args, code, tmp_path: Path, monkeypatch, capsys):
    """Wrong usage and names that are none leave the file as it was."""
    monkeypatch.chdir(tmp_path)
    assert main(["token", "create", *args]) == code
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "tokens").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cert": "server.pem"}, "--cert and --key come together"),
        ({"tokens": "tokens"}, "need TLS"),
        ({"client_ca": "ca.pem"}, "need TLS"),
        ({"policy": "absent"}, "--policy: No such file or directory: absent"),
        ({"policy": "policy"}, r"--policy: policy: \$\.allow\[0\]\.role"),
        ({"cert": "server.pem", "key": "server.key", "tokens": "policy"}, "--tokens: .*line 1"),
        ({"cert": "server.pem", "key": "other.key"}, "--cert: .*do not fit together"),
        ({"cert": "policy", "key": "server.key"}, "--cert: .*do not fit together"),
        ({"cert": "absent", "key": "server.key"}, "--cert: No such file"),
        ({"audit_log": "absent/audit"}, "--audit-log: No such file"),
    ],
)
def test_what_does_not_fit_is_wrong_usage(given, said, tmp_path: Path, monkeypatch):
    """Said at the start, with the option that it is about."""
    import click

    monkeypatch.chdir(tmp_path)
    authority = Authority(tmp_path)
    authority.issue("server", "127.0.0.1")
    authority.issue("other", "127.0.0.1")
    Path("policy").write_text("allow = [{ who = ['a'], role = 'root' }]")
    with pytest.raises(click.UsageError, match=said), opened(Access(**given)):
        pass


def test_credentials_come_from_the_environment(tmp_path: Path):
    """One of the variables means TLS; a certificate and its key come together."""
    assert Credentials.from_environ({"FLOWCTL_CERT": ""}) is None
    found = Credentials.from_environ({"FLOWCTL_CACERT": "ca.pem", "FLOWCTL_TOKEN_FILE": "t"})
    assert found == Credentials(cacert=Path("ca.pem"), token_file=Path("t"))
    with pytest.raises(ValueError, match="come together"):
        Credentials.from_environ({"FLOWCTL_CERT": "cert.pem"})
    for field in ("cacert", "token_file"):
        known = Credentials(**{field: tmp_path / "absent"})
        with pytest.raises(InvalidInput, match=rf"\$\.{field}: No such file"):
            _ = (known.pems(), known.token())


def test_flowctl_says_what_is_wrong_with_its_credentials(monkeypatch, capsys, tmp_path: Path):
    """Before anybody is asked."""
    monkeypatch.setenv("FLOWCTL_KEY", "key.pem")
    assert main(["flow", "list"]) == 2
    monkeypatch.delenv("FLOWCTL_KEY")
    monkeypatch.setenv("FLOWCTL_TOKEN_FILE", os.fspath(tmp_path / "absent"))
    assert main(["flow", "list"]) == 5
    assert "$.token_file: No such file" in capsys.readouterr().err

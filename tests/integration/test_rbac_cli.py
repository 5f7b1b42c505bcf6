"""``flowctl rbac`` on a real etcd: planned, applied, checked, and nothing done twice."""

from __future__ import annotations

import asyncio
import json
import shlex
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowsvc.cli import main
from flowsvc.rbac import Standing, look
from kvconfig.devserver import DevServer, EtcdBinary
from kvconfig.errors import Unavailable
from kvconfig.etcd import Access, connect
from kvconfig.etcd.users import Users, administering
from kvconfig.keyspace import Keyspace
from kvconfig.txn import Put, Txn
from processors.cli import main as processors_cli
from tests.robustness.admin import ROOT
from tests.unit.cli.commands import commands

Etcdctl = Callable[..., Awaitable[str]]
READS = ("--reads", "chunker=prompt")
BLUEPRINT = b'{"flow":{"chunker:{id}":{}}}'


@pytest.fixture
async def space(etcd_endpoint: str, root: str, monkeypatch: pytest.MonkeyPatch) -> Keyspace:
    """A root of its own with a blueprint, in an etcd that asks nobody; commands go there."""
    monkeypatch.setenv("FLOWCTL_ROOT", root)
    await a_blueprint(etcd_endpoint, Keyspace(root), monkeypatch)
    return Keyspace(root)


@pytest.fixture
async def endpoint(etcd_binary: EtcdBinary, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """An etcd of its own, with a blueprint and no users; commands go there."""
    async with DevServer(etcd_binary, extra_args=["--bcrypt-cost=4"]) as server:
        await a_blueprint(server.endpoint, Keyspace(), monkeypatch)
        yield server.endpoint


async def a_blueprint(endpoint: str, space: Keyspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCDCTL_ENDPOINTS", endpoint)
    async with connect([endpoint]) as store:
        await store.commit(Txn(then=(Put(space.flow_blueprint("b"), BLUEPRINT),)))


async def rbac(*args: str) -> int:
    """Its exit code."""
    return await asyncio.to_thread(main, ["rbac", *args])


async def stands(endpoint: str, space: Keyspace) -> Standing:
    """The roles of a system, and its users."""
    async with administering(Access(endpoints=(endpoint,))) as users:
        found = await look(users, space)
    mine = {user: roles for user, roles in found.users.items() if user.endswith(space.root)}
    return Standing(roles=found.roles, users=mine)


def chunker_of(space: Keyspace) -> str:
    return f"kvconfig/{space.root}/processor/chunker"


async def test_applied_twice_it_does_nothing(
    etcd_endpoint: str, space: Keyspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Planned is what is applied; then all is as planned, but that nobody is asked who he is."""
    assert await rbac("plan", *READS, "-o", "json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert await stands(etcd_endpoint, space) == Standing()
    assert await rbac("apply", *READS, "--no-password", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out) == planned
    once = await stands(etcd_endpoint, space)
    assert await rbac("apply", *READS) == 0
    assert capsys.readouterr().err == "nothing to do\n"
    assert await stands(etcd_endpoint, space) == once
    assert await rbac("check", *READS) == 1
    said = capsys.readouterr()
    assert said.out.splitlines() == ["FOUND  MENDED BY  STEP"]
    assert "auth is off" in said.err
    assert "all is as planned" in said.err


async def test_what_others_made_stays(
    etcd_endpoint: str, space: Keyspace, etcdctl: Etcdctl, capsys: pytest.CaptureFixture[str]
) -> None:
    """Too much is told, and taken away by --prune where it is ours; the rest is left to people. The
    system of another root is another's."""
    other = Keyspace(f"{space.root}-2")
    assert await rbac("apply", *READS, "--no-password") == 0
    assert await rbac("apply", *READS, "--no-password", "--root", other.root) == 0
    others = await stands(etcd_endpoint, other)
    mine, theirs, user = chunker_of(space), f"theirs{space.root}", f"chunker{space.root}"
    gone = mine.replace("chunker", "gone")
    for command in (
        ("role", "add", theirs),
        ("user", "grant-role", user, theirs),
        ("role", "grant-permission", mine, "readwrite", "--prefix", "/tool/"),
        ("role", "add", gone),
    ):
        await etcdctl(etcd_endpoint, *command)
    capsys.readouterr()
    assert await rbac("check", *READS, "-o", "json") == 1
    found = {step["step"]: step["mended-by"] for step in json.loads(capsys.readouterr().out)}
    assert found == {
        f"let {mine} no longer readwrite /tool/*": "apply --prune",
        f"delete role {gone}": "apply --prune",
        f"take the role {theirs} from user {user}": "you",
    }
    assert await rbac("apply", *READS) == 0
    assert capsys.readouterr().err.count("left to ") == 3
    assert await rbac("apply", *READS, "--prune") == 0
    assert capsys.readouterr().err == f"left to you: take the role {theirs} from user {user}\n"
    after = await stands(etcd_endpoint, space)
    assert gone not in after.roles
    assert after.users[user] == (mine, theirs)
    assert await stands(etcd_endpoint, other) == others


async def test_passwords_are_made_once(
    etcd_endpoint: str, space: Keyspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into a file of their owner alone, never to the screen; it is not written over, and goes with
    --passwords. Who has none given is named before anything is done."""
    file = tmp_path / "passwords"
    assert await rbac("apply", *READS) == 2
    users = [f"{name}{space.root}" for name in ("flow-service", "operator", "viewer", "chunker")]
    assert f"new users: {', '.join(users)}; " in capsys.readouterr().err
    assert await stands(etcd_endpoint, space) == Standing()
    assert await rbac("apply", *READS, "--generate", str(file)) == 0
    said = capsys.readouterr()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    made = dict(line.split(":", 1) for line in file.read_text().splitlines())
    assert list(made) == users
    assert len(set(made.values())) == 4
    assert not any(password in said.out + said.err for password in made.values())

    name = f"ada{space.root}"
    ada = (*READS, "--user", f"{name}=operator")
    assert await rbac("apply", *ada, "--generate", str(file)) == 2
    assert "is there already" in capsys.readouterr().err
    for text in ("bob:x\n", "secret-without-user\n"):
        file.write_text(text)
        assert await rbac("apply", *ada, "--passwords", str(file)) == 2
        assert "secret" not in capsys.readouterr().err
    assert name not in (await stands(etcd_endpoint, space)).users
    file.write_text(f"{name}:a:b\n")
    assert await rbac("apply", *ada, "--passwords", str(file)) == 0
    assert (await stands(etcd_endpoint, space)).users[name] == (f"kvconfig/{space.root}/operator",)


async def test_auth_is_enabled_last_and_only_with_root(
    endpoint: str,
    etcdctl: Etcdctl,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a root that could undo it, nothing at all is done; with one, all others are asked."""
    enable = ("apply", *READS, "--no-password", "--enable-auth")
    assert await rbac(*enable) == 2
    assert "etcdctl user grant-role root root" in capsys.readouterr().err
    assert await stands(endpoint, Keyspace()) == Standing()
    await etcdctl(endpoint, "user", "add", ":".join(ROOT))
    await etcdctl(endpoint, "user", "grant-role", "root", "root")
    # As root from the start: a user is given where etcd has none to ask for yet.
    monkeypatch.setenv("ETCDCTL_USER", ":".join(ROOT))
    assert await rbac(*enable) == 0
    assert "auth is on" in capsys.readouterr().err
    assert await rbac("check", *READS) == 0
    assert await rbac(*enable) == 0
    assert capsys.readouterr().err.endswith("nothing to do\n")
    monkeypatch.delenv("ETCDCTL_USER")
    assert await rbac("check", *READS) == 1
    assert "authentication failed" in capsys.readouterr().err


async def test_commands_of_etcdctl_do_the_same(
    etcd_endpoint: str, space: Keyspace, etcdctl: Etcdctl, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `plan -o etcdctl` prints, typed line by line, leaves nothing to do."""
    assert await rbac("plan", *READS, "--no-password", "-o", "etcdctl") == 0
    lines = capsys.readouterr().out.splitlines()
    for line in lines:
        program, *args = shlex.split(line)
        assert program == "etcdctl"
        await etcdctl(etcd_endpoint, *args)
    assert await rbac("apply", *READS) == 0
    assert capsys.readouterr().err == "nothing to do\n"


async def test_the_next_member_is_asked_where_one_is_away(
    etcd_endpoint: str, space: Keyspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """And where none is there, that is said."""
    assert await rbac("plan", "--endpoints", f"127.0.0.1:1,{etcd_endpoint}") == 0
    assert f"add role {chunker_of(space)}" in capsys.readouterr().out
    assert await rbac("plan", "--endpoints", "127.0.0.1:1") == 6
    assert "127.0.0.1:1" in capsys.readouterr().err


async def test_what_was_done_is_told_where_it_breaks_off(
    etcd_endpoint: str,
    space: Keyspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And the next run does the rest."""

    async def broken(*_: object) -> None:
        raise Unavailable("gone", endpoints=("e1",))

    with monkeypatch.context() as patch:
        patch.setattr(Users, "add_user", broken)
        assert await rbac("apply", *READS, "--no-password") == 6
    assert f"add role {chunker_of(space)}" in capsys.readouterr().out
    assert await rbac("apply", *READS, "--no-password") == 0
    first = capsys.readouterr().out.splitlines()[1]
    assert first == f"add user flow-service{space.root}"


def examples() -> Iterator[str]:
    for path, command in commands():
        if path[:1] == ("rbac",):
            lines = (line.strip() for line in (command.help or "").splitlines())
            yield from (line for line in lines if line.startswith(("flowctl ", "processors ")))


async def test_every_example_works(
    endpoint: str,
    etcdctl: Etcdctl,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What --help shows can be typed, in the order in which it stands there."""
    await etcdctl(endpoint, "user", "add", ":".join(ROOT))
    await etcdctl(endpoint, "user", "grant-role", "root", "root")
    monkeypatch.setenv("ETCDCTL_USER", ":".join(ROOT))
    monkeypatch.chdir(tmp_path)
    group = '[[processor]]\nclass = "processors.samples.chunker:Chunker"\n'
    (tmp_path / "pipeline.toml").write_text(group)
    typed = list(examples())
    assert len(typed) > 8
    for line in typed:
        program, *args = shlex.split(line)
        if program == "processors":
            *args, _, target = args
            described = CliRunner().invoke(processors_cli, args)
            (tmp_path / target).write_text(described.output)
            assert described.exit_code == 0
        else:
            # Which differ in what they plan; `check` tells so.
            fine = {0, 1} if "check" in args else {0}
            assert await asyncio.to_thread(main, args) in fine, line

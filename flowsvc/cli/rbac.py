"""``flowctl rbac``: who may do what in etcd, planned, carried out and checked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

import click

from flowsvc.cli.given import parse_pairs
from flowsvc.cli.output import OUTPUTS, View, output_of, output_option, show, warn
from flowsvc.cli.passwords import generate, read_passwords
from flowsvc.cli.settings import Settings, access_to, endpoints_option, root_option, run

if TYPE_CHECKING:
    from flowsvc.rbac import Step
    from kvconfig.etcd.users import Users

__all__ = ["group"]

Function = TypeVar("Function", bound=Callable[..., Any])
T = TypeVar("T")

SUPERUSER = "root"

NO_SUPERUSER = """\
etcd enables it only where a user root has the role root; nothing was done. To make one:
  etcdctl user add root                (asks for a password; with --no-password it is for who
  etcdctl user grant-role root root     comes with a certificate of the common name root)"""

ENABLED = """\
auth is on: etcd asks who comes. Whoever comes as nobody is refused from now on, and so are
processes that run already. `etcdctl --user root auth disable` takes it back."""

AUTH_IS_OFF = "auth is off: etcd asks nobody who he is, so none of this holds (apply --enable-auth)"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which etcd, and what there shall be in it beside what blueprints and flows say."""

    settings: Settings
    processors: tuple[BinaryIO, ...]
    reads: tuple[str, ...]
    users: tuple[str, ...]


@click.group("rbac")
def group() -> None:
    """Least privilege in etcd: a role and a user for each part of the system.

    The flow service reads all and writes all but what processors write; an operator writes
    configuration, a viewer nothing; a processor reads its own variants and the configuration that
    it declares, and writes its own status. Processors are found in the blueprints and flows that
    stand in etcd. docs/security.md says what etcd's RBAC is worth, by version.

    \b
    Example:
      processors describe --group pipeline.toml > processors.json
      flowctl rbac plan --processors processors.json
      flowctl rbac apply --processors processors.json --no-password
      flowctl rbac check --processors processors.json
    """


def _options(function: Function) -> Function:
    """What the three commands have in common; they get it as ``asked``."""

    @functools.wraps(function)
    def asking(**given: Any) -> Any:
        if not (endpoints := given.pop("endpoints")):
            need = "which etcd? give --endpoints HOST:PORT, or set ETCDCTL_ENDPOINTS"
            raise click.UsageError(need)
        given["asked"] = Asked(
            settings=Settings(endpoints=endpoints, root=given.pop("root")),
            processors=given.pop("processors"),
            reads=given.pop("reads"),
            users=given.pop("users"),
        )
        return function(**given)

    decorated: Any = asking
    for add in (
        root_option,
        endpoints_option,
        click.option(
            "--user",
            "users",
            multiple=True,
            metavar="NAME=ROLE,…",
            help="Give these roles to a user of this name, as in pipeline=processor/chunker,"
            "processor/loader for a process that hosts both, or ada=operator. A role that is given "
            "to nobody gets a user of its own. May be repeated.",
        ),
        click.option(
            "--reads",
            multiple=True,
            metavar="PROCESSOR=TYPE,…",
            help="Types of configuration that a processor reads; may be repeated.",
        ),
        click.option(
            "--processors",
            multiple=True,
            metavar="FILE",
            type=click.File("rb"),
            help="What `processors describe` has printed; - is standard input. May be repeated.",
        ),
    ):
        decorated = add(decorated)
    return cast(Function, decorated)


prune_option = click.option(
    "--prune",
    is_flag=True,
    help="Also take away what is too much: rights that a role of ours should not have, roles of "
    "processors that are gone, and our roles from users who should not have them.",
)


@group.command("plan")
@_options
@prune_option
@click.option("--no-password", is_flag=True, help="With -o etcdctl: users who have none.")
@output_of(*OUTPUTS, "etcdctl")
def plan_command(*, asked: Asked, prune: bool, no_password: bool, output: str) -> None:
    """Show what `apply` would do, and do nothing.

    As a table, as JSON, or as the commands of etcdctl that do the same.

    \b
    Example:
      flowctl rbac plan --reads chunker=prompt,tool
      flowctl rbac plan --root @staging -o etcdctl
    """
    steps, _ = _as_root(_difference(asked))
    mine = [step for step in steps if _done_by_apply(step, prune=prune)]
    if output == "etcdctl":
        import shlex

        from flowsvc.rbac import etcdctl

        for step in mine:
            click.echo(shlex.join(["etcdctl", *etcdctl(step, password=not no_password)]))
    else:
        show(mine, STEP, output)
    _tell_rest(steps, mine)


@group.command("apply")
@_options
@prune_option
@click.option(
    "--passwords",
    metavar="FILE",
    type=click.File("rb"),
    help="Passwords of new users, one user:password a line; - is standard input.",
)
@click.option(
    "--generate",
    "generated",
    metavar="FILE",
    help="Make passwords for new users, and write them to this new file, for its owner only.",
)
@click.option(
    "--no-password",
    is_flag=True,
    help="New users have none: they come with a client certificate of that common name.",
)
@click.option(
    "--enable-auth",
    is_flag=True,
    help="At the end have etcd ask who comes. It needs a user root with the role root.",
)
@output_option
def apply_command(
    *,
    asked: Asked,
    prune: bool,
    passwords: BinaryIO | None,
    generated: str | None,
    no_password: bool,
    enable_auth: bool,
    output: str,
) -> None:
    """Make roles and users as planned; a second time there is nothing to do.

    Looks at what stands and adds what is missing, one commit each; broken off, it can be run
    again. It takes nothing away without --prune, and even then only what is called kvconfig/…:
    never a user, nor his password. Once etcd asks who comes, it takes root:
    ETCDCTL_USER=root:PASSWORD, or a certificate of that name.

    \b
    Example:
      flowctl rbac apply --reads chunker=prompt --no-password
      flowctl rbac apply --generate passwords.txt --user ada=operator
      flowctl rbac apply --passwords passwords.txt --enable-auth
    """
    if (passwords is not None) + (generated is not None) + no_password > 1:
        raise click.UsageError("--passwords, --generate or --no-password: only one of them")

    def password_of(users: Sequence[str]) -> dict[str, str | None]:
        if no_password or not users:
            return dict.fromkeys(users)
        if passwords is not None:
            return {**read_passwords(passwords, users)}
        if generated is not None:
            return {**generate(generated, users)}
        need = "how do they come? give --passwords FILE, --generate FILE or --no-password"
        raise click.UsageError(f"new users: {', '.join(users)}; {need}")

    done: list[Step] = []
    try:
        steps, enabled = _as_root(
            _applied(asked, done, password_of, prune=prune, enable_auth=enable_auth)
        )
    except BaseException:
        if done:  # broken off: what was done stays so
            show(done, STEP, output)
        raise
    show(done, STEP, output)
    _tell_rest(steps, done)
    if enabled:
        click.echo(ENABLED, err=True)


@group.command("check")
@_options
@output_option
def check_command(*, asked: Asked, output: str) -> None:
    """Compare what stands with what is planned: what somebody may do too much, and what too little.

    The exit code is 1 where anything is not as planned, and where etcd does not ask who comes.

    \b
    Example:
      flowctl rbac check --processors processors.json
      flowctl rbac check --reads chunker=prompt -o json
    """
    steps, enabled = _as_root(_difference(asked))
    show(list(steps), FINDING, output)
    if not enabled:
        click.echo(f"warning: {AUTH_IS_OFF}", err=True)
    excess = sum(step.excess for step in steps)
    said = f"{excess} too much, {len(steps) - excess} too little" if steps else "all is as planned"
    click.echo(said, err=True)
    if steps or not enabled:
        raise click.exceptions.Exit(1)


# -- what they ask -------------------------------------------------------------------------------


def _as_root(question: Coroutine[Any, Any, T]) -> T:
    """Its answer; where etcd gives none to this user, who has to ask."""
    from kvconfig.errors import PermissionDenied

    try:
        return run(question)
    except PermissionDenied as error:
        if error.key:
            raise
        hint = "users and roles are told and changed for root only: ETCDCTL_USER=root:PASSWORD"
        raise click.ClickException(hint) from error


async def _difference(asked: Asked) -> tuple[tuple[Step, ...], bool]:
    """All steps, and whether etcd asks who comes."""
    from kvconfig.etcd.users import administering

    async with administering(access_to(asked.settings)) as users:
        return await _steps(asked, users), users.enabled


async def _applied(
    asked: Asked,
    done: list[Step],
    password_of: Callable[[Sequence[str]], dict[str, str | None]],
    *,
    prune: bool,
    enable_auth: bool,
) -> tuple[tuple[Step, ...], bool]:
    """All steps, those done among them in ``done``; and whether auth was enabled just now."""
    from flowsvc.rbac import AddUser, carry_out
    from kvconfig.etcd.users import administering

    async with administering(access_to(asked.settings)) as users:
        steps = await _steps(asked, users)
        enable = enable_auth and not users.enabled
        if enable and SUPERUSER not in (await users.users()).get(SUPERUSER, ()):
            raise click.UsageError(NO_SUPERUSER)
        mine = [step for step in steps if _done_by_apply(step, prune=prune)]
        passwords = password_of([step.user for step in mine if isinstance(step, AddUser)])
        for step in mine:
            await carry_out(users, step, passwords)
            done.append(step)
        if enable:
            await users.enable()
        return steps, enable


async def _steps(asked: Asked, users: Users) -> tuple[Step, ...]:
    from flowsvc.rbac import described, difference, in_use, look, policy
    from kvconfig.etcd import connect
    from kvconfig.keyspace import Keyspace

    keyspace = Keyspace(asked.settings.root)
    async with connect(users.access) as store:
        processors, findings = await in_use(store, keyspace)
    warn(findings)
    reads: dict[str, set[str]] = {processor: set() for processor in processors}
    for file in asked.processors:
        for processor, types in described(file.read(), file.name).items():
            reads.setdefault(processor, set()).update(types)
    for processor, text in parse_pairs(asked.reads, "--reads").items():
        reads.setdefault(processor, set()).update(_split(text))
    named = parse_pairs(asked.users, "--user")
    planned = policy(keyspace, reads, {user: _split(roles) for user, roles in named.items()})
    return difference(planned, await look(users, keyspace))


def _split(text: object) -> list[str]:
    return [part.strip() for part in str(text).split(",") if part.strip()]


def _done_by_apply(step: Step, *, prune: bool) -> bool:
    return step.when == "always" or (prune and step.when == "prune")


# -- what they print -----------------------------------------------------------------------------

MENDED_BY = {"always": "apply", "prune": "apply --prune", "by hand": "you"}


def _as_json(step: Step) -> dict[str, Any]:
    from flowsvc.rbac import etcdctl

    return {
        "found": "too much" if step.excess else "too little",
        "mended-by": MENDED_BY[step.when],
        "step": str(step),
        "etcdctl": list(etcdctl(step)),
    }


STEP = View(name=str, columns={"STEP": str}, as_json=_as_json)

FINDING = View(
    name=str,
    columns={
        "FOUND": lambda step: "too much" if step.excess else "too little",
        "MENDED BY": lambda step: MENDED_BY[step.when],
        "STEP": str,
    },
    as_json=_as_json,
)


def _tell_rest(steps: Sequence[Step], mine: Sequence[Step]) -> None:
    """What is too much, and stays; and that there is nothing else."""
    if not mine:
        click.echo("nothing to do", err=True)
    for step in steps:
        if step not in mine:
            click.echo(f"left to {MENDED_BY[step.when]}: {step}", err=True)

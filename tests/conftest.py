"""What every test may ask for: a real etcd, a key root of its own, the shared data.

Absent things: a test that needs them is skipped and says why, unless ``REQUIRE_ETCD=<version>`` or
``REQUIRE_SHARED=1`` is set (``.ci/run`` sets both): then it fails.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from kvconfig.devserver import (
    ContainerServer,
    DevServerError,
    EtcdBinary,
    EtcdUnavailable,
    LocalCluster,
    LocalServer,
    dev_server,
    find_etcd,
    find_etcdctl,
    server_kind,
)
from tests.certificates import Authority
from tests.privileges import Place
from tests.reports import MEASURED, Reports
from tests.turns import Turns

REPOSITORY = Path(__file__).resolve().parents[1]

# Pending tasks get this long to end once a test is over: closed transports end in the loop's next
# rounds. It is spent only where something is pending.
_LEAK_GRACE_S = 0.2

_TURNS = pytest.StashKey[Turns]()


# How long one example takes is the machine's affair; pytest-timeout ends what hangs.
settings.register_profile("kvconfig", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kvconfig")


def pytest_configure(config: pytest.Config) -> None:
    """What this machine's user has configured for ``flowctl`` is none of a test's business.

    A shell that runs us in the background ignores Ctrl-C for us, and for all that we start.
    """
    config.pluginmanager.register(Reports())
    config.stash[_TURNS] = Turns(REPOSITORY / "tests")
    os.environ["XDG_CONFIG_HOME"] = os.devnull
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Of what was opened."""
    config.stash[_TURNS].close()


@pytest.hookimpl(optionalhook=True)  # -p no:xdist
def pytest_xdist_auto_num_workers() -> int:
    """``-n auto``: one more than there are cores, for a test waits a third of its time."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that run alone come first, all in one process: it waits only for what has just begun.

    Later there would be something long to wait for, each time, and all the others would wait too.
    """
    items.sort(key=_is_alone, reverse=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before the clock of pytest-timeout starts
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Each test, with its fixtures, when it is its turn."""
    with item.config.stash[_TURNS].take(alone=_is_alone(item)):
        return (yield)


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


def pytest_report_header() -> list[str]:
    """The etcd that this run is about to use."""
    if server_kind() == "container":
        return [f"etcd: image {ContainerServer().image} (ETCD=container)"]
    try:
        return [f"etcd: {find_etcd()}"]
    except DevServerError as error:
        return [f"etcd: {error}"]


def run_apart(coroutine: Coroutine[object, object, None]) -> None:
    """To its end, under a loop and in a thread of its own: tests' loops see nothing of it."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(asyncio.run, coroutine).result()


def _absent(reason: str, *, required: bool) -> None:
    if required:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def etcd_server() -> Iterator[LocalServer]:
    """One etcd for the whole session. Shared: keep below ``root``, and don't stop it."""
    server = dev_server()
    try:
        run_apart(server.start())
    except EtcdUnavailable as error:
        _absent(str(error), required=bool(os.environ.get("REQUIRE_ETCD")))
    yield server
    run_apart(server.close())


@pytest.fixture(scope="session")
def etcd_endpoint(etcd_server: LocalServer) -> str:
    """``host:port`` of the session's etcd."""
    return etcd_server.endpoint


@pytest.fixture(scope="session")
def etcd_binary() -> EtcdBinary:
    """The etcd for tests that start, stop and kill one of their own."""
    try:
        return find_etcd()
    except EtcdUnavailable as error:
        _absent(str(error), required=bool(os.environ.get("REQUIRE_ETCD")))
        raise


@pytest.fixture(scope="session")
def guarded_etcd(
    etcd_binary: EtcdBinary, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """Another for the whole session, over TLS: it asks who comes, once a root of it was entered by
    :meth:`Place.below`."""
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    cluster = LocalCluster(1, binary=etcd_binary, tls=authority.etcd(), durable=False)
    run_apart(cluster.start())
    yield Place(endpoint=cluster.endpoints[0], authority=authority)
    run_apart(cluster.close())


@pytest.fixture
def root() -> str:
    """A root of its own for each test (DESIGN §3), so that tests share one etcd and never meet."""
    return f"@t-{secrets.token_hex(6)}"


@pytest.fixture(scope="session")
def etcdctl_path() -> Path:
    """The etcdctl that belongs to the etcd under test, or any other there is."""
    try:
        beside = find_etcd()
    except EtcdUnavailable:
        beside = None
    try:
        return find_etcdctl(beside=beside)
    except EtcdUnavailable as error:
        _absent(str(error), required=bool(os.environ.get("REQUIRE_ETCD")))
        raise


@pytest.fixture
def etcdctl(etcdctl_path: Path) -> Callable[..., Awaitable[str]]:
    """``await etcdctl(endpoint, "get", "--prefix", "/x/")``: its standard output.

    Raises AssertionError, with what it said, when it fails.
    """

    async def run(endpoint: str, *args: str, stdin: bytes = b"") -> str:
        process = await asyncio.create_subprocess_exec(
            etcdctl_path,
            f"--endpoints={endpoint}",
            *args,
            env={k: v for k, v in os.environ.items() if not k.startswith("ETCDCTL_")},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(stdin), 30)
        assert process.returncode == 0, f"etcdctl {args}: {err.decode(errors='replace')}"
        return out.decode()

    return run


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data shared with other projects: ``$SHARED_DATA``, or ``../shared/data`` beside us."""
    named = os.environ.get("SHARED_DATA")
    path = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not path.is_dir():
        required = os.environ.get("REQUIRE_SHARED") == "1"
        _absent(f"no shared data at {path} (SHARED_DATA names another place)", required=required)
    return path


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """``tell("12 of 12")``: a line for whoever reads the log, at the end of the run."""
    return partial(record_property, MEASURED)


@pytest.fixture
async def _no_task_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=_LEAK_GRACE_S)
    for task in left:
        task.cancel()
    if left:
        names = "\n".join(sorted(f"  {task.get_name()}: {task.get_coro()}" for task in left))
        pytest.fail(f"tasks without an owner were left running:\n{names}", pytrace=False)


@pytest.fixture(autouse=True)
def _every_task_has_an_owner(request: pytest.FixtureRequest) -> None:
    """An async test that leaves a task behind fails.

    Set up before every other fixture of the test, so it looks when all of them are gone. It is
    synchronous, with the check behind it, so that tests without a loop don't get one.
    """
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("_no_task_left")

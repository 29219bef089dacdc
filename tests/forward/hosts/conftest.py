"""What the tests with hosts need: the right to make them, programs, and two C libraries."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from forward.hosts.laboratory import Laboratory, NotAllowed
from forward.hosts.lookups import Client, clients

SOURCE = Path(__file__).with_name("resolving.c")


@pytest.fixture(scope="session")
def may_make_hosts(need: Callable[..., str]) -> None:
    """Skip on a laptop, fail in CI, where network namespaces cannot be made."""
    for program in ("ip", "unbound"):
        need(program)
    reason = "it takes root to make hosts" if os.geteuid() else ""
    try:
        if not reason:
            with Laboratory(ipv6=True):
                pass
    except NotAllowed as refusal:
        reason = str(refusal)
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def programs(
    may_make_hosts: None, need: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> list[Client]:
    """All clients, resolving.c compiled with both libraries."""
    folder = tmp_path_factory.mktemp("resolving")
    glibc, musl = folder / "glibc", folder / "musl"
    for words in ((need("gcc"), "-o", glibc), (need("musl-gcc"), "-static", "-o", musl)):
        subprocess.run([*words, "-O1", "-Wall", "-Wextra", "-Werror", SOURCE], check=True)
    return clients(glibc, musl, need("getent"), need("busybox"))

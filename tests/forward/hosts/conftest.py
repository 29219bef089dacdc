"""What the tests with hosts need: the right to make them, programs, and two C libraries."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from forward.hosts.lookups import Client, clients

SOURCE = Path(__file__).with_name("resolving.c")


@pytest.fixture(scope="session")
def may_make_hosts(may_make_hosts: None, need: Callable[..., str]) -> None:
    """Ask for an upstream besides."""
    need("unbound")


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

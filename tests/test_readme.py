"""The commands of the README, and of the first steps, do what is printed under them."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from toolbox.running_server import RunningServer
from toolbox.upstreams import free_port

ROOT = Path(__file__).parent.parent
AS_ON_A_LAPTOP = """
[dns]
alias_zones = ["home.arpa"]
[services]
cluster_ip_ranges = ["127.96.0.0/16"]
[proxy]
serve = true
engine = "user"
healthz = "127.0.0.1:0"
"""
"""Root's tests touch no packet rules of the machine."""


def commands(text: str) -> list[tuple[str, str]]:
    """Return (command, output printed under it) of each `$` line in console blocks."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            lines = part.splitlines()
            length = 1
            while lines[length - 1].endswith("\\") or "\n".join(lines[:length]).count("'") % 2:
                length += 1
            found.append(("\n".join(lines[:length]), "\n".join(lines[length:]).strip()))
    return found


@pytest.mark.parametrize(("page", "at_least"), [("README.md", 11), ("docs/first-steps.md", 10)])
def test_each_command_prints_what_the_page_says(need: Callable[..., str], page: str, at_least: int) -> None:
    need("dig")
    need("curl")
    listed = commands((ROOT / page).read_text())
    assert len(listed) >= at_least
    left_running: list[int] = []
    with RunningServer(workers=2, config=AS_ON_A_LAPTOP) as server:
        environ = {**os.environ, "SVCDNS_DATA": str(server.data), "PYTHONPATH": str(ROOT)}
        web_port = free_port()
        try:
            for command, printed in listed:
                there = command.replace("-p 1053", f"-p {server.dns[1]}").replace(
                    "http://127.0.0.1:8053", server.api
                )
                there = re.sub(r"^svcdns ", f"{sys.executable} -m svcdns ", there)
                there = re.sub(r"\b8080\b", str(web_port), there)
                process = subprocess.Popen(
                    ["bash", "-c", there],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=environ,
                    cwd=server.folder,
                    start_new_session=True,
                )
                left_running.append(process.pid)
                output, errors = process.communicate(timeout=60)
                expected = ".*".join(map(re.escape, printed.split("…")))  # … stands for what differs
                assert re.fullmatch(expected, output.strip()), f"{command}\nprinted {output}{errors}"
        finally:
            for session in left_running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(session, signal.SIGKILL)


def test_each_page_that_is_linked_is_there() -> None:
    for page in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"

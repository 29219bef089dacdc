"""The commands of the README, and of the first steps, do what is printed under them."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from toolbox.running_server import RunningServer

ROOT = Path(__file__).parent.parent


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


@pytest.mark.parametrize(("page", "at_least"), [("README.md", 8), ("docs/first-steps.md", 10)])
def test_each_command_prints_what_the_page_says(need: Callable[..., str], page: str, at_least: int) -> None:
    need("dig")
    need("curl")
    listed = commands((ROOT / page).read_text())
    assert len(listed) >= at_least
    with RunningServer(workers=2, config='[dns]\nalias_zones = ["home.arpa"]\n') as server:
        environ = {**os.environ, "SVCDNS_DATA": str(server.data), "PYTHONPATH": str(ROOT)}
        for command, printed in listed:
            there = command.replace("-p 1053", f"-p {server.dns[1]}").replace(
                "http://127.0.0.1:8053", server.api
            )
            there = re.sub(r"^svcdns ", f"{sys.executable} -m svcdns ", there)
            done = subprocess.run(
                ["bash", "-c", there], capture_output=True, text=True, timeout=60, env=environ
            )
            expected = ".*".join(map(re.escape, printed.split("…")))  # … stands for what differs each time
            assert re.fullmatch(expected, done.stdout.strip()), (
                f"{command}\nprinted {done.stdout}{done.stderr}"
            )


def test_each_page_that_is_linked_is_there() -> None:
    for page in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"

"""docs/kubectl.md: every command on it prints what the page says."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from toolbox.running_kubectl import find_kubectl
from toolbox.running_server import SOURCE, RunningServer

PAGE = SOURCE / "docs" / "kubectl.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.M | re.S)


def commands() -> list[tuple[str, str]]:
    """Return (command, what is printed under it)."""
    parts = [part for block in blocks("console") for part in re.split(r"^\$ ", block, flags=re.M)[1:]]
    return [(command, printed) for command, _, printed in (part.partition("\n") for part in parts)]


def plain(text: str) -> list[str]:
    """Return its lines without what differs from run to run: ages, and the widths that they make."""
    return [
        re.sub(r"\b\d+m?\d*s\b", "AGE", re.sub(r" {2,}", "  ", line)).rstrip() for line in text.splitlines()
    ]


def test_each_command_prints_what_the_page_says(need: Callable[..., str], tmp_path: Path) -> None:
    if not find_kubectl():
        need("kubectl of the dev extra")
    (tmp_path / "examples").symlink_to(SOURCE / "examples")
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {"PATH": programs, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "PYTHONPATH": str(SOURCE)}
    exports = ""
    with RunningServer(workers=1) as server:
        for command, printed in commands():
            if command.startswith("export "):
                exports += f"{command}; "
            there = command.replace("http://127.0.0.1:8053", server.api)
            done = subprocess.run(
                ["bash", "-c", exports + there],
                capture_output=True,
                text=True,
                timeout=60,
                env=environ,
                cwd=tmp_path,
            )
            assert plain(done.stdout.strip()) == plain(printed.strip()), (
                f"{command}\n{done.stdout}{done.stderr}"
            )
        (example,) = blocks("python")
        server.post(
            "/api/v1/namespaces/default/services",
            {"metadata": {"name": "x"}, "spec": {"ports": [{"port": 1}]}},
        )
        done = subprocess.run(
            [sys.executable, "-c", example.replace("http://127.0.0.1:8053", server.api)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "ADDED x\n" in done.stdout, done.stderr

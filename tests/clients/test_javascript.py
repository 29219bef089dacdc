"""The JavaScript client, typed calls and a watch, against a started server.

Its modules come from the registry that npm is set up for: `make soak`, and only where Node is.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from toolbox.running_server import RunningServer

SOURCE = Path(__file__).parent / "js"
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(shutil.which("npm") is None, reason="Node is not installed here"),
]


def test_typed_client_and_watch(tmp_path: Path) -> None:
    for name in ("package.json", "typed.mjs"):
        shutil.copy(SOURCE / name, tmp_path)
    installed = subprocess.run(["npm", "install", "--silent"], cwd=tmp_path, capture_output=True, timeout=240)
    if installed.returncode:
        pytest.skip("the JavaScript client can't be had here")
    with RunningServer(workers=1) as server:
        command = ["node", "typed.mjs", server.api]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.stdout.splitlines()[-1:] == ["done"], ended.stdout + ended.stderr

"""The committing thread: without it nothing may look well."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BROKEN = """
import asyncio, sys
from pathlib import Path
from svcdns.config.sections import Config
from svcdns.objects.kinds import NAMESPACE
from svcdns.registry.commit import Committer
from svcdns.registry.requests import WriteOptions
from svcdns.registry.registry import Registry
from svcdns.store.environment import open_store

async def main():
    registry = Registry(open_store(Path(sys.argv[1]), "writer"), Config())
    await registry.start()
    Committer._gather = lambda self, first: 1 / 0
    print("writing", flush=True)
    await registry.create(NAMESPACE, "", {"metadata": {"name": "x"}}, WriteOptions())
    print("written", flush=True)

asyncio.run(main())
"""


def test_a_committer_that_fails_ends_its_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BROKEN, str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == "writing\n"
    assert done.returncode == os.EX_SOFTWARE
    assert "ZeroDivisionError" in done.stderr

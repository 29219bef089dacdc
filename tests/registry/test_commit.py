"""The committing thread: without it nothing may look well."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from svcdns.config.sections import Config
from svcdns.objects.kinds import NAMESPACE
from svcdns.registry.registry import Registry
from svcdns.registry.requests import WriteOptions
from svcdns.registry.transaction import WriteTransaction
from svcdns.store.environment import open_store

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


def test_a_write_sees_what_it_has_made_of_a_namespace(tmp_path: Path) -> None:
    """One that is deleted with what is in it is looked at before, in between and after."""

    def labels(write: WriteTransaction) -> dict[str, str] | None:
        found = write.namespace("shop")
        return None if found is None else found["metadata"].get("labels", {})

    def action(write: WriteTransaction) -> list[dict[str, str] | None]:
        seen = [labels(write)]
        old = write.existing(NAMESPACE, "", "shop")
        new = {**old, "metadata": {**old["metadata"], "labels": {"team": "web"}}}
        write.save(NAMESPACE, old, new)
        seen.append(labels(write))
        write.remove(NAMESPACE, new)
        return [*seen, labels(write)]

    async def main() -> list[dict[str, str] | None]:
        store = open_store(tmp_path / "data", "writer")
        registry = Registry(store, Config())
        await registry.start()
        try:
            await registry.create(NAMESPACE, "", {"metadata": {"name": "shop"}}, WriteOptions())
            return await registry._committer.write(action)
        finally:
            await registry.stop()
            store.close()

    before, changed, gone = asyncio.run(main())
    assert before is not None and "team" not in before
    assert changed == {"team": "web"}
    assert gone is None

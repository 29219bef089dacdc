"""What probes take is loaded beside the event loop, and before a probe's time begins."""

import asyncio
import threading

import pytest

from svcdns.probes import checks
from svcdns.probes.checks import Checks
from svcdns.probes.specs import Check, Grpc, HttpGet


@pytest.mark.parametrize("check", [HttpGet(1), Grpc(1)], ids=["http", "grpc"])
async def test_the_loop_goes_on_meanwhile(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    loading, loaded = threading.Event(), threading.Event()
    really = checks.import_module

    def slow(name: str) -> object:
        loading.set()
        assert loaded.wait(60), "the loop stands still"
        return really(name)

    monkeypatch.setattr(checks, "import_module", slow)
    async with Checks() as made:
        both = [asyncio.create_task(made.load(check)) for _ in range(2)]
        while not loading.is_set():
            await asyncio.sleep(0)
        loaded.set()
        await asyncio.gather(*both)
        assert not (await made.run(check, "127.0.0.1")).success

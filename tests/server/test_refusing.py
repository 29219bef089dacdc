"""What the API says of a start that takes long."""

import asyncio
import contextlib
import json
import socket
import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import Any, cast

import pytest
from toolbox.waiting import GUARD_SECONDS, until

from svcdns.config.sections import Config
from svcdns.registry.registry import Registry
from svcdns.registry.replicated import Sharing
from svcdns.server import refusing
from svcdns.server.child_setup import Handoff


def asked(port: int, path: str) -> tuple[int, str]:
    """Return status and body of an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=GUARD_SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


async def test_a_replica_that_lists_says_so_and_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusing, "PATIENCE_SECONDS", 0)
    shown = {"text": "the registry is listed from etcd: 1,000 of 3,000 objects so far"}

    class Starting:
        """A registry that is being listed."""

        @property
        def sharing(self) -> Sharing:
            return Sharing(0, 0, "", {}, shown["text"])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        handoff: Any = SimpleNamespace(config=Config(), api=listener.fileno())
        saying = refusing.say_how_far(cast(Handoff, handoff), cast(Registry, Starting()))
        task = asyncio.create_task(saying)
        try:
            status, text = await asyncio.to_thread(asked, port, "/readyz")
            assert status == 503
            assert "1,000 of 3,000 objects so far" in text
            shown["text"] = "the registry is listed from etcd: 2,000 of 3,000 objects so far"
            status, text = await asyncio.to_thread(asked, port, "/api/v1/services")
            assert (status, json.loads(text)["code"]) == (503, 503)
            assert "2,000 of 3,000 objects so far" in json.loads(text)["message"]
            assert (await asyncio.to_thread(asked, port, "/livez"))[0] == 200
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await until(task.done, "it to end")

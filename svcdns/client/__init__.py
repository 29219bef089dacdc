"""A client for Python: registers Services and Pods, asks and watches; for asyncio, and without it.

    from svcdns.client import Client

    with Client() as there:
        there.add("cache", ["10.0.0.5", "10.0.0.6"], ports={"redis": 6379})

Which server that is: `find` says in what order it looks.  docs/client.md is the guide.
"""

from svcdns.client.asynchronous import AsyncClient
from svcdns.client.connection import Connection, NoServer, find
from svcdns.client.exchange import ApiError, Mistake, Unreachable
from svcdns.client.keeping import registered
from svcdns.client.own_pod import OwnPod
from svcdns.client.registration import Added
from svcdns.client.sync import Client

__all__ = [
    "Added",
    "ApiError",
    "AsyncClient",
    "Client",
    "Connection",
    "Mistake",
    "NoServer",
    "OwnPod",
    "Unreachable",
    "find",
    "registered",
]

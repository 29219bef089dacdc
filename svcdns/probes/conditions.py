"""A verdict as the condition of a Pod: one PATCH of its status.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions
"""

from __future__ import annotations

from datetime import datetime

from svcdns.client.asynchronous import AsyncClient
from svcdns.client.calls import path
from svcdns.client.exchange import ApiError, Object, Request, Unreachable
from svcdns.objects.kinds import POD

from .prober import CONDITION, NotWritten, PodName
from .verdicts import Verdict

_STRATEGIC = "application/strategic-merge-patch+json"
_NOT_THAT_POD = (404, 409)
"""It is gone, or another one has its name."""


class Conditions:
    """Writes verdicts through the API."""

    def __init__(self, client: AsyncClient) -> None:
        """`client` may write the status of Pods."""
        self._client = client

    async def write(self, pod: PodName, uid: str, verdict: Verdict, turned: bool, now: datetime) -> None:
        """Write a verdict; `now` is the time of its transition (UTC), where it turned.  Raises NotWritten."""
        there = path(POD, pod.namespace, pod.name, "status")
        request = Request("PATCH", there, _patch(uid, verdict, turned, now), _STRATEGIC)
        try:
            (await self._client.send(request)).json()
        except ApiError as refused:
            if refused.status not in _NOT_THAT_POD:
                raise NotWritten(str(refused)) from None
        except Unreachable as lost:
            raise NotWritten(str(lost)) from None


def _patch(uid: str, verdict: Verdict, turned: bool, now: datetime) -> Object:
    condition = {
        "type": CONDITION,
        "status": "True" if verdict.ready else "False",
        "reason": verdict.reason,
        "message": verdict.message,
    }
    if turned:
        condition["lastTransitionTime"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"metadata": {"uid": uid}, "status": {"conditions": [condition]}}

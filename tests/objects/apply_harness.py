"""Objects that managers write and apply, without a registry; what the tests of server-side apply share."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from svcdns.objects import kinds, managed_fields, server_side_apply
from svcdns.objects.defaults import default
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import Kind
from svcdns.objects.managed_fields import APPLY, UPDATE

PORT_80 = 'k:{"port":80,"protocol":"TCP"}'
PORT_81 = 'k:{"port":81,"protocol":"TCP"}'
TIME = "2026-01-02T03:04:05Z"


class ApplyHarness:
    """One object, written to as the registry does: merged, defaulted, its owners kept."""

    def __init__(self, kind: Kind = kinds.SERVICE) -> None:
        self.kind = kind
        self.obj: dict[str, Any] | None = None
        self.seconds = 0

    def time(self) -> str:
        self.seconds += 1
        return f"2026-01-02T03:{self.seconds // 60:02}:{self.seconds % 60:02}Z"

    def apply(
        self, manager: str, config: dict[str, Any], *, force: bool = False, subresource: str = ""
    ) -> ApplyHarness:
        before = copy.deepcopy((self.obj, config))
        if self.obj is None:
            entries = server_side_apply.first_applied(self.kind, config, manager, self.time())
            self.obj = self._with(default(self.kind, config), entries)
            return self
        new, entries = server_side_apply.apply(
            self.kind, self.obj, config, (manager, APPLY, subresource), force=force, time=self.time()
        )
        assert (self.obj, config) == before, "nothing that is given is changed"
        self.obj = self._with(default(self.kind, new, self.obj), entries)
        return self

    def create(self, manager: str, obj: dict[str, Any]) -> ApplyHarness:
        new = default(self.kind, obj)
        self.obj = self._with(new, managed_fields.created(self.kind, new, manager, self.time()))
        return self

    def update(self, manager: str, subresource: str = "", **parts: dict[str, Any]) -> ApplyHarness:
        """Write parts of the object: `update("x", spec={"type": "NodePort"})`."""
        assert self.obj is not None
        new = {**self.obj, **{word: {**self.obj.get(word, {}), **part} for word, part in parts.items()}}
        new = default(self.kind, new, self.obj)
        entries = managed_fields.updated(
            self.kind, self.obj, new, self.entries, (manager, UPDATE, subresource), self.time()
        )
        self.obj = self._with(new, entries)
        return self

    @staticmethod
    def _with(obj: dict[str, Any], entries: list[dict[str, Any]]) -> dict[str, Any]:
        kept = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
        return {**obj, "metadata": {**kept, "managedFields": entries} if entries else kept}

    def refused(self, manager: str, config: dict[str, Any], **options: Any) -> StatusError:
        with pytest.raises(StatusError) as caught:
            self.apply(manager, config, **options)
        return caught.value

    @property
    def entries(self) -> list[dict[str, Any]]:
        assert self.obj is not None
        found: list[dict[str, Any]] = self.obj["metadata"].get("managedFields", [])
        return found

    @property
    def owners(self) -> dict[str, Any]:
        """The fields by manager."""
        return {entry["manager"]: entry["fieldsV1"] for entry in self.entries}

    @property
    def spec(self) -> Any:
        assert self.obj is not None
        return self.obj["spec"]

    @property
    def ports(self) -> dict[int, Any]:
        return {port["port"]: port.get("targetPort") for port in self.spec.get("ports", [])}


def service(*ports: dict[str, Any], labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "web", "namespace": "shop"}
    if labels is not None:
        metadata["labels"] = labels
    if ports:
        spec["ports"] = list(ports)
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def port(number: int, **fields: Any) -> dict[str, Any]:
    return {"name": f"p{number}", "port": number, **fields}

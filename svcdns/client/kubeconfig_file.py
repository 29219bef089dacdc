"""A kubeconfig file: the server, the user and the namespace of its current context.

https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
Of several files (separated by colons) the first that names something wins.  Users who log in by a plugin
(`exec`, `auth-provider`) are not ours.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class Unusable(Exception):
    """The file can't be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Current:
    """What the current context names; PEM as octets, empty where nothing is said."""

    server: str
    namespace: str
    token: str
    ca: bytes
    certificate: bytes
    key: bytes
    verify: bool


@dataclass(frozen=True, slots=True)
class _Named:
    """An entry of a list (clusters, users, contexts), and the folder that its paths are relative to."""

    folder: Path
    fields: dict[str, Any]

    def text(self, field: str) -> str:
        return str(self.fields.get(field) or "")

    def octets(self, field: str) -> bytes:
        """Return what stands in FIELD-data, else in the file that FIELD names."""
        data, file = self.text(f"{field}-data"), self.text(field)
        try:
            return (
                base64.b64decode(data, validate=True) if data else _read(self.folder / file) if file else b""
            )
        except ValueError:
            raise Unusable(f"{field}-data is no base64") from None


def current(files: str) -> Current:
    """Return what the current context of these files names.  Raises Unusable."""
    documents = [(Path(name).parent, _document(Path(name))) for name in files.split(":") if name]
    named = (str(one["current-context"]) for _, one in documents if one.get("current-context"))
    context_name = next(named, "")
    if not context_name:
        raise Unusable(f"{files} names no current-context")
    context = _find(documents, "contexts", "context", context_name)
    cluster = _find(documents, "clusters", "cluster", context.text("cluster"))
    user = _Named(Path(), {})
    if user_name := context.text("user"):
        user = _find(documents, "users", "user", user_name)
    if "exec" in user.fields or "auth-provider" in user.fields:
        raise Unusable(f"user {user_name} logs in by a plugin, which svcdns does not run; use a token")
    token = user.text("token")
    if not token and user.text("tokenFile"):
        token = _read(user.folder / user.text("tokenFile")).decode(errors="replace").strip()
    if not (token.isascii() and token.isprintable()):
        raise Unusable(f"the token of user {user_name} is none: it has letters that no token has")
    return Current(
        server=cluster.text("server"),
        namespace=context.text("namespace"),
        token=token,
        ca=cluster.octets("certificate-authority"),
        certificate=user.octets("client-certificate"),
        key=user.octets("client-key"),
        verify=not cluster.fields.get("insecure-skip-tls-verify"),
    )


def _document(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(_read(file))
    except (yaml.YAMLError, ValueError) as wrong:
        raise Unusable(f"{file}: is no YAML: {' '.join(str(wrong).split())}") from None
    if not isinstance(document, dict):
        raise Unusable(f"{file} is no kubeconfig")
    return document


def _find(documents: list[tuple[Path, dict[str, Any]]], plural: str, word: str, name: str) -> _Named:
    for folder, entry in _entries(documents, plural):
        if entry.get("name") == name and isinstance(entry.get(word), dict):
            return _Named(folder, entry[word])
    raise Unusable(f"{plural} hold no {name!r}")


def _entries(
    documents: list[tuple[Path, dict[str, Any]]], plural: str
) -> Iterator[tuple[Path, dict[str, Any]]]:
    for folder, document in documents:
        listed = document.get(plural)
        for entry in listed if isinstance(listed, list) else []:
            if isinstance(entry, dict):
                yield folder, entry


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as wrong:
        raise Unusable(f"{file}: {(wrong.strerror or str(wrong)).lower()}") from None

"""The calls for objects of any kind: get, list, apply, delete; each a generator of requests (`exchange`)."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from svcdns.objects.kinds import KINDS, POD, Kind

from .exchange import APPLY, MERGE, ApiError, Call, Mistake, Object, Request, answer

FIELD_MANAGER = "svcdns"
"""Whose fields those are that `apply` sets."""
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
REPLICAS = "/svcdns/v1/replicas"
_PAGE = 500


class UnknownKind(Exception):
    """No kind is called that; the text says which there are."""


def kind_of(word: str) -> Kind:
    """Return the kind that a word means: pods, pod, po, Pod.  Raises UnknownKind."""
    lower = word.lower().split(".")[0]
    for kind in KINDS:
        if lower in (kind.plural, kind.singular, *kind.short_names):
            return kind
    known = ", ".join(dict.fromkeys(kind.plural for kind in KINDS))
    raise UnknownKind(f"no kind is called {word!r}; allowed: {known}")


def kind_of_object(obj: Object) -> Kind:
    """Return the kind of an object by what it says of itself.  Raises UnknownKind."""
    version, name = obj.get("apiVersion"), obj.get("kind")
    for kind in KINDS:
        if (kind.api_version, kind.name) == (version, name):
            return kind
    raise UnknownKind(f"{version} {name} is no kind that svcdns registers")


def path(kind: Kind, namespace: str = "", name: str = "", subresource: str = "", **query: str) -> str:
    """Return the path of a collection or an object; a namespace of "" means all of them."""
    parts = ["", "apis", kind.group, kind.version] if kind.group else ["", "api", kind.version]
    if kind.namespaced and namespace:
        parts += ["namespaces", quote(namespace, safe="")]
    parts += [kind.plural, *(quote(part, safe="") for part in (name, subresource) if part)]
    asked = {word: text for word, text in query.items() if text}
    return "/".join(parts) + (f"?{urlencode(asked)}" if asked else "")


def path_of_one(kind: Kind, namespace: str, name: str, subresource: str = "", **query: str) -> str:
    """Return the path of one object.

    Raises Mistake for what no object is called: without a name, the path would be that of all of them.
    https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#path-segment-names
    """
    parts = (name, namespace) if kind.namespaced else (name,)
    for part in parts:
        if part in ("", ".", "..") or set(part) & {"/", "%"} or not (part.isascii() and part.isprintable()):
            raise Mistake(f"no {kind.singular} is called {part[:80]!r}; allowed: a name, such as web")
    return path(kind, namespace, name, subresource, **query)


def get(kind: Kind, namespace: str, name: str) -> Call[Object | None]:
    """Return an object, None if there is none."""
    try:
        found: Object = yield from answer(Request("GET", path_of_one(kind, namespace, name)), "metadata")
        return found
    except ApiError as wrong:
        if wrong.status == 404:
            return None
        raise


def list_objects(kind: Kind, namespace: str = "", labels: str = "", fields: str = "") -> Call[list[Object]]:
    """Return all objects of a kind, page by page; `labels` and `fields` are selectors."""
    objects, _ = yield from list_objects_at(kind, namespace, labels, fields)
    return objects


def list_objects_at(
    kind: Kind, namespace: str = "", labels: str = "", fields: str = ""
) -> Call[tuple[list[Object], str]]:
    """Return the same, and the resourceVersion from which a watch goes on."""
    objects: list[Object] = []
    following = ""
    while True:
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(_PAGE), "continue": following}
        page = yield from answer(Request("GET", path(kind, namespace, **query)), "items", "metadata")
        objects += page["items"]
        following = page["metadata"].get("continue", "")
        if not following:
            return objects, str(page["metadata"].get("resourceVersion", ""))


def apply(obj: Object, namespace: str = "", *, force: bool = True) -> Call[Object]:
    """Create an object, or bring it to what is said of it (server-side apply); return it as it is now.

    https://kubernetes.io/docs/reference/using-api/server-side-apply/
    """
    kind, metadata = kind_of_object(obj), obj.get("metadata") or {}
    where = str(metadata.get("namespace") or namespace or "default")
    query = {"fieldManager": FIELD_MANAGER, "force": "true" if force else ""}
    there = path_of_one(kind, where, str(metadata.get("name") or ""), **query)
    applied: Object = yield from answer(Request("PATCH", there, obj, APPLY), "metadata")
    return applied


def create(obj: Object, namespace: str) -> Call[Object | None]:
    """Create an object; return it as it is now, None where one of that name is there already."""
    there = path(kind_of_object(obj), namespace, fieldManager=FIELD_MANAGER)
    try:
        created: Object = yield from answer(Request("POST", there, obj), "metadata")
        return created
    except ApiError as wrong:
        if wrong.status == 409 and wrong.reason == "AlreadyExists":
            return None
        raise


def merge(
    kind: Kind, namespace: str, name: str, patch: Object, subresource: str = "", *, form: str = MERGE
) -> Call[Object]:
    """Change fields of an object (RFC 7386, or Kubernetes' STRATEGIC form); return it as it is now."""
    there = path_of_one(kind, namespace, name, subresource, fieldManager=FIELD_MANAGER)
    changed: Object = yield from answer(Request("PATCH", there, patch, form), "metadata")
    return changed


def delete(kind: Kind, namespace: str, name: str) -> Call[bool]:
    """Delete an object; return whether there was one."""
    try:
        yield from answer(Request("DELETE", path_of_one(kind, namespace, name)), "kind")
    except ApiError as wrong:
        if wrong.status == 404:
            return False
        raise
    return True


def heartbeat(namespace: str, name: str) -> Call[bool]:
    """Show that a Pod lives; return False where it is not there: it is to be registered again."""
    response = yield Request("POST", path(POD, namespace, name, "heartbeat"))
    if response.status == 404:
        return False
    if response.status != 204:
        response.json()
    return True


def watch(kind: Kind, namespace: str = "", name: str = "", labels: str = "", since: str = "") -> Request:
    """Return the request of a watch: from a resourceVersion on, or beginning with what is there."""
    fields = f"metadata.name={name}" if name else ""
    query = {"watch": "true", "labelSelector": labels, "fieldSelector": fields, "resourceVersion": since}
    return Request("GET", path(kind, namespace, **query))


def replicas() -> Call[Object]:
    """Return who shares the server's registry: its own `name` ("": nobody does), and `replicas` that live."""
    page: Object = yield from answer(Request("GET", REPLICAS), "name", "replicas")
    return page

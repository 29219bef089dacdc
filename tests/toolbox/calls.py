"""API calls over one kept connection, and the objects that the tests of the promises register."""

import contextlib
import http.client
import json
import socket
import ssl
from typing import Any

from toolbox.builders import pod, ready_condition, service
from toolbox.waiting import GUARD_SECONDS

NAMESPACE = "/api/v1/namespaces/default"
SERVICES = f"{NAMESPACE}/services"
PODS = f"{NAMESPACE}/pods"
DOMAIN = "default.svc.cluster.local"

Broken = (OSError, http.client.HTTPException)
"""What a call raises when the server dies under it: whether it was done is not known then."""


class Calls:
    """A client with one connection, opened again after an error; not for use by two threads at once."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None, token: str = "") -> None:
        """`url` is the API's, without a path; `tls` is for https, `token` is shown with each request."""
        scheme, _, place = url.partition("://")
        if scheme == "https":
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                place, timeout=GUARD_SECONDS, context=tls
            )
        else:
            self._connection = http.client.HTTPConnection(place, timeout=GUARD_SECONDS)
        self.warning = ""
        """The Warning of the last answer, "" of one without."""
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def call(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> tuple[int, Any]:
        """Return status and parsed body.  Raises one of Broken when the connection breaks."""
        octets = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {} if octets is None else {"Content-Type": content_type}
        try:
            self._connection.request(method, path, octets, self._headers | headers)
            answer = self._connection.getresponse()
            self.warning = answer.headers.get("Warning", "")
            return answer.status, json.loads(answer.read())
        except BaseException:
            self._connection.close()
            raise

    def done(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """Return the body of a call that must be answered 2xx."""
        status, answer = self.call(method, path, body, content_type)
        assert status in (200, 201), f"{method} {path}: {status} {answer}"
        return answer

    def create_service(self, name: str, **spec: Any) -> Any:
        """Create a Service in the namespace default."""
        return self.done("POST", SERVICES, service(name, **spec))

    def create_pod(self, name: str, ip: str, app: str, *, ready: bool = True) -> Any:
        """Create a Pod in the namespace default."""
        return self.done("POST", PODS, pod(name, ip, app, ready=ready))

    def set_ready(self, name: str, *, ready: bool) -> Any:
        """Flip a Pod's readiness."""
        patch = {"status": {"conditions": [ready_condition(ready)]}}
        return self.done("PATCH", f"{PODS}/{name}/status", patch, "application/merge-patch+json")

    def delete(self, collection: str, name: str) -> Any:
        """Delete an object, a Pod without a grace period."""
        return self.done("DELETE", f"{collection}/{name}?gracePeriodSeconds=0")

    def revision(self) -> str:
        """Return the resourceVersion of the list of Services: the number of the last change of all."""
        revision: str = self.done("GET", SERVICES)["metadata"]["resourceVersion"]
        return revision

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._connection.close()


def fqdn(service: str) -> str:
    """Return the name of a Service in the namespace default."""
    return f"{service}.{DOMAIN}"


def reverse(ip: str) -> str:
    """Return the reverse name of an IPv4 address."""
    return ".".join(reversed(ip.split("."))) + ".in-addr.arpa"


def listens(url: str) -> bool:
    """Say whether something accepts connections at the API's address."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=GUARD_SECONDS).close()
    except OSError:
        return False
    return True

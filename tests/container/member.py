"""One member of a stateful cluster: registers itself, finds its peers by DNS, then says that it is ready.

    member.py API NAME SERVICE SIZE

Runs in a container, next to nothing but Python and dnspython.  It knows the API's address, its own name,
the headless Service that it belongs to, and how many members there are; all else it learns by DNS.
"""

import json
import socket
import sys
import threading
import time
import urllib.request
from typing import Any

import dns.exception
import dns.resolver

PORT = 7000
PODS = "/api/v1/namespaces/default/pods"
TRY_SECONDS = 0.1


def main(api: str, name: str, service: str, size: int) -> None:
    serve(name)
    address = own_address(api)
    send(api, "POST", PODS, pod(name, service, address))
    print(f"registered: {address}", flush=True)
    while len(found := peers(service)) < size:
        time.sleep(TRY_SECONDS)
    print(f"found: {' '.join(sorted(found))}", flush=True)
    send(api, "PATCH", f"{PODS}/{name}", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    print("ready", flush=True)
    threading.Event().wait()


def serve(name: str) -> None:
    """Tell everybody who connects who this is."""
    listener = socket.create_server(("", PORT))

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(name.encode())

    threading.Thread(target=accept, daemon=True).start()


def own_address(api: str) -> str:
    host, port = api.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as made:
        return str(made.getsockname()[0])


def send(api: str, method: str, path: str, body: dict[str, Any]) -> None:
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    request = urllib.request.Request(
        api + path, json.dumps(body).encode(), {"Content-Type": kind}, method=method
    )
    urllib.request.urlopen(request).close()


def pod(name: str, service: str, address: str) -> dict[str, Any]:
    """Return the Pod that this is: running, and not ready before it has found the others."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": service}},
        "spec": {
            "hostname": name,
            "subdomain": service,
            "containers": [{"name": "member", "image": "member"}],
        },
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "False"}],
        },
    }


def peers(service: str) -> list[str]:
    """Return who answers at the targets of the Service's SRV records."""
    try:
        records = dns.resolver.resolve(f"_peer._tcp.{service}", "SRV", search=True)
        return [who(record.target.to_text(omit_final_dot=True), record.port) for record in records]
    except (dns.exception.DNSException, OSError):
        return []


def who(host: str, port: int) -> str:
    with socket.create_connection((host, port), timeout=2) as made:
        return made.recv(64).decode()


if __name__ == "__main__":
    main(*sys.argv[1:4], size=int(sys.argv[4]))

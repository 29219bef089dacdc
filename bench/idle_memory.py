"""Memory of a whole server that holds Services and has nothing to do: each process, and all together.

    python bench/idle_memory.py [SERVICES]

Two workers and a forwarder.  PSS (/proc/PID/smaps_rollup): what processes share, code of Python among it,
counts once, and less where other processes have the same Python: those make the sum smaller by some MiB.
"own" is what one process alone has (Private_Dirty), "anonymous" is PSS of what no file holds.  In MiB.
"""

from __future__ import annotations

import sys
from pathlib import Path

from measuring import RunningServer, connected, family, make_question, memory, register, services, table

KINDS = ("Pss", "Private_Dirty", "Pss_Anon")
CONFIG = '[forward]\nupstreams = ["127.0.0.1:9"]\n'


def called(pid: int) -> str:
    """Return what a process is, by its command line."""
    words = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    return " ".join(words[2:4]) if words[1:2] == ["-m"] else " ".join(words[:3])


def main(count: int = 1000) -> None:
    """Print the table."""
    with RunningServer(workers=2, config=CONFIG) as server:
        register(server.api, services(count))
        server.stop()  # what registering took is not what an idle server has
        server.start()
        for number in range(20):
            with connected(server.dns) as sock:
                sock.settimeout(5)
                sock.send(make_question(f"svc-{number}.default.svc.cluster.local", 1))
                sock.recv(4096)
        assert server.process is not None
        found = [(called(pid), memory(pid)) for pid in family(server.process.pid)]
    rows = [(name, *(f"{one[kind]:.1f}" for kind in KINDS)) for name, one in found]
    total = [f"{sum(one[kind] for _, one in found):.1f}" for kind in KINDS]
    table(("", "PSS", "own", "anonymous"), [*rows, ("all", *total)])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

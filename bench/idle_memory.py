"""Memory of a whole server that holds Services and has nothing to do: each process, and all together.

    python bench/idle_memory.py [SERVICES]

Two workers and a forwarder.  PSS (/proc/PID/smaps_rollup): what processes share, code of Python among it,
counts once.  "own" is what one alone has (Private_Dirty).  In MiB.
"""

from __future__ import annotations

import sys
from pathlib import Path

from measuring import RunningServer, connected, family, make_question, memory, register, services, table

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
    rows = [(name, f"{one['Pss']:.1f}", f"{one['Private_Dirty']:.1f}") for name, one in found]
    total = [sum(one[kind] for _, one in found) for kind in ("Pss", "Private_Dirty")]
    table(("", "PSS", "own"), [*rows, ("all", f"{total[0]:.1f}", f"{total[1]:.1f}")])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

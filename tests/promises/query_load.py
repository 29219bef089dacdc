"""Questions that run beside a test: dnsperf where it is installed, else a small client of our own.

python query_load.py HOST PORT FILE [RATE]     asks until it is ended, names from FILE ("NAME TYPE" lines)
"""

import contextlib
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolbox.witness import A, connected, make_question

RATE = 100_000
"""Questions a second: more than the workers can answer, so each always has a batch in hand."""
LONGEST_SECONDS = 3_600


@contextlib.contextmanager
def query_load(where: tuple[str, int], names: Sequence[str], rate: int = RATE) -> Iterator[None]:
    """Ask for the A records of `names` again and again, `rate` times a second, while the body runs."""
    with tempfile.NamedTemporaryFile("w", suffix=".questions") as questions:
        questions.write("".join(f"{name} A\n" for name in names))
        questions.flush()
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(_command(where, questions.name, rate), stdout=quiet, stderr=quiet)
        try:
            yield
            assert process.poll() is None, "the load ended before the test"
        finally:
            process.kill()
            process.wait()


def _command(where: tuple[str, int], questions: str, rate: int) -> list[str]:
    host, port = where[0], str(where[1])
    dnsperf = shutil.which("dnsperf")
    if dnsperf is None:
        return [sys.executable, __file__, host, port, questions, str(rate)]
    limits = ["-c", "8", "-l", str(LONGEST_SECONDS), "-Q", str(rate)]
    return [dnsperf, "-s", host, "-p", port, "-d", questions, *limits]


def flood(where: tuple[str, int], names: Sequence[str], rate: int) -> None:
    """Ask until ended, from eight ports so that every worker has its share."""
    sockets = [connected(where) for _ in range(8)]
    questions = [make_question(name, A) for name in names]
    for number in range(1 << 62):
        for at, sock in enumerate(sockets):
            sock.send(questions[(number + at) % len(questions)])
        while readable := select.select(sockets, [], [], 0)[0]:
            for sock in readable:
                sock.recv(4096)
        time.sleep(len(sockets) / rate)


if __name__ == "__main__":
    lines = Path(sys.argv[3]).read_text().splitlines()
    flood((sys.argv[1], int(sys.argv[2])), [line.split()[0] for line in lines], int(sys.argv[4]))

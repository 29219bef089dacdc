"""The real kubectl against a running server: what it prints, as its user would see it.

    kubectl = Kubectl(server.api, folder, namespace="shop")
    assert kubectl("get", "svc", "-o", "name") == "service/web\\n"
    assert kubectl.refused("get", "svc", "x") == 'Error from server (NotFound): services "x" not found\\n'

Rules: its home and its caches are in a folder of the test run; nothing of the user's own configuration is
read.  One cache serves all tests, as one serves all commands of a user.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolbox import builders
from toolbox.waiting import GUARD_SECONDS

AGE = re.compile(r"^(\d+[dhms])+$|^<invalid>$")
"""What stands in a column AGE; <invalid> is an age below zero, when the clock steps."""


def find_kubectl() -> str:
    """Return the path of the pinned kubectl, which is installed beside this Python; "" without one."""
    return shutil.which("kubectl", path=str(Path(sys.executable).parent)) or ""


class Kubectl:
    """kubectl with a configuration of its own."""

    def __init__(self, api: str, folder: Path, namespace: str = "default", program: str = "") -> None:
        """`api` is the server's URL; `folder` holds home, cache and kubeconfigs of all tests."""
        self.program = program or find_kubectl()
        self.namespace = namespace
        self.folder = folder
        config = folder / f"kubeconfig-{namespace}-{api.rpartition(':')[2]}"
        config.write_text(json.dumps(_kubeconfig(api, namespace)))
        self.environ = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "KUBECACHEDIR": str(folder / "cache"),
            "KUBECONFIG": str(config),
            "LC_ALL": "C.UTF-8",
        }

    def run(
        self, *arguments: str, stdin: str = "", environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end, whatever its exit code; `stdin` is what `-f -` reads."""
        return subprocess.run(
            [self.program, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env={**self.environ, **(environ or {})},
            timeout=GUARD_SECONDS,
            check=False,
        )

    def __call__(self, *arguments: str, stdin: str = "", environ: dict[str, str] | None = None) -> str:
        """Return what it prints; raises AssertionError when it fails or says anything on stderr."""
        ended = self.run(*arguments, stdin=stdin, environ=environ)
        told = f"kubectl {' '.join(arguments)}\n{ended.stdout}{ended.stderr}"
        assert (ended.returncode, ended.stderr) == (0, ""), told
        return ended.stdout

    def warned(self, *arguments: str, stdin: str = "") -> tuple[str, str]:
        """Return (stdout, stderr) of a run that succeeds."""
        ended = self.run(*arguments, stdin=stdin)
        assert ended.returncode == 0, f"kubectl {' '.join(arguments)}\n{ended.stderr}"
        return ended.stdout, ended.stderr

    def refused(self, *arguments: str, stdin: str = "") -> str:
        """Return what it prints on stderr; raises AssertionError when it does not fail."""
        ended = self.run(*arguments, stdin=stdin)
        assert ended.returncode == 1, f"kubectl {' '.join(arguments)} did not fail:\n{ended.stdout}"
        return ended.stderr

    def apply(self, *objects: dict[str, Any], command: str = "apply") -> str:
        """Apply (create, replace ...) objects; return what it prints."""
        return self(command, "-f", "-", stdin=manifest(*objects))

    def json(self, *arguments: str) -> Any:
        """Return what `-o json` prints, parsed."""
        return json.loads(self(*arguments, "-o", "json"))

    def table(self, *arguments: str) -> list[list[str]]:
        """Return the table that it prints, see `table`."""
        return table(self(*arguments))

    @contextmanager
    def started(self, *arguments: str) -> Iterator[Lines]:
        """Give the lines of a command that does not end by itself; it is ended afterwards."""
        with subprocess.Popen(
            [self.program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self.environ,
        ) as process:
            lines = Lines(process)
            try:
                yield lines
            finally:
                process.terminate()
                process.wait(GUARD_SECONDS)
                lines.close()


class Lines:
    """The output of a command that goes on, line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))

    def next(self) -> str:
        """Return the next line when it comes."""
        return self._lines.get(timeout=GUARD_SECONDS)

    def poll(self, seconds: float) -> str | None:
        """Return the next line if it comes so soon."""
        try:
            return self._lines.get(timeout=seconds)
        except queue.Empty:
            return None

    def take(self, count: int) -> list[str]:
        """Return the next lines when they come."""
        return [self.next() for _ in range(count)]

    def close(self) -> None:
        """Wait for the end of the output; the process has ended."""
        self._reader.join(GUARD_SECONDS)


def _kubeconfig(api: str, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "svcdns", "cluster": {"server": api}}],
        "users": [{"name": "tester", "user": {}}],
        "contexts": [
            {"name": "svcdns", "context": {"cluster": "svcdns", "user": "tester", "namespace": namespace}}
        ],
        "current-context": "svcdns",
    }


def service(name: str, **spec: Any) -> dict[str, Any]:
    """A Service that `-l app=NAME` finds."""
    return builders.service(name, labels={"app": name}, **spec)


def manifest(*objects: dict[str, Any]) -> str:
    """Return one manifest of several objects; JSON is YAML."""
    return "\n---\n".join(json.dumps(obj) for obj in objects)


def table(text: str) -> list[list[str]]:
    """Return a table's cells, heads first; a cell of the column AGE that is an age becomes "AGE".

    Columns begin where the head's words begin, which are separated by at least two spaces.
    """
    head, *lines = text.rstrip("\n").split("\n")
    starts = [found.start() for found in re.finditer(r"(?<!\S)(?<!\S )\S", head)]
    rows = [_cells(line, starts) for line in (head, *lines)]
    for row in rows[1:]:
        for column, name in enumerate(rows[0]):
            if name in ("AGE", "LAST SEEN", "FIRST SEEN") and AGE.match(row[column]):
                row[column] = "AGE"
    return rows


def _cells(line: str, starts: Sequence[int]) -> list[str]:
    ends = [*starts[1:], None]
    return [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]


def tables(text: str) -> list[list[list[str]]]:
    """Return the tables of `kubectl get` for several kinds, which empty lines separate."""
    return [table(part) for part in text.strip("\n").split("\n\n")]

"""`svcdns top` in a real terminal: keys, 80 columns, no colours where none are wanted, and how it ends."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toolbox.builders import service
from toolbox.running_server import SOURCE, RunningServer
from toolbox.waiting import wait_for

WIDTH, HEIGHT = 80, 24


class Terminal:
    """A terminal of tmux in which `svcdns top` runs, and behind it a shell's last words."""

    def __init__(self, folder: Path, command: str) -> None:
        self._socket = str(folder / "tmux")
        script = f"{command}; echo ended with $?; stty -a | grep -o '[-]*icanon'; sleep 600"
        self._tmux("new-session", "-d", "-x", str(WIDTH), "-y", str(HEIGHT), script)

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", self._socket, "-f", "/dev/null", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def text(self, *options: str) -> str:
        return self._tmux("capture-pane", "-p", *options)

    def shows(self, *texts: str) -> None:
        wait_for(lambda: all(text in self.text() for text in texts), f"{texts} in the terminal")

    def close(self) -> None:
        self._tmux("kill-server")


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1, config='[tap]\nsample = 1\nrecord = "always"\n') as made:
        assert made.post("/api/v1/namespaces/default/services", service()).status == 201
        made.ask("web.default.svc.cluster.local.")
        made.ask("refused.example.")
        made.ask("none.default.svc.cluster.local.")
        yield made


@pytest.fixture
def terminal(need: Callable[..., str], tmp_path: Path, server: RunningServer) -> Iterator[Terminal]:
    need("tmux")
    python = shlex.join((sys.executable, "-m", "svcdns", "top", "--api", server.api, "--every", "0.5"))
    made = Terminal(tmp_path, f"PYTHONPATH={SOURCE} NO_COLOR=1 {python}")
    yield made
    made.close()


def test_keys_change_what_is_shown_and_q_leaves_the_terminal_as_it_was(
    terminal: Terminal, server: RunningServer
) -> None:
    terminal.shows("questions a second", "names by rate, last 1m", "web.default.svc.cluster.local.", "q quit")
    assert all(len(line) <= WIDTH for line in terminal.text().splitlines())
    coloured = [code for code in ("\x1b[31", "\x1b[32", "\x1b[33", "\x1b[38") if code in terminal.text("-e")]
    assert not coloured
    terminal.press("c")
    terminal.shows("clients by rate", "127.0.0.1")
    terminal.press("s")
    terminal.shows("namespaces by rate", "default")
    terminal.press("n", "e")
    terminal.shows("names by errors", "refused.example.")
    terminal.press("/", "refu", "Enter")
    terminal.shows("filter: refu")
    wait_for(lambda: "web.default" not in terminal.text(), "the other names to go")
    terminal.press("Escape")
    terminal.shows("web.default.svc.cluster.local.")
    terminal.press("Space")
    terminal.shows("PAUSED")
    server.ask("later.example.")
    assert "later.example." not in terminal.text()
    terminal.press("Space")
    terminal.shows("later.example.")
    terminal.press("q")
    terminal.shows("ended with 0", "icanon")
    assert "-icanon" not in terminal.text(), "the terminal reads lines again"


def test_an_interrupt_leaves_the_terminal_as_it_was_too(terminal: Terminal) -> None:
    terminal.shows("questions a second")
    terminal.press("C-c")
    terminal.shows("ended with 130")
    assert "-icanon" not in terminal.text()

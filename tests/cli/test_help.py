"""`--help` of every command: each text is shown as it was written.

Typer's help goes through rich, whose markup takes words in square brackets, such as [dns], for styles and
leaves them out.
"""

import inspect
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from svcdns.cli.main import app

HEAVY = ("aiohttp", "asyncio", "dns", "http", "httpcore", "msgspec", "rich.table", "ssl", "yaml")
"""What takes long to load, and most commands do without."""
_FRAME = str.maketrans("\u2502\u256d\u256e\u2570\u256f\u2500", " " * 6)


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the path of each command and group of commands, () for svcdns itself."""
    todo = [((), get_command(app))]
    while todo:
        path, command = todo.pop()
        yield path
        todo += [((*path, name), inner) for name, inner in getattr(command, "commands", {}).items()]


def command_at(path: Sequence[str]) -> Any:
    """Return the command of a path."""
    command: Any = get_command(app)
    for name in path:
        command = command.commands[name]
    return command


def words(text: str) -> str:
    return " ".join(text.translate(_FRAME).split())


def test_there_are_commands_of_groups_too() -> None:
    assert {(), ("serve",), ("certs", "client"), ("cache", "flush")} <= set(commands())


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_help_shows_each_text_as_it_is_written(path: tuple[str, ...]) -> None:
    command = command_at(path)
    texts = [command.help, *(getattr(option, "help", None) for option in command.params)]
    for inner in getattr(command, "commands", {}).values():
        texts.append(inner.help.partition("\n\n")[0])
    ran = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "1000", "TERM": "dumb"})
    assert ran.exit_code == 0
    shown = words(ran.output)
    for text in filter(None, texts):
        assert words(inspect.cleandoc(text)) in shown
    assert "[[" not in ran.output.split("Usage:")[1].splitlines()[0]


def shown(*arguments: str) -> list[str]:
    """Return the lines of a page at 80 columns, without what frames them."""
    ran = CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "80", "TERM": "dumb"})
    return [line.translate(_FRAME).rstrip() for line in ran.output.splitlines()]


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_examples_are_indented_and_paragraphs_are_not_broken_early(path: tuple[str, ...]) -> None:
    command = command_at(path)
    lines = shown(*path)
    for line in inspect.cleandoc(command.help or "").splitlines():
        if line.startswith("    "):
            assert f" {line}" in lines, "an example that breaks can't be copied"
        elif len(line) > 78:
            first = line[:78].rpartition(" ")[0]
            assert any(text.strip().startswith(first) for text in lines), line


def test_the_list_begins_with_the_five_that_somebody_new_needs() -> None:
    lines = [line.strip() for line in shown()]
    places = {name: min(at for at, line in enumerate(lines) if line.split()[:1] == [name]) for name in NAMES}
    first = sorted(places, key=lambda name: places[name])[:5]
    assert sorted(first) == ["add", "remove", "serve", "status", "why"]
    assert lines.index("First steps") < min(places.values())


NAMES = [path[0] for path in commands() if len(path) == 1]


def test_a_command_loads_what_it_needs_and_no_more() -> None:
    # What is only deferred (svcdns.system.deferred_package) is there under its name, and not loaded.
    loaded = f"[name for name in {HEAVY} if type(sys.modules.get(name)) is type(sys)]"
    script = f"import sys, svcdns.cli.main; print(*{loaded})"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []

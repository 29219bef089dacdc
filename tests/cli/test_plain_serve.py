"""`svcdns serve` reads plain flags without typer, and takes them for what typer does."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcdns.cli import main, serving
from svcdns.cli.serving import plain_flags
from svcdns.config.options import SWITCH
from svcdns.config.sections import OPTIONS

FLAGS = {option.flag.name: option for option in OPTIONS.values() if option.flag}
VALUES = st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=8)


@st.composite
def words(draw: st.DrawFn) -> list[str]:
    """Words of a command line, most of them plain flags."""
    found: list[str] = []
    for name in draw(st.lists(st.sampled_from([*FLAGS, "--config", "--no-proxy", "--other"]), max_size=5)):
        option = FLAGS.get(name)
        if option is not None and option.form is SWITCH:
            found.append(name)
        else:
            value = draw(VALUES)
            found += draw(st.sampled_from([[name, value], [f"{name}={value}"], [name]]))
    return found


def by_typer(arguments: list[str]) -> tuple[Path | None, dict[str, Any]] | None:
    """Return what typer makes of them; None where it doesn't come to serving."""
    said: list[Any] = []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(serving, "serve", lambda file, flags: said.append((file, flags)))
        main.main(["serve", *arguments])
    if not said:
        return None
    file, flags = said[0]
    return file, {name: value for name, value in flags.items() if value is not None}


@settings(max_examples=150, deadline=None)
@given(words())
def test_what_is_read_without_typer_is_what_typer_reads(arguments: list[str]) -> None:
    plain = plain_flags(arguments)
    assert plain is None or plain == by_typer(arguments)


def test_plain_flags_are_read_without_typer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SVCDNS_CONFIG", raising=False)
    assert plain_flags([]) == (None, {})
    found = plain_flags(
        ["--dns", "[::1]:53", "--dns=127.0.0.1:53", "--proxy", "--data", "d", "--config", "c"]
    )
    assert found == (
        Path("c"),
        {"dns.listen": ["[::1]:53", "127.0.0.1:53"], "proxy.serve": True, "data": "d"},
    )


@pytest.mark.parametrize(
    "line", ["--help", "-h", "--nothing 1", "--dns", "--dns=", "--workers -1", "word", "--proxy=1"]
)
def test_all_else_is_for_typer(line: str) -> None:
    assert plain_flags(line.split()) is None


def test_the_file_of_the_configuration_may_be_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVCDNS_CONFIG", "of-the-variable")
    assert plain_flags([]) == (Path("of-the-variable"), {}) == by_typer([])
    assert plain_flags(["--config", "flag"]) == (Path("flag"), {})


def test_a_mistake_is_one_line_and_exit_code_2() -> None:
    command = [sys.executable, "-m", "svcdns", "serve", "--workers", "many", "--data", "é"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C"},
        cwd=Path(serving.__file__).parents[2],
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("svcdns: ") and "--workers" in line

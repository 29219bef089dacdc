"""A module whose own file has not run yet looks like any other to who uses it, and loads less."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGE = {
    "__init__.py": '__version__ = "7.1"\nprint("ran")\nfrom .heavy import Client\nSEEN = True\n'
    "def __getattr__(name):\n    if name == 'late':\n        return 'given late'\n"
    "    raise AttributeError(name)\n",
    "heavy.py": "class Client: pass\n",
    "server.py": "from . import __version__\nfrom . import names\n",
    "names.py": "GET = 1\n",
    "broken.py": "import no_such_module_at_all\n",
    "tools.py": "print('ran')\n"
    "class Box:\n    kind = 'box'\n    def __init__(self, size=1): self.size = size\n"
    "def twice(number, *, and_one=0): return 2 * number + and_one\nLIMIT = 7\n",
}


Run = Callable[..., list[str]]


@pytest.fixture
def run_python(tmp_path: Path) -> Run:
    """Return what runs lines in a Python that finds a package `light`, and returns what they print."""
    (tmp_path / "light").mkdir()
    for name, text in PACKAGE.items():
        (tmp_path / "light" / name).write_text(text)

    def run(*lines: str) -> list[str]:
        begin = f"import sys; sys.path.insert(0, {str(tmp_path)!r})"
        code = "\n".join([begin, "from svcdns.system.deferred_package import defer", *lines])
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_a_module_loads_without_the_file_of_its_package(run_python: Run) -> None:
    lines = ("defer('light')", "from light import server", "import light.names as names")
    assert run_python(*lines, "print(server.__version__, names.GET, 'light.heavy' in sys.modules)") == [
        "7.1 1 False"
    ]


def test_a_name_that_only_the_package_gives_has_its_file_run_once(run_python: Run) -> None:
    lines = ("defer('light')", "import light", "print('before')", "from light import Client")
    assert run_python(*lines, "print(light.Client is Client, light.SEEN, light.late)") == [
        "before",
        "ran",
        "True True given late",
    ]


def test_threads_that_ask_at_once_all_get_it(run_python: Run) -> None:
    lines = ("from concurrent.futures import ThreadPoolExecutor as Pool", "defer('light')", "import light")
    ask = "print({one.__name__ for one in Pool(8).map(lambda _: light.Client, range(64))})"
    assert run_python(*lines, ask) == ["ran", "{'Client'}"]


def test_what_nobody_has_is_an_attribute_error(run_python: Run) -> None:
    lines = ("defer('light')", "import light", "print(hasattr(light, 'nobody'), hasattr(light, 'nobody'))")
    assert run_python(*lines) == ["ran", "False False"]


def test_a_package_that_is_loaded_or_missing_stays_as_it_is(run_python: Run) -> None:
    lines = ("import light", "defer('light')", "print(type(light).__name__)", "defer('no_such_package')")
    assert run_python(*lines, "print('no_such_package' in sys.modules)") == ["ran", "module", "False"]


def test_names_taken_from_a_module_do_not_run_it_before_they_are_used(run_python: Run) -> None:
    lines = ("defer('light.tools', 'twice', 'Box')", "from light.tools import twice, Box", "print('before')")
    used = "print(twice(3, and_one=1), Box(size=2).size, Box.kind)"
    assert run_python("defer('light')", *lines, used) == ["before", "ran", "7 2 box"]


def test_a_class_taken_before_is_the_class_itself_to_who_asks(run_python: Run) -> None:
    lines = ("defer('light')", "defer('light.tools', 'Box')", "from light.tools import Box as early")
    derived = "class Small(early):\n    kind = 'small'"
    asked = "import light.tools as tools\nprint(isinstance(tools.Box(), early), isinstance(3, early))"
    classes = "print(issubclass(Small, early), Small.__mro__[1] is tools.Box, Small(4).size, Small.kind)"
    assert run_python(*lines, derived, asked, classes) == ["ran", "True False", "True True 4 small"]


def test_a_name_that_was_not_foreseen_runs_the_module_once(run_python: Run) -> None:
    lines = ("defer('light')", "defer('light.tools', 'twice')", "from light.tools import LIMIT, twice")
    assert run_python(*lines, "print(LIMIT, twice(2), type(twice).__name__)") == ["ran", "7 4 function"]


def test_a_deferred_module_is_found_as_a_part_of_its_package(run_python: Run) -> None:
    lines = ("import light", "defer('light.tools')", "import light.tools", "print(light.tools.LIMIT)")
    assert run_python(*lines) == ["ran", "ran", "7"]


def test_a_module_of_a_package_is_deferred_before_the_package_runs(run_python: Run) -> None:
    lines = ("defer('light.heavy', 'Client')", "print('before')", "import light")
    assert run_python(*lines, "print(type(light.Client()).__name__)") == ["before", "ran", "Client"]

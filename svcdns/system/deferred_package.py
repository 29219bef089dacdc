"""A package of others, whose own file runs when something of it is first asked for; its modules load without.

`import aiohttp.web` runs aiohttp's own file, and that loads its client, which a server has no use for: 3 MiB,
and 50 ms for the certificates that a client trusts.

Rules:

* nobody sees a difference but in `sys.modules`: a name that only the package's own file gives has it run;
* a package that is loaded already stays as it is, and so does one that isn't there.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
import threading
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

_VERSION = re.compile(r"""^__version__ = ["']([^"'\n]+)["']$""", re.MULTILINE)


def defer(name: str) -> None:
    """Have the modules of a package load without the package's own file until somebody wants that."""
    if name in sys.modules or (spec := find_spec(name)) is None or not spec.has_location:
        return
    package = module_from_spec(spec)
    package.__class__ = _Deferred
    if version := _version(spec):
        vars(package)["__version__"] = version  # modules ask for it as they load
    sys.modules[name] = package


def _version(spec: ModuleSpec) -> str:
    """Return the version that the file of a package says, "" where it doesn't say it as a plain text."""
    try:
        found = _VERSION.search(Path(spec.origin or "").read_text(encoding="utf-8"))
    except (OSError, UnicodeError):
        return ""
    return found[1] if found else ""


class _Deferred(ModuleType):
    """The package before, and after, its own file has run."""

    _lock = threading.RLock()
    _was_run = False

    def __getattr__(self, name: str) -> Any:
        """Return what the package has not yet: a module of its own, or what its own file gives."""
        with contextlib.suppress(ModuleNotFoundError):
            return importlib.import_module(f"{self.__name__}.{name}")
        with self._lock:  # what is loaded by two threads at once is loaded once
            if not self._was_run and self.__spec__ and self.__spec__.loader:
                self._was_run = True
                self.__spec__.loader.exec_module(self)
        return super().__getattribute__(name)

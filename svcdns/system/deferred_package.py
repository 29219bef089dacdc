"""Modules of others whose own file runs when something of it is first asked for.

`import aiohttp.web` runs aiohttp's own file, and that loads its client, which a server has no use for: 3 MiB,
and 50 ms for the certificates that a client trusts.  Modules of a deferred package load without the package.

A module that others take single names from (`from argparse import ArgumentParser`) is deferred with those
names: what they take is a stand-in, and the module's own file runs when that is called or looked at.

Rules:

* nobody sees a difference but in `sys.modules`: a name that only the module's own file gives has it run;
* a module that is loaded already stays as it is, and so does one that isn't there;
* a part of a package that has not been loaded is one that the package itself imports: else it would lack it;
* a stand-in is called, asked for attributes, or a base or type of others: no numbers, texts or containers.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
import threading
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

_VERSION = re.compile(r"""^__version__ = ["']([^"'\n]+)["']$""", re.MULTILINE)


def defer(name: str, *taken: str) -> None:
    """Have a module run its own file only when somebody wants that.

    `taken` are names that others take from it as they load: of functions, classes, objects with attributes.
    """
    if name in sys.modules or (spec := _spec(name)) is None or not spec.has_location:
        return
    module = module_from_spec(spec)
    module.__class__ = _Deferred
    if version := _version(spec):
        vars(module)["__version__"] = version  # modules ask for it as they load
    for one in taken:
        vars(module)[one] = _StandIn(module, one)
    sys.modules[name] = module
    package, _, own_name = name.rpartition(".")
    if package in sys.modules:
        setattr(sys.modules[package], own_name, module)  # as an import does


def _spec(name: str) -> ModuleSpec | None:
    """Return where a module is, without running the package that it is in."""
    package, _, _ = name.rpartition(".")
    if not package:
        return find_spec(name)
    above = _spec(package)
    folders = above.submodule_search_locations if above else None
    return PathFinder.find_spec(name, folders) if folders else None


def _version(spec: ModuleSpec) -> str:
    """Return the version that the file of a module says, "" where it doesn't say it as a plain text."""
    try:
        found = _VERSION.search(Path(spec.origin or "").read_text(encoding="utf-8"))
    except (OSError, UnicodeError):
        return ""
    return found[1] if found else ""


class _Deferred(ModuleType):
    """The module before, and after, its own file has run."""

    _lock = threading.RLock()
    _was_run = False

    def run(self) -> None:
        """Run its own file, once."""
        with self._lock:  # what is loaded by two threads at once is loaded once
            if not self._was_run and self.__spec__ and self.__spec__.loader:
                self._was_run = True
                self.__spec__.loader.exec_module(self)

    def __getattr__(self, name: str) -> Any:
        """Return what the module has not yet: a module of its own, or what its own file gives."""
        if name == "__path__":  # no package: the import system asks that of each module
            raise AttributeError(name)
        if "__path__" in vars(self):
            with contextlib.suppress(ModuleNotFoundError):
                return importlib.import_module(f"{self.__name__}.{name}")
        self.run()
        return super().__getattribute__(name)


class _StandIn:
    """What others took from a module whose own file has not run yet."""

    def __init__(self, module: ModuleType, name: str) -> None:
        self._module, self._name = module, name

    def _meant(self) -> Any:
        self._module.run()
        return vars(self._module)[self._name]

    def __call__(self, *arguments: Any, **words: Any) -> Any:
        return self._meant()(*arguments, **words)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._meant(), name)

    def __mro_entries__(self, _: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._meant(),)

    def __instancecheck__(self, one: object) -> bool:
        return isinstance(one, self._meant())

    def __subclasscheck__(self, one: type) -> bool:
        return issubclass(one, self._meant())

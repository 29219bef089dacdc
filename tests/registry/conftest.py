"""Fixtures of the registry's tests; see conftest_registry."""

from conftest_registry import run
from registry.telling import at_once

__all__ = ["at_once", "run"]

"""Fixtures of the registry's tests; see conftest_registry."""

from conftest_registry import run

__all__ = ["run"]

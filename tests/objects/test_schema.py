"""Structure: unknown fields, wrong types, nulls, and the wrong kind, as a client sees them."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcdns.objects import kinds
from svcdns.objects.defaults import default
from svcdns.objects.errors import StatusError
from svcdns.objects.schema import missing, structure
from svcdns.objects.validation import validate

_spec = importlib.util.spec_from_file_location("samples", Path(__file__).with_name("samples.py"))
assert _spec is not None
assert _spec.loader is not None
samples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(samples)

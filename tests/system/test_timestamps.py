"""Times in log lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from svcdns.system.timestamps import with_milliseconds

FIRST = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.integers(0, 253_402_300_799_999))
def test_a_time_is_rfc_3339_in_utc(milliseconds: int) -> None:
    moment = FIRST + timedelta(milliseconds=milliseconds)
    expected = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert with_milliseconds(milliseconds) == expected

"""Times: what Go's decoder reads and what its encoder writes of it, recorded from k8s.io/apimachinery."""

from __future__ import annotations

import pytest

from svcdns.objects.times import canonical_micro_time, canonical_time


@pytest.mark.parametrize(
    ("text", "time", "micro_time"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", None),
        ("2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00Z", None),
        ("2026-01-01T00:00:00,123456Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456Z"),
        ("2026-01-01T00:00:00.1234567Z", "2026-01-01T00:00:00Z", None),
        ("2026-01-01T00:00:00.123456+01:00", "2025-12-31T23:00:00Z", "2025-12-31T23:00:00.123456Z"),
        ("0001-01-01T00:00:00Z", "", None),
        ("0001-01-01T00:00:00.000000Z", "", ""),
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z", None),
        ("2026-01-01t00:00:00z", None, None),
        ("2026-06-30T23:59:60Z", None, None),
        ("2026-02-30T00:00:00Z", None, None),
        ("2026-01-01T24:00:00Z", None, None),
        ("2026-01-01 00:00:00Z", None, None),
        ("2026-01-01T00:00:00", None, None),
        ("2026-01-01", None, None),
        ("9999-12-31T23:59:59-23:59", None, None),
        ("0000-01-01T00:00:00Z", None, None),
        ("", None, None),
        ("x" * 100000, None, None),
    ],
)
def test_times(text: str, time: str | None, micro_time: str | None) -> None:
    for read, written in ((canonical_time, time), (canonical_micro_time, micro_time)):
        if written is None:
            with pytest.raises(ValueError, match="is not a date and time"):
                read(text)
        else:
            assert read(text) == written

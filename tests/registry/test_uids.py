"""UIDs: those of the standard library."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from svcdns.registry.uids import derived_uid, random_uid


@given(st.uuids(), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_derived_uid_is_that_of_the_standard_library(namespace: uuid.UUID, name: str) -> None:
    assert derived_uid(namespace, name) == str(uuid.uuid5(namespace, name))


def test_random_uids_are_of_version_4_and_all_different() -> None:
    uids = [random_uid() for _ in range(1000)]
    assert len(set(uids)) == len(uids)
    for uid in uids:
        read = uuid.UUID(uid)
        assert str(read) == uid
        assert (read.version, read.variant) == (4, uuid.RFC_4122)

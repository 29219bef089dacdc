"""Which files are zone files, and the origin that a name gives."""

from __future__ import annotations


def origin_of(file_name: str) -> str | None:
    """Return the origin that a zone file's name gives, or None if it isn't one of a zone file.

    `example.org.zone`, `example.org.db` and `db.example.org` all give `example.org`.
    """
    for suffix in (".zone", ".db"):
        if file_name.endswith(suffix):
            return file_name.removesuffix(suffix) or None
    return file_name.removeprefix("db.") or None if file_name.startswith("db.") else None

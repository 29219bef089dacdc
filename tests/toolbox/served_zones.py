"""Zone files in the world of `answerer_harness`: read as the server reads them, by no child process."""

from toolbox.answerer_harness import AnswererHarness

from svcdns.names.packed import NEGATIVE_SOA, sections
from svcdns.store.snapshot import Zone
from svcdns.zonefiles.master_file import compile_zone


def serve_zone(world: AnswererHarness, text: str, origin: str = "example.org") -> Zone:
    """Serve the zone of a text; `origin` is what its file's name says."""
    compiled = compile_zone(text, None, f"/zones/{origin}.zone")
    zone = Zone(
        compiled.origin,
        compiled.key,
        "file",
        version=len(world.zones) + 1,
        cuts=compiled.cuts,
        wildcards=compiled.wildcards,
        signed=compiled.signing.signed,
        nsec3=compiled.signing.nsec3,
    )
    with world.writing():
        for key, row in compiled.rows():
            world.put_row(zone, key, row)
    world.zones.append(zone)
    world.serve()
    return zone


def records(text: str, origin: str = "example.org") -> set[tuple[bytes, bytes]]:
    """Return what a zone file's text holds: owners' keys, and RRs in lower case as some have them."""
    compiled = compile_zone(text, None, f"/zones/{origin}.zone")
    return {
        (key, rr.lower())
        for key, row in compiled.rows()
        for section in sections(row)
        for rr in section.rrs()
        if section.type != NEGATIVE_SOA
    }

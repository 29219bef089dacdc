"""Putting it together: the supervisor, the start of each process, signals, counters."""

from svcdns.system.deferred_package import defer

# Before msgspec is loaded, in the memory of each process: it describes types to others, and nobody asks here.
defer("msgspec._json_schema", "schema", "schema_components")
defer("msgspec.inspect")

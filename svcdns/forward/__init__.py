"""Asking upstreams for names that are not ours; it runs in a process of its own."""

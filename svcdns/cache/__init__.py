"""Forwarded answers that are remembered: how one is stored, and in which generation of the store."""

"""Asking others for names that are not ours: upstreams, their health, one flight a question."""

"""The one write path: admit, allocate, derive endpoints and answers, commit, tell the watchers."""

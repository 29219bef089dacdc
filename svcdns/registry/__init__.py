"""The one write path: accept, allocate, derive endpoints and answers, commit, wake the watchers."""

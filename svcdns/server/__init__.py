"""Putting it together: the supervisor, the start of each process, signals, counters."""

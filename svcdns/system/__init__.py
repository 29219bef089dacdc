"""What every room may use and no room owns: the bounded reading of YAML, files, log lines, addresses.

Knows nothing of the other rooms.
"""

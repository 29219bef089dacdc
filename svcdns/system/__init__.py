"""What every room may use and no room owns: files, log lines, addresses of this machine.

Knows nothing of the other rooms.
"""

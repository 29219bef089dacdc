"""What every room may use and no room owns: today the bounded reading of YAML.

Atomic writes, watched files and log lines that are said once belong here too.  Knows nothing of other rooms.
"""

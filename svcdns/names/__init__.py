"""What names answer: cluster state and zone files become RRsets, RRsets become packed rows.

Pure functions: no sockets, no database.  `packed` is the form of a row: `registry` and `zonefiles` write it,
`dns` reads it.
"""

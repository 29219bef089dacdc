"""What names answer: cluster state and zone files become RRsets, RRsets become packed rows.

Pure functions; no sockets, no database. `key` and `packed` are the two formats that the rooms
`registry` (which writes them) and `dns` (which reads them) agree on.
"""

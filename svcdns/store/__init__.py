"""Where it is kept: one LMDB environment, its tables, and what one transaction shows.

`environment` opens it and names its tables, `snapshot` is the read side that `dns` uses, `log` holds what
watchers are sent.  This room knows the bytes that it keeps, not what they mean.
"""

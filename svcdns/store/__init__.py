"""Where it is kept: one LMDB environment, its tables, and what one transaction shows.

`environment` opens it (the one place that does), `tables` names what stands where, `snapshot` is
the read side that `dns` uses.  This room knows the bytes that it keeps, not what they mean.
"""

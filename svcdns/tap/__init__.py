"""What is asked, as others may see it: rings in shared memory, and what is made of what stands in them.

    worker, forwarder -> Recorder -> Ring      RingReader -> Record -> query log, dnstap, tops, streams

Who answers questions only writes octets (`recorder`, `ring`), and nothing at all while nobody wants to know.
All that takes time, reading messages above all, is done by other processes.
"""

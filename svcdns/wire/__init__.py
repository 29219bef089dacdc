"""Messages as octets: header, names, questions, queries, responses, EDNS, the protocol's numbers.  No I/O."""

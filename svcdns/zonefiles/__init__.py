"""Zone files (RFC 1035): read in a child process, kept as rows, and taken over when they change."""

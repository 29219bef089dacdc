"""How an upstream is asked: one file a transport, and what they share."""

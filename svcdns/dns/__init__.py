"""How questions are answered: `answer` turns octets and a snapshot into octets; transports carry them."""

"""``lstm-parity bench``: how fast each implementation is, after it has been shown to compute the same numbers."""

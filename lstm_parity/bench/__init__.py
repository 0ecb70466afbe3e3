"""``lstm-parity bench``: how fast each implementation is, after it was shown to compute the same numbers.

``contenders`` are what is timed: a new one goes there. ``timing`` runs them, ``record`` keeps and shows what came out.
"""

# The files that other rooms may import.
DOORS = ["plan", "record", "timing"]

"""``lstm-parity bench``: how fast each implementation is, once it is known to compute the same numbers.

``contenders`` holds the programs that are timed; add new ones there. ``timing`` runs them. ``record`` saves and shows
the results.
"""

# The modules that other rooms may import (ARCHITECTURE.md says what a room is).
DOORS = ["plan", "record", "timing"]

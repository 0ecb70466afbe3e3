"""Draw cases until one differs, and shrink that one.

``strata`` and ``covering`` decide which cases come first, ``draw`` draws the others at random, and ``reach`` counts
what they all reached.
"""

# The modules that other rooms may import (ARCHITECTURE.md says what a room is).
DOORS = ["search"]

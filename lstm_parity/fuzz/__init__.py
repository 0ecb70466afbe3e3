"""Draw cases until one differs, and shrink that one.

``strata`` and ``covering`` decide which cases come first, ``draw`` draws the others at random, and ``reach`` counts
what they all reached.
"""

# The files that other rooms may import.
DOORS = ["search"]

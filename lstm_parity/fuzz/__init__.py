"""Cases drawn until one differs, and that one made small.

``strata`` and ``covering`` say which cases there are, ``draw`` draws them, ``reach`` counts what they reached.
"""

# The files that other rooms may import.
DOORS = ["search"]

"""How close counts as equal, and what was compared.

``tolerance`` alone decides how close is close enough. ``rows`` compares arrays by name, and ``observations`` compares
whole results stage by stage. ``conditioning`` measures how far off a right result may be. ``sensitivity`` finds what
the inputs can and cannot show.
"""

# The modules that other rooms may import (ARCHITECTURE.md says what a room is).
DOORS = ["conditioning", "coverage", "observations", "places", "rows", "sensitivity", "tolerance"]

"""How close is equal, and what was compared.

``tolerance`` decides, and nothing else does. ``rows`` compares arrays by name, ``observations`` whole results stage by
stage; ``conditioning`` measures how far a right result may be away, ``sensitivity`` what the inputs can tell.
"""

# The files that other rooms may import.
DOORS = ["conditioning", "coverage", "observations", "places", "rows", "sensitivity", "tolerance"]

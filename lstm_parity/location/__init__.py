"""Find where two sides first differ: in traces of the gates, in outputs, or in a gradient."""

# The files that other rooms may import.
DOORS = ["first", "outputs", "over_time", "traces"]

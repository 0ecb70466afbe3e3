"""Find where two sides first differ: in traces of the gates, in outputs, or in a gradient."""

# The modules that other rooms may import (ARCHITECTURE.md says what a room is).
DOORS = ["first", "outputs", "over_time", "traces"]

"""Find the known mistake that explains wrong outputs.

``catalogue``, ``weight_mistakes`` and ``state_mistakes`` list the mistakes; add new ones there. ``simulation`` computes
the outputs of a port with a mistake, and ``search`` compares them with the observed ones.
"""

# The modules that other rooms may import (ARCHITECTURE.md says what a room is).
DOORS = ["explain", "failed_outputs"]

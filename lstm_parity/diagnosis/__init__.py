"""Which known mistake explains wrong outputs.

``catalogue`` and its two neighbours, ``weight_mistakes`` and ``state_mistakes``, list the mistakes: a new one goes
there. ``simulation`` computes what a port with a mistake would give, ``search`` compares that with what was observed.
"""

# The files that other rooms may import.
DOORS = ["explain", "failed_outputs"]
